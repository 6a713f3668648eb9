//! The contact sheet as one picture.

use std::io::Cursor;

use anyhow::{Context, Result, ensure};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, Resizer};
use image::{ImageFormat, RgbImage};

use super::{Picture, SheetRow};
use crate::decode::decode;
use crate::sample::Rgb;

/// Widest sheet that holds more than one key a line, in pixels.
const WIDTH: u32 = 1600;
/// Pixels between the views of a key.
const VIEW_GAP: u32 = 4;
/// Pixels between keys, and around them all.
const KEY_GAP: u32 = 16;
const PAPER: u8 = 250;
const MISSING: u8 = 205;

/// A PNG of thumbnails fitted into squares of `side` pixels: keys in order, line by line, the views
/// of a key side by side. A picture that cannot be decoded is a gray square.
///
/// # Errors
/// If there are no rows.
///
/// # Panics
/// If `side` is 0.
pub fn png(rows: &[SheetRow], side: u32) -> Result<Vec<u8>> {
    ensure!(!rows.is_empty(), "there are no rows to show");
    let grid = Grid::new(rows, side);
    let mut sheet = RgbImage::from_pixel(grid.width(), grid.height(), image::Rgb([PAPER; 3]));
    for (at, row) in rows.iter().enumerate() {
        for (view, shown) in row.views.iter().enumerate() {
            let (x, y) = grid.corner(at as u32, view as u32);
            place(&mut sheet, &thumbnail(shown.picture.as_ref(), side), x, y, side);
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, ImageFormat::Png).context("cannot encode the sheet")?;
    Ok(bytes.into_inner())
}

/// Where thumbnails stand.
struct Grid {
    side: u32,
    cell: u32,
    columns: u32,
    lines: u32,
}

impl Grid {
    fn new(rows: &[SheetRow], side: u32) -> Self {
        let views = rows.iter().map(|row| row.views.len()).max().unwrap_or(1).max(1) as u32;
        let cell = views * (side + VIEW_GAP) - VIEW_GAP + KEY_GAP;
        let columns = ((WIDTH - KEY_GAP) / cell).clamp(1, rows.len() as u32);
        Self { side, cell, columns, lines: (rows.len() as u32).div_ceil(columns) }
    }

    fn width(&self) -> u32 {
        self.columns * self.cell + KEY_GAP
    }

    fn height(&self) -> u32 {
        self.lines * (self.side + KEY_GAP) + KEY_GAP
    }

    fn corner(&self, row: u32, view: u32) -> (u32, u32) {
        let x = KEY_GAP + row % self.columns * self.cell + view * (self.side + VIEW_GAP);
        (x, KEY_GAP + row / self.columns * (self.side + KEY_GAP))
    }
}

/// The picture scaled so that its longer side is `side` pixels.
fn thumbnail(picture: Option<&Picture>, side: u32) -> RgbImage {
    let missing = || RgbImage::from_pixel(side, side, image::Rgb([MISSING; 3]));
    picture.and_then(decoded).and_then(|picture| fitted(&picture, side)).unwrap_or_else(missing)
}

/// The same as a JPEG; `None` of a picture that cannot be decoded.
pub(in crate::show) fn jpeg(picture: &Picture, side: u32) -> Option<Vec<u8>> {
    let small = fitted(&decoded(picture)?, side)?;
    let small = Rgb::new(small.width(), small.height(), small.into_raw());
    Picture::Rgb(small).to_file().ok()
}

fn decoded(picture: &Picture) -> Option<Rgb> {
    match picture {
        Picture::Rgb(picture) => Some(picture.clone()),
        Picture::File(bytes) => decode(bytes).ok(),
    }
}

fn fitted(picture: &Rgb, side: u32) -> Option<RgbImage> {
    let (width, height) = (picture.width(), picture.height());
    let scaled = |length: u32| {
        let exact = f64::from(length) * f64::from(side) / f64::from(width.max(height));
        (exact.round() as u32).max(1)
    };
    let source = ImageRef::new(width, height, picture.pixels(), PixelType::U8x3).ok()?;
    let mut target = Image::new(scaled(width), scaled(height), PixelType::U8x3);
    Resizer::new().resize(&source, &mut target, None).ok()?;
    RgbImage::from_raw(scaled(width), scaled(height), target.into_vec())
}

/// Copies a thumbnail into the middle of its square.
fn place(sheet: &mut RgbImage, thumbnail: &RgbImage, x: u32, y: u32, side: u32) {
    let (left, top) = (x + (side - thumbnail.width()) / 2, y + (side - thumbnail.height()) / 2);
    image::imageops::replace(sheet, thumbnail, left.into(), top.into());
}

#[cfg(test)]
mod tests {
    use super::super::SheetView;
    use super::*;

    fn row(pictures: Vec<Option<Picture>>) -> SheetRow {
        let view = |(view, picture)| SheetView {
            view: view as i32,
            picture,
            crop: None,
            augment: None,
            captions: Vec::new(),
        };
        let views = pictures.into_iter().enumerate().map(view).collect();
        SheetRow { key: "k".into(), source: None, padded: false, views, captions: Vec::new() }
    }

    fn red(width: u32, height: u32) -> Option<Picture> {
        let pixels = [255, 0, 0].repeat((width * height) as usize);
        Some(Picture::Rgb(Rgb::new(width, height, pixels)))
    }

    #[test]
    fn views_stand_side_by_side_and_a_damaged_one_is_gray() {
        let rows = [row(vec![red(40, 20), Some(Picture::File(vec![0xff, 0xd8]))])];
        let sheet = image::load_from_memory(&png(&rows, 10).unwrap()).unwrap().into_rgb8();
        assert_eq!(sheet.dimensions(), (16 + 10 + 4 + 10 + 16, 16 + 10 + 16));
        assert_eq!(sheet.get_pixel(21, 21).0, [255, 0, 0]);
        assert_eq!(sheet.get_pixel(21, 17).0, [PAPER; 3], "a wide picture has paper above it");
        assert_eq!(sheet.get_pixel(35, 21).0, [MISSING; 3]);
    }

    #[test]
    fn keys_fill_line_after_line() {
        let rows: Vec<SheetRow> = (0..64).map(|_| row(vec![red(4, 4)])).collect();
        let grid = Grid::new(&rows, 160);
        assert_eq!((grid.columns, grid.lines), (9, 8));
        assert_eq!(grid.corner(10, 0), (16 + 176, 16 + 176));
    }

    #[test]
    fn a_sheet_of_nothing_is_an_error() {
        assert_eq!(png(&[], 10).unwrap_err().to_string(), "there are no rows to show");
    }
}
