//! Any picture → the stored square.

use std::str::FromStr;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};

use crate::sample::{Crop, Rgb};

/// Resizer and version for the manifest: another may give other pixels.
pub const RESIZER: &str = "fast_image_resize 6.1.0";

/// How a picture that is not square becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The largest centred square of it.
    Crop,
    /// All of it, centred on black.
    Pad,
    /// All of it, its sides scaled differently.
    Squash,
}

impl Fit {
    /// Every fit.
    pub const ALL: [Self; 3] = [Self::Crop, Self::Pad, Self::Squash];

    /// The name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Squash => "squash",
        }
    }
}

impl FromStr for Fit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named(&Self::ALL, Self::name, name)
    }
}

/// The convolution kernel, widened when shrinking so that nothing aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Bicubic, as Pillow's `BICUBIC`.
    CatmullRom,
    /// Sharper, rings more.
    Lanczos3,
    /// Softer.
    Bilinear,
    /// Plain averages.
    Box,
}

impl Filter {
    /// Every filter.
    pub const ALL: [Self; 4] = [Self::CatmullRom, Self::Lanczos3, Self::Bilinear, Self::Box];

    /// The name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::CatmullRom => "catmull-rom",
            Self::Lanczos3 => "lanczos3",
            Self::Bilinear => "bilinear",
            Self::Box => "box",
        }
    }

    fn kernel(self) -> FilterType {
        match self {
            Self::CatmullRom => FilterType::CatmullRom,
            Self::Lanczos3 => FilterType::Lanczos3,
            Self::Bilinear => FilterType::Bilinear,
            Self::Box => FilterType::Box,
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named(&Self::ALL, Self::name, name)
    }
}

fn named<T: Copy>(all: &[T], name_of: fn(T) -> &'static str, name: &str) -> Result<T, String> {
    let known = || all.iter().map(|&item| name_of(item)).collect::<Vec<_>>().join(", ");
    all.iter()
        .copied()
        .find(|&item| name_of(item) == name)
        .ok_or_else(|| format!("{name}: not one of {}", known()))
}

/// Resizes to squares of one size. Keeps its scratch memory, so one a thread serves all its pictures.
pub struct Resizer {
    side: u32,
    filter: FilterType,
    inner: fast_image_resize::Resizer,
}

impl Resizer {
    /// A resizer to `side`×`side` pixels.
    ///
    /// # Panics
    /// If `side` is 0.
    pub fn new(side: u32, filter: Filter) -> Self {
        assert!(side > 0, "a square of side 0 has no pixels");
        Self { side, filter: filter.kernel(), inner: fast_image_resize::Resizer::new() }
    }

    /// The stored square of a picture, and the region of the picture that it shows. Smaller pictures
    /// are enlarged.
    pub fn fit(&mut self, source: &Rgb, fit: Fit) -> (Rgb, Crop) {
        let (width, height) = (source.width(), source.height());
        let whole = Crop { x: 0.0, y: 0.0, width: width as f32, height: height as f32 };
        match fit {
            Fit::Crop => {
                let square = centre_square(width, height);
                (self.crop(source, square), square)
            }
            Fit::Pad => (self.pad(source, whole), whole),
            Fit::Squash => (self.crop(source, whole), whole),
        }
    }

    /// A region of a picture, resized to the square.
    ///
    /// # Panics
    /// If the region is empty or not inside the picture.
    pub fn crop(&mut self, source: &Rgb, crop: Crop) -> Rgb {
        self.resize(source, crop, self.side, self.side)
    }

    fn pad(&mut self, source: &Rgb, whole: Crop) -> Rgb {
        let (width, height) = fitted(source.width(), source.height(), self.side);
        let scaled = self.resize(source, whole, width, height);
        let (left, top) = ((self.side - width) / 2, (self.side - height) / 2);
        let (side, row) = (self.side as usize, width as usize * 3);
        let mut pixels = vec![0; side * side * 3];
        for (y, line) in scaled.pixels().chunks_exact(row).enumerate() {
            let start = ((top as usize + y) * side + left as usize) * 3;
            pixels[start..start + row].copy_from_slice(line);
        }
        Rgb::new(self.side, self.side, pixels)
    }

    fn resize(&mut self, source: &Rgb, crop: Crop, width: u32, height: u32) -> Rgb {
        let mut pixels = vec![0; width as usize * height as usize * 3];
        let from = TypedImageRef::<U8x3>::from_buffer(source.width(), source.height(), source.pixels())
            .expect("a picture holds all its pixels");
        let mut to =
            TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).expect("the buffer was made for it");
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(self.filter)).crop(
            crop.x.into(),
            crop.y.into(),
            crop.width.into(),
            crop.height.into(),
        );
        self.inner.resize_typed(&from, &mut to, &options).expect("the region lies inside the picture");
        Rgb::new(width, height, pixels)
    }
}

/// The largest centred square; an odd margin leaves its extra pixel on the right or bottom.
fn centre_square(width: u32, height: u32) -> Crop {
    let side = width.min(height);
    let (x, y) = ((width - side) / 2, (height - side) / 2);
    Crop { x: x as f32, y: y as f32, width: side as f32, height: side as f32 }
}

/// The size with the longer side at `side` and the shorter in proportion: rounded, at least 1.
fn fitted(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longer = width.max(height);
    let scaled = |length: u32| {
        let rounded = (u64::from(length) * u64::from(side) * 2 + u64::from(longer)) / (2 * u64::from(longer));
        (rounded as u32).max(1)
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red tells the column, green the row.
    fn ramp(width: u32, height: u32) -> Rgb {
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 7])).collect();
        Rgb::new(width, height, pixels)
    }

    fn at(image: &Rgb, x: u32, y: u32) -> &[u8] {
        let start = (y * image.width() + x) as usize * 3;
        &image.pixels()[start..start + 3]
    }

    #[test]
    fn an_odd_margin_leaves_its_extra_pixel_right_or_bottom() {
        assert_eq!(centre_square(7, 4), Crop { x: 1.0, y: 0.0, width: 4.0, height: 4.0 });
        assert_eq!(centre_square(4, 7), Crop { x: 0.0, y: 1.0, width: 4.0, height: 4.0 });
    }

    #[test]
    fn a_crop_of_the_stored_size_is_copied() {
        let (image, crop) = Resizer::new(4, Filter::CatmullRom).fit(&ramp(7, 4), Fit::Crop);
        assert_eq!(crop.x, 1.0);
        assert_eq!((at(&image, 0, 0), at(&image, 3, 3)), (&[1, 0, 7][..], &[4, 3, 7][..]));
    }

    #[test]
    fn padding_is_black_and_its_odd_pixel_right_or_bottom() {
        let white = Rgb::new(3, 4, vec![255; 36]);
        let (image, crop) = Resizer::new(4, Filter::CatmullRom).fit(&white, Fit::Pad);
        assert_eq!(crop, Crop { x: 0.0, y: 0.0, width: 3.0, height: 4.0 });
        for y in 0..4 {
            assert_eq!((0..4).map(|x| at(&image, x, y)[0]).collect::<Vec<_>>(), [255, 255, 255, 0]);
        }
    }

    #[test]
    fn a_hair_is_padded_to_one_pixel() {
        assert_eq!(fitted(1, 1000, 10), (1, 10));
        assert_eq!(fitted(30, 20, 256), (256, 171));
    }

    #[test]
    fn squashing_keeps_every_corner() {
        let (image, crop) = Resizer::new(8, Filter::Box).fit(&ramp(16, 32), Fit::Squash);
        assert_eq!((crop.width, crop.height), (16.0, 32.0));
        assert_eq!(at(&image, 0, 0), &[1, 2, 7], "mean of columns 0–1 and rows 0–3, halves up");
        assert_eq!(at(&image, 7, 7), &[15, 30, 7]);
    }

    #[test]
    fn a_smaller_picture_is_enlarged() {
        for filter in Filter::ALL {
            let (image, _) = Resizer::new(9, filter).fit(&Rgb::new(1, 1, vec![9, 8, 7]), Fit::Crop);
            assert!(image.pixels().chunks_exact(3).all(|pixel| pixel == [9, 8, 7]), "{}", filter.name());
        }
    }

    #[test]
    fn a_used_resizer_gives_what_a_fresh_one_gives() {
        let mut used = Resizer::new(5, Filter::Lanczos3);
        used.fit(&ramp(200, 100), Fit::Pad);
        let fresh = Resizer::new(5, Filter::Lanczos3).fit(&ramp(31, 17), Fit::Crop);
        assert_eq!(used.fit(&ramp(31, 17), Fit::Crop), fresh);
    }

    #[test]
    fn names_are_read_back_and_others_named() {
        assert!(Fit::ALL.iter().all(|&fit| fit.name().parse() == Ok(fit)));
        assert!(Filter::ALL.iter().all(|&filter| filter.name().parse() == Ok(filter)));
        assert_eq!("fill".parse::<Fit>(), Err("fill: not one of crop, pad, squash".to_owned()));
    }
}
