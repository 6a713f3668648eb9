//! EXIF's eight orientations: how a stored picture becomes an upright one.

use image::metadata::Orientation;

use crate::sample::Rgb;

/// Rows and columns swapped or not, then each axis mirrored or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Whether upright rows are stored columns.
    pub swap: bool,
    /// Whether the upright picture is mirrored left to right after that.
    pub mirror_x: bool,
    /// Whether it is mirrored top to bottom after that.
    pub mirror_y: bool,
}

impl From<Orientation> for Turn {
    fn from(orientation: Orientation) -> Self {
        let (swap, mirror_x, mirror_y) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, true, false),
            Orientation::Rotate270FlipH => (true, true, true),
            Orientation::Rotate270 => (true, false, true),
        };
        Self { swap, mirror_x, mirror_y }
    }
}

impl Turn {
    /// The upright size of a stored one, and the stored size of an upright one.
    pub fn size<T>(self, width: T, height: T) -> (T, T) {
        if self.swap { (height, width) } else { (width, height) }
    }

    /// The upright picture.
    pub fn apply(self, picture: Rgb) -> Rgb {
        if self == Self::default() {
            return picture;
        }
        let (width, height) = self.size(picture.width(), picture.height());
        let (from, _) = picture.pixels().as_chunks::<3>();
        let mut turned = vec![0; picture.pixels().len()];
        let (to, _) = turned.as_chunks_mut::<3>();
        let (w, h, stored) = (width as usize, height as usize, picture.width() as usize);
        for (y, line) in to.chunks_exact_mut(w).enumerate() {
            let v = if self.mirror_y { h - 1 - y } else { y };
            for (x, pixel) in line.iter_mut().enumerate() {
                let u = if self.mirror_x { w - 1 - x } else { x };
                *pixel = from[if self.swap { u * stored + v } else { v * stored + u }];
            }
        }
        Rgb::new(width, height, turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, RgbImage};

    #[test]
    fn every_turn_is_the_one_of_the_image_crate() {
        let pixels: Vec<u8> = (0..5 * 3 * 3).collect();
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let mut expected = DynamicImage::ImageRgb8(RgbImage::from_raw(5, 3, pixels.clone()).unwrap());
            expected.apply_orientation(orientation);
            let found = Turn::from(orientation).apply(Rgb::new(5, 3, pixels.clone()));
            assert_eq!((found.width(), found.height()), (expected.width(), expected.height()), "{exif}");
            assert!(found.pixels() == expected.as_bytes(), "{exif}");
        }
    }
}
