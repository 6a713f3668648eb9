//! Turning the hue of 8-bit pixels as Pillow and torchvision do: through HSV in 8 bits a channel.
//! What depends on few levels is looked up in tables that are made once.

use std::sync::LazyLock;

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

struct Tables {
    /// Hue by sixth, range of the channels and distance of the middle one from the greatest.
    hues: Vec<u8>,
    /// Saturation by greatest channel and range.
    saturations: Vec<u8>,
    /// Least channel by value and saturation.
    lows: Vec<u8>,
    /// Sixth of the circle and place in it, by hue.
    sixths: [(u8, f32); 256],
}

/// Moves the hue of every pixel on by `steps` of 256.
pub(super) fn turn(pixels: &mut [[u8; 3]], steps: u8) {
    let tables = &*TABLES;
    for pixel in pixels {
        let (hue, saturation, value) = tables.to_hsv(*pixel);
        *pixel = tables.to_rgb(hue.wrapping_add(steps), saturation, value);
    }
}

impl Tables {
    fn new() -> Self {
        let square = |level: fn(u8, u8) -> u8| -> Vec<u8> {
            (0..=255).flat_map(|a| (0..=255).map(move |b| level(a, b))).collect()
        };
        let hues = (0..6).flat_map(|kind| {
            (0..=255u8).flat_map(move |range| (0..=255u8).map(move |middle| hue(kind, range, middle)))
        });
        let sixth = |hue: usize| {
            let sixths = hue as f64 * 6.0 / 255.0;
            (sixths.floor() as u8 % 6, sixths.fract() as f32)
        };
        Self {
            hues: hues.collect(),
            saturations: square(saturation),
            lows: square(|value, saturation| dimmed(value, f64::from(f32::from(saturation) / 255.0))),
            sixths: std::array::from_fn(sixth),
        }
    }

    fn to_hsv(&self, [r, g, b]: [u8; 3]) -> (u8, u8, u8) {
        let (most, least) = (r.max(g).max(b), r.min(g).min(b));
        if most == least {
            return (0, 0, most);
        }
        let (kind, middle) = match (r == most, g == most) {
            (true, _) if g == least => (0, b),
            (true, _) => (1, g),
            (_, true) if b == least => (2, r),
            (_, true) => (3, b),
            _ if r == least => (4, g),
            _ => (5, r),
        };
        let (range, below) = (usize::from(most - least), usize::from(most - middle));
        let hue = self.hues[(kind << 16) | (range << 8) | below];
        (hue, self.saturations[(usize::from(most) << 8) | range], most)
    }

    fn to_rgb(&self, hue: u8, saturation: u8, value: u8) -> [u8; 3] {
        let low = self.lows[(usize::from(value) << 8) | usize::from(saturation)];
        let (sixth, part) = self.sixths[usize::from(hue)];
        let share = f32::from(saturation) / 255.0;
        let falling = || dimmed(value, f64::from(share * part));
        let rising = || dimmed(value, f64::from(share) * (1.0 - f64::from(part)));
        match sixth {
            0 => [value, rising(), low],
            1 => [falling(), value, low],
            2 => [low, value, rising()],
            3 => [low, falling(), value],
            4 => [rising(), low, value],
            _ => [value, low, falling()],
        }
    }
}

/// A share of 1 as a level, cut down. Where a sum is taken in `f64` and kept in `f32`, Pillow does
/// so too: the cut makes the last bit a whole level.
fn level(share: f32) -> u8 {
    (f64::from(share) * 255.0) as u8
}

fn saturation(most: u8, range: u8) -> u8 {
    level(f32::from(range) / f32::from(most))
}

/// Hue of which a full turn is 255. `kind` tells the greatest channel (red, green, blue by its
/// half), and which of the others is the least: that one lies `range` below the greatest, and the
/// middle one `middle`.
fn hue(kind: u8, range: u8, middle: u8) -> u8 {
    let below = f64::from(f32::from(middle) / f32::from(range));
    let sixths = match kind {
        0 => below - 1.0,
        1 => 1.0 - below,
        2 => 2.0 + below - 1.0,
        3 => 2.0 + 1.0 - below,
        4 => 4.0 + below - 1.0,
        _ => 4.0 + 1.0 - below,
    } as f32;
    level((f64::from(sixths) / 6.0 + 1.0).fract() as f32)
}

/// The value less a share of it, rounded to a whole level; adding a half and cutting rounds.
fn dimmed(value: u8, share: f64) -> u8 {
    (f64::from(value) * (1.0 - share) + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_after_a_half_is_rounding() {
        for hue in 0..=255u8 {
            let part = TABLES.sixths[usize::from(hue)].1;
            for saturation in (0..=255u8).step_by(3) {
                let share = f64::from(f32::from(saturation) / 255.0 * part);
                for value in (0..=255u8).step_by(5) {
                    let rounded = (f64::from(value) * (1.0 - share)).round() as u8;
                    assert_eq!(dimmed(value, share), rounded, "{hue} {saturation} {value}");
                }
            }
        }
    }

    #[test]
    fn primary_colours_turn_into_each_other() {
        let mut pixels = [[255, 0, 0], [7, 7, 7]];
        turn(&mut pixels, 85);
        assert_eq!(pixels, [[0, 255, 0], [7, 7, 7]]);
    }
}
