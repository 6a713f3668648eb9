//! Any picture → the stored one.

use std::str::FromStr;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};

use crate::decode::{Need, Source, Window};
use crate::sample::{Crop, Rgb};

/// Resizer and version for the manifest: another may give other pixels.
pub const RESIZER: &str = "fast_image_resize 6.1.0";

/// How a picture that is not square is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The largest centred square of it.
    Crop,
    /// All of it, centred on black.
    Pad,
    /// All of it, its sides scaled differently.
    Squash,
    /// All of it, not square: the shorter side has the size asked for.
    Shortest,
}

impl Fit {
    /// Every fit.
    pub const ALL: [Self; 4] = [Self::Crop, Self::Pad, Self::Squash, Self::Shortest];

    /// The name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Squash => "squash",
            Self::Shortest => "shortest",
        }
    }

    /// The region of a `width`×`height` picture that is stored.
    pub fn region(self, width: u32, height: u32) -> Crop {
        match self {
            Self::Crop => centre_square(width, height),
            _ => Crop { x: 0.0, y: 0.0, width: width as f32, height: height as f32 },
        }
    }

    /// Width and height in pixels of what is stored of a `width`×`height` picture at size `side`.
    pub fn stored_size(self, width: u32, height: u32, side: u32) -> (u32, u32) {
        match self {
            Self::Shortest => scaled(width, height, width.min(height), side),
            _ => (side, side),
        }
    }

    /// Width and height in pixels that the region is resized to: less than the stored ones where
    /// it is padded.
    fn resized(self, width: u32, height: u32, side: u32) -> (u32, u32) {
        match self {
            Self::Pad => scaled(width, height, width.max(height), side),
            _ => self.stored_size(width, height, side),
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

    /// Radius of the kernel.
    fn reach(self) -> f64 {
        match self {
            Self::CatmullRom => 2.0,
            Self::Lanczos3 => 3.0,
            Self::Bilinear => 1.0,
            Self::Box => 0.5,
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

/// Resizes to one size. Keeps its scratch memory, so one a thread serves all its pictures.
pub struct Resizer {
    side: u32,
    filter: Filter,
    inner: fast_image_resize::Resizer,
}

impl Resizer {
    /// A resizer to `side`×`side` pixels.
    ///
    /// # Panics
    /// If `side` is 0.
    pub fn new(side: u32, filter: Filter) -> Self {
        assert!(side > 0, "a square of side 0 has no pixels");
        Self { side, filter, inner: fast_image_resize::Resizer::new() }
    }

    /// What [`Resizer::fit`] looks at of a `width`×`height` picture.
    pub fn need_of_fit(&self, width: u32, height: u32, fit: Fit) -> Need {
        let (to_width, to_height) = fit.resized(width, height, self.side);
        self.need(fit.region(width, height), to_width, to_height)
    }

    /// What [`Resizer::crop`] looks at.
    pub fn need_of_crop(&self, crop: Crop) -> Need {
        self.need(crop, self.side, self.side)
    }

    fn need(&self, crop: Crop, width: u32, height: u32) -> Need {
        Need { crop, width, height, reach: self.filter.reach() }
    }

    /// The stored form of a picture, and the region of the picture that it shows. Smaller pictures
    /// are enlarged.
    pub fn fit(&mut self, source: &Source, fit: Fit) -> (Rgb, Crop) {
        let (width, height) = (source.width(), source.height());
        let region = fit.region(width, height);
        let (to_width, to_height) = fit.resized(width, height, self.side);
        let resized = self.resize(source, region, to_width, to_height);
        match fit {
            Fit::Pad => (self.pad(resized), region),
            _ => (resized, region),
        }
    }

    /// A region of a picture, resized to the square.
    ///
    /// # Panics
    /// If the region is empty or not inside what was decoded of the picture.
    pub fn crop(&mut self, source: &Source, crop: Crop) -> Rgb {
        self.resize(source, crop, self.side, self.side)
    }

    fn pad(&self, scaled: Rgb) -> Rgb {
        let (width, height) = (scaled.width(), scaled.height());
        if (width, height) == (self.side, self.side) {
            return scaled;
        }
        let (left, top) = ((self.side - width) / 2, (self.side - height) / 2);
        let (side, row) = (self.side as usize, width as usize * 3);
        let mut pixels = vec![0; side * side * 3];
        for (y, line) in scaled.pixels().chunks_exact(row).enumerate() {
            let start = ((top as usize + y) * side + left as usize) * 3;
            pixels[start..start + row].copy_from_slice(line);
        }
        Rgb::new(self.side, self.side, pixels)
    }

    fn resize(&mut self, source: &Source, crop: Crop, width: u32, height: u32) -> Rgb {
        let mut pixels = vec![0; width as usize * height as usize * 3];
        let decoded = source.pixels();
        let from = TypedImageRef::<U8x3>::from_buffer(decoded.width(), decoded.height(), decoded.pixels())
            .expect("a picture holds all its pixels");
        let mut to =
            TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).expect("the buffer was made for it");
        let Window { x, y, width: w, height: h } = source.window(crop);
        let kernel = ResizeAlg::Convolution(self.filter.kernel());
        let options = ResizeOptions::new().resize_alg(kernel).crop(x, y, w, h);
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

/// The size with the side that has `of` pixels at `side`, and the other in proportion: rounded, at
/// least 1.
fn scaled(width: u32, height: u32, of: u32, side: u32) -> (u32, u32) {
    let scaled = |length: u32| {
        let rounded = (u64::from(length) * u64::from(side) * 2 + u64::from(of)) / (2 * u64::from(of));
        rounded.clamp(1, u32::MAX.into()) as u32
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red tells the column, green the row.
    fn ramp(width: u32, height: u32) -> Source {
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 7])).collect();
        Source::whole(Rgb::new(width, height, pixels))
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
        let white = Source::whole(Rgb::new(3, 4, vec![255; 36]));
        let (image, crop) = Resizer::new(4, Filter::CatmullRom).fit(&white, Fit::Pad);
        assert_eq!(crop, Crop { x: 0.0, y: 0.0, width: 3.0, height: 4.0 });
        for y in 0..4 {
            assert_eq!((0..4).map(|x| at(&image, x, y)[0]).collect::<Vec<_>>(), [255, 255, 255, 0]);
        }
    }

    #[test]
    fn a_hair_is_padded_to_one_pixel() {
        assert_eq!(Fit::Pad.resized(1, 1000, 10), (1, 10));
        assert_eq!(Fit::Pad.resized(30, 20, 256), (256, 171));
    }

    #[test]
    fn the_shorter_side_gets_the_size() {
        assert_eq!(Fit::Shortest.stored_size(39, 7, 256), (1426, 256));
        let (image, crop) = Resizer::new(4, Filter::Box).fit(&ramp(16, 8), Fit::Shortest);
        assert_eq!((image.width(), image.height(), crop.width), (8, 4, 16.0));
    }

    #[expect(unsafe_code, reason = "the crate marks the choice of instructions so")]
    fn force_scalar(resizer: &mut Resizer) {
        // SAFETY: every processor can do without extensions.
        unsafe { resizer.inner.set_cpu_extensions(fast_image_resize::CpuExtensions::None) }
    }

    #[test]
    fn simd_forced_off_gives_the_same_pixels() {
        for filter in Filter::ALL {
            for (side, fit) in [(37, Fit::Crop), (100, Fit::Squash), (300, Fit::Pad)] {
                let source = ramp(203, 151);
                let mut scalar = Resizer::new(side, filter);
                force_scalar(&mut scalar);
                let (with, without) =
                    (Resizer::new(side, filter).fit(&source, fit), scalar.fit(&source, fit));
                assert!(with == without, "{} to {side}", filter.name());
            }
        }
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
        let pixel = Source::whole(Rgb::new(1, 1, vec![9, 8, 7]));
        for filter in Filter::ALL {
            let (image, _) = Resizer::new(9, filter).fit(&pixel, Fit::Crop);
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
        assert_eq!("fill".parse::<Fit>(), Err("fill: not one of crop, pad, squash, shortest".to_owned()));
    }
}
