//! JPEGs through libjpeg-turbo: only the part that is needed, scaled where that stays invisible.

use image::metadata::Orientation;
use jpeg_turbo::{Jpeg, Region, Scale};

use super::part::{self, Need, Source};
use super::stored::{Cut, Scratch};
use super::turn::Turn;
use crate::sample::Rgb;

/// A JPEG that libjpeg-turbo can take. What it does not take the other decoder judges, so that
/// both roads reject the same files for the same reasons.
pub(super) fn open(bytes: &[u8]) -> Option<Jpeg<'_>> {
    Jpeg::new(bytes).ok().filter(|jpeg| jpeg.width() > 0 && jpeg.height() > 0).and_then(common)
}

fn common(mut jpeg: Jpeg<'_>) -> Option<Jpeg<'_>> {
    jpeg.is_common().then_some(jpeg)
}

/// What `needs` ask for, or all of it where they are empty; nothing if the library finds fault.
pub(super) fn decode(mut jpeg: Jpeg<'_>, turn: Turn, needs: &[Need]) -> Option<Source> {
    let divisors = Scale::ALL.map(Scale::divisor);
    let divisor = part::divisor(needs, &divisors);
    let scale = Scale::ALL.into_iter().find(|scale| scale.divisor() == divisor)?;
    let size = turn.size(jpeg.width(), jpeg.height());
    let region = region(&mut jpeg, turn, scale, size, needs);
    let pixels = jpeg.decode(scale, region).ok()?;
    let edges = edges(&jpeg, turn, scale, region);
    let upright = turn.apply(Rgb::new(region.width, region.height, pixels));
    Some(Source::part(upright, size, divisor, edges))
}

/// The stored region around what the needs look at.
fn region(jpeg: &mut Jpeg<'_>, turn: Turn, scale: Scale, size: (u32, u32), needs: &[Need]) -> Region {
    let whole = jpeg.whole(scale);
    let Some(seen) = part::seen(needs) else { return whole };
    let span = |from: f64, length: f64, mirrored: bool, side: u32| {
        let from = if mirrored { f64::from(side) - from - length } else { from };
        (from, from + length)
    };
    let across = span(seen.x, seen.width, turn.mirror_x, size.0);
    let down = span(seen.y, seen.height, turn.mirror_y, size.1);
    let (across, down) = turn.size(across, down);
    let divisor = f64::from(scale.divisor());
    // Pixels are counted from the source's edge, and there are no negative ones: `as` cuts at 0.
    let first = |(from, _): (f64, f64)| (from / divisor - 1.0).floor() as u32;
    let end = |(_, to): (f64, f64), side: u32| ((to / divisor + 1.0).ceil() as u32).min(side);
    let (x, y) = (first(across), first(down));
    let (right, bottom) = (end(across, whole.width), end(down, whole.height));
    if x >= right || y >= bottom {
        return whole;
    }
    jpeg.around(Region { x, y, width: right - x, height: bottom - y }, scale)
}

/// Left and top edge of a decoded region in the upright picture, in decoded pixels. A mirrored
/// side begins at the source's far edge, which may lie inside the last decoded pixel.
fn edges(jpeg: &Jpeg<'_>, turn: Turn, scale: Scale, region: Region) -> (f64, f64) {
    let divisor = f64::from(scale.divisor());
    let across = (f64::from(jpeg.width()) / divisor, f64::from(region.x), f64::from(region.width));
    let down = (f64::from(jpeg.height()) / divisor, f64::from(region.y), f64::from(region.height));
    let (across, down) = turn.size(across, down);
    let edge = |(side, from, length): (f64, f64, f64), mirrored: bool| match mirrored {
        true => side - from - length,
        false => from,
    };
    (edge(across, turn.mirror_x), edge(down, turn.mirror_y))
}

/// The EXIF orientation among a JPEG's first segments.
pub(super) fn turn(bytes: &[u8]) -> Turn {
    exif(bytes).and_then(Orientation::from_exif_chunk).map(Turn::from).unwrap_or_default()
}

fn exif(bytes: &[u8]) -> Option<&[u8]> {
    const APP1: u8 = 0xE1;
    const SCAN: u8 = 0xDA;
    let mut at = 2;
    loop {
        match *bytes.get(at..at + 2)? {
            [0xFF, 0xFF] => at += 1,
            [0xFF, SCAN] => return None,
            [0xFF, code] => {
                let length = u16::from_be_bytes(*bytes.get(at + 2..)?.first_chunk()?);
                let segment = bytes.get(at + 4..at + 2 + usize::from(length))?;
                if let (APP1, Some(exif)) = (code, segment.strip_prefix(b"Exif\0\0")) {
                    return Some(exif);
                }
                at += 2 + usize::from(length);
            }
            _ => return None,
        }
    }
}

/// Decodes a square of a colour picture of `width`×`height` pixels into a `[side, side, 3]` slice.
/// Whether that was possible.
pub(super) fn decode_into(
    bytes: &[u8],
    size: (u32, u32),
    cut: Cut,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> bool {
    let jpeg = Jpeg::reusing(&mut scratch.spare, bytes).ok().and_then(common);
    let Some(mut jpeg) = jpeg.filter(|jpeg| (jpeg.width(), jpeg.height()) == size) else { return false };
    let decoded = !jpeg.is_gray() && cut_out(&mut jpeg, cut, &mut scratch.pixels, out);
    if decoded {
        jpeg.leave(&mut scratch.spare);
    }
    decoded
}

fn cut_out(jpeg: &mut Jpeg<'_>, cut: Cut, scratch: &mut Vec<u8>, out: &mut [u8]) -> bool {
    let (x, y, side) = (cut.x as u32, cut.y as u32, cut.side as u32);
    let wanted = Region { x, y, width: side, height: side };
    let region = jpeg.lines_around(wanted, Scale::Full);
    if region == wanted {
        return jpeg.decode_into(Scale::Full, region, out).is_ok();
    }
    if scratch.len() < region.bytes() {
        scratch.resize(region.bytes(), 0);
    }
    let lines = &mut scratch[..region.bytes()];
    let decoded = jpeg.decode_into(Scale::Full, region, lines).is_ok();
    if decoded {
        let inside = Cut { x: cut.x - region.x as usize, ..cut };
        let above = (y - region.y) as usize * region.width as usize * 3;
        inside.copy(&lines[above..], region.width as usize, out);
    }
    decoded
}
