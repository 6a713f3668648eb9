//! Which part of a picture is needed, at which size, and what was decoded of it.

use crate::sample::{Crop, Rgb};

/// A region of the upright source, and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// The region in source pixels.
    pub crop: Crop,
    /// Width in pixels that the region is resized to.
    pub width: u32,
    /// Height in pixels that the region is resized to.
    pub height: u32,
    /// How far beyond the region the resizer looks, in kernel radii: pixels of the result.
    pub reach: f64,
}

/// Edges in pixels, as fractions where pixels are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// What was decoded of an upright source: all of it or a part, at full size or scaled.
#[derive(Clone, Debug)]
pub struct Source {
    pixels: Rgb,
    width: u32,
    height: u32,
    /// Source pixels along a side of a decoded one.
    divisor: u32,
    /// Edges of the decoded part, in decoded pixels from those of the source.
    left: f64,
    top: f64,
}

impl Source {
    /// All of a picture.
    pub fn whole(pixels: Rgb) -> Self {
        let (width, height) = (pixels.width(), pixels.height());
        Self { pixels, width, height, divisor: 1, left: 0.0, top: 0.0 }
    }

    /// A part of a source of `width`×`height` pixels, whose edges lie at `left` and `top`.
    #[cfg(feature = "jpeg-turbo")]
    pub(super) fn part(
        pixels: Rgb,
        (width, height): (u32, u32),
        divisor: u32,
        (left, top): (f64, f64),
    ) -> Self {
        Self { pixels, width, height, divisor, left, top }
    }

    /// Width of the source in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height of the source in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels that were decoded.
    pub fn pixels(&self) -> &Rgb {
        &self.pixels
    }

    /// The decoded pixels, owned.
    pub fn into_pixels(self) -> Rgb {
        self.pixels
    }

    /// Where a region of the source lies in the decoded pixels.
    pub fn window(&self, crop: Crop) -> Window {
        let scaled = |length: f32| f64::from(length) / f64::from(self.divisor);
        let (x, y) = (scaled(crop.x) - self.left, scaled(crop.y) - self.top);
        Window { x, y, width: scaled(crop.width), height: scaled(crop.height) }
    }
}

/// The greatest of `divisors` (greatest first) at which every need still has enough pixels; 1 where
/// there is none.
#[cfg_attr(not(feature = "jpeg-turbo"), cfg(test))]
pub(super) fn divisor(needs: &[Need], divisors: &[u32]) -> u32 {
    /// Decoded sides are at least so many times those that they become: scaling by the decoder then
    /// stays invisible.
    const GAP: f64 = 2.0;
    let enough =
        |side: f32, of: u32, divisor: u32| f64::from(side) >= GAP * f64::from(divisor) * f64::from(of);
    let fits = |&divisor: &u32| {
        let both = |need: &Need| {
            enough(need.crop.width, need.width, divisor) && enough(need.crop.height, need.height, divisor)
        };
        !needs.is_empty() && needs.iter().all(both)
    };
    divisors.iter().copied().find(fits).unwrap_or(1)
}

/// The window of the source that all needs look at, in source pixels; it may stick out of it.
#[cfg(feature = "jpeg-turbo")]
pub(super) fn seen(needs: &[Need]) -> Option<Window> {
    let edges = |need: &Need| {
        let radius = |from: f32, to: u32| need.reach * (f64::from(from) / f64::from(to)).max(1.0) + 1.0;
        let Crop { x, y, width, height } = need.crop;
        let (across, down) = (radius(width, need.width), radius(height, need.height));
        let [x, y, width, height] = [x, y, width, height].map(f64::from);
        [x - across, y - down, x + width + across, y + height + down]
    };
    let all = needs.iter().map(edges);
    let union = all.reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])?;
    let [x, y, right, bottom] = union;
    Some(Window { x, y, width: right - x, height: bottom - y })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(width: f32, height: f32) -> Need {
        let crop = Crop { x: 0.0, y: 0.0, width, height };
        Need { crop, width: 256, height: 256, reach: 2.0 }
    }

    #[test]
    fn the_smallest_crop_decides_the_scale() {
        let of = |needs: &[Need]| divisor(needs, &[8, 4, 2]);
        assert_eq!(of(&[need(3000.0, 3000.0)]), 4);
        assert_eq!(of(&[need(3000.0, 3000.0), need(1024.0, 1500.0)]), 2);
        assert_eq!(of(&[need(4096.0, 4096.0)]), 8);
        assert_eq!(of(&[need(4096.0, 1023.0)]), 1);
        assert_eq!(of(&[]), 1);
    }

    #[test]
    fn a_whole_source_is_its_own_window() {
        let source = Source::whole(Rgb::new(4, 2, vec![0; 24]));
        let window = source.window(Crop { x: 1.0, y: 0.0, width: 2.0, height: 2.0 });
        assert_eq!(window, Window { x: 1.0, y: 0.0, width: 2.0, height: 2.0 });
    }
}
