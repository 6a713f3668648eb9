//! Crop and augmentation in words.

use crate::sample::{Augment, Crop};

/// `375×375 at (62, 0)`, in source pixels, rounded; `whole source` where nothing was cut.
pub fn crop(crop: Crop, source: Option<(i32, i32)>) -> String {
    let whole = source.is_some_and(|(width, height)| {
        crop.x == 0.0 && crop.y == 0.0 && crop.width == width as f32 && crop.height == height as f32
    });
    if whole {
        return "whole source".to_owned();
    }
    let [x, y, width, height] = [crop.x, crop.y, crop.width, crop.height].map(|value| value.round() as i64);
    format!("{width}×{height} at\u{a0}({x},\u{a0}{y})")
}

/// `mirrored, brightness ×1.12, hue +18°`; `clean` where nothing was changed. What rounds to no change is left out, and
/// no line breaks between a name and its number.
pub fn augment(augment: Option<Augment>) -> String {
    let Some(augment) = augment else { return "clean".to_owned() };
    let factor = |name: &str, value: f32| {
        Some(format!("{name}\u{a0}×{value:.2}")).filter(|words| !words.ends_with("×1.00"))
    };
    let hue = (augment.hue * 360.0).round() as i32;
    let words: Vec<String> = [
        augment.flip.then(|| "mirrored".to_owned()),
        factor("brightness", augment.brightness),
        factor("contrast", augment.contrast),
        factor("saturation", augment.saturation),
        (hue != 0).then(|| format!("hue\u{a0}{}{}°", if hue < 0 { "−" } else { "+" }, hue.abs())),
        augment.grayscale.then(|| "gray".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if words.is_empty() { "colours as they were".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_said() {
        let changed = Augment { flip: true, hue: -0.05, contrast: 0.9, grayscale: true, ..Augment::NONE };
        assert_eq!(augment(Some(changed)), "mirrored, contrast\u{a0}×0.90, hue\u{a0}−18°, gray");
        let hardly = Augment { brightness: 1.004, hue: 0.001, ..Augment::NONE };
        assert_eq!(augment(Some(hardly)), "colours as they were");
        assert_eq!(augment(None), "clean");
        assert_eq!(augment(Some(Augment::NONE)), "colours as they were");
    }

    #[test]
    fn a_crop_is_said_in_source_pixels() {
        let region = Crop { x: 62.5, y: 0.0, width: 375.0, height: 375.0 };
        assert_eq!(crop(region, Some((500, 375))), "375×375 at\u{a0}(63,\u{a0}0)");
        assert_eq!(crop(Crop { x: 0.0, ..region }, Some((375, 375))), "whole source");
    }
}
