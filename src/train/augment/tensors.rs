//! Flip and colour jitter where the model is: torchvision's operations on floats.

use tch::{Kind, Tensor};

use super::GRAY;
use crate::sample::Augment;

/// Pixels `[B, S, S, 3]` of u8 with what is drawn for each picture done to them, as shares of 1 of
/// `kind`: `[B, 3, S, S]`, channel by channel. What no picture of the batch is to have is left out,
/// so that it changes no bit.
pub fn apply(pixels: &Tensor, kind: Kind, drawn: &[Augment]) -> Tensor {
    let pixels = flipped(pixels, drawn);
    let planes = (pixels.to_kind(kind) / 255.0).permute([3, 0, 1, 2]).contiguous(); // [3, B, S, S]
    jittered(planes, drawn).transpose(0, 1).contiguous()
}

fn flipped(pixels: &Tensor, drawn: &[Augment]) -> Tensor {
    let flips: Vec<bool> = drawn.iter().map(|augment| augment.flip).collect();
    if !flips.contains(&true) {
        return pixels.shallow_clone();
    }
    let flips = beside(pixels, Tensor::from_slice(&flips)).view([-1, 1, 1, 1]);
    pixels.flip([2]).where_self(&flips, pixels)
}

/// Shares `[3, B, S, S]` after brightness, contrast, saturation and hue.
fn jittered(mut planes: Tensor, drawn: &[Augment]) -> Tensor {
    let values = |of: fn(&Augment) -> f32, neutral: f32| column(&planes, drawn, of, neutral);
    let brightness = values(|augment| augment.brightness, 1.0);
    let contrast = values(|augment| augment.contrast, 1.0);
    let saturation = values(|augment| augment.saturation, 1.0);
    let hue = values(|augment| augment.hue, 0.0);
    if let Some(factor) = brightness {
        planes = (planes * factor).clamp(0.0, 1.0);
    }
    if let Some(factor) = contrast {
        let mean = gray(&planes).mean_dim([1, 2].as_slice(), true, None); // [B, 1, 1]
        planes = blend(&mean, &planes, &factor);
    }
    if let Some(factor) = saturation {
        planes = blend(&gray(&planes), &planes, &factor);
    }
    if let Some(shift) = hue {
        planes = turned(&planes, &shift);
    }
    planes
}

/// One value a picture, `[B, 1, 1]`, where the planes are; nothing where all are `neutral`.
fn column(planes: &Tensor, drawn: &[Augment], of: fn(&Augment) -> f32, neutral: f32) -> Option<Tensor> {
    let values: Vec<f32> = drawn.iter().map(of).collect();
    let changes = values.iter().any(|&value| value != neutral);
    changes.then(|| beside(planes, Tensor::from_slice(&values).to_kind(planes.kind())).view([-1, 1, 1]))
}

/// Values on the device of `xs`, which is not waited for.
fn beside(xs: &Tensor, values: Tensor) -> Tensor {
    torch_ext::send(&values, xs.device()).expect("a value a picture fits on the device")
}

/// `from` at 0, `to` at 1, beyond either outside, within 0…1.
fn blend(from: &Tensor, to: &Tensor, factor: &Tensor) -> Tensor {
    let rest: Tensor = 1.0 - factor;
    (factor * to + rest * from).clamp(0.0, 1.0)
}

/// `[B, S, S]` from `[3, B, S, S]`.
fn gray(planes: &Tensor) -> Tensor {
    let [r, g, b] = [0, 1, 2].map(|channel| planes.get(channel) * GRAY[channel as usize]);
    r + g + b
}

/// Planes `[3, B, S, S]` with the hue moved on by `shift` turns. Greatest channel and range stay, so
/// there is no way through saturation: a channel is the greatest less a part of the range that its
/// distance from its own sixth of the circle says.
fn turned(planes: &Tensor, shift: &Tensor) -> Tensor {
    let (most, least) = (planes.amax([0].as_slice(), false), planes.amin([0].as_slice(), false));
    let range = &most - &least; // [B, S, S]
    let whole = range.masked_fill(&range.eq(0.0), 1.0); // of gray, whose hue is 0
    let below = (&most - planes) / whole; // [3, B, S, S], 0 where a channel is the greatest
    let [r, g, b] = [0, 1, 2].map(|channel| below.get(channel));
    let sixths = (&b - &g).where_self(&r.eq(0.0), &(&r - &b + 2.0).where_self(&g.eq(0.0), &(&g - &r + 4.0)));
    let sixths = sixths + shift * 6.0;
    let own = beside(planes, Tensor::from_slice(&[5.0f32, 3.0, 1.0]).to_kind(planes.kind()));
    let place = (own.view([3, 1, 1, 1]) + sixths).remainder(6.0); // [3, B, S, S], 0…6
    let part = place.minimum(&(4.0 - &place)).clamp(0.0, 1.0);
    most - range * part
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;
    use tch::Device;

    use super::super::tests::{ALL, drawn};
    use super::super::{Augmentation, pixels};
    use super::*;
    use crate::decode::decode;
    use crate::prepare::augment::image;
    use crate::sample::Rgb;
    use crate::train::trainer::uploaded;
    use crate::train::weights::read_tensors;

    const SIDE: usize = 20;

    /// Pictures of smooth colours and hard edges, each of its own.
    fn pictures(count: usize) -> Vec<Rgb> {
        let level = |at: usize, x: usize, y: usize, channel: usize| -> u8 {
            match (x / 5 + y / 5) % 3 {
                0 => ((x * 13 + at * 40 + channel * 90) % 256) as u8,
                1 => ((y * 11 + at * 25 + channel * channel * 60) % 256) as u8,
                _ => ((x * y + at) % 256) as u8,
            }
        };
        let picture = |at: usize| {
            let places = (0..SIDE * SIDE * 3).map(|p| level(at, p / 3 % SIDE, p / 3 / SIDE, p % 3));
            Rgb::new(SIDE as u32, SIDE as u32, places.collect())
        };
        (0..count).map(picture).collect()
    }

    fn batch(pictures: &[Rgb]) -> Tensor {
        let bytes: Vec<u8> = pictures.iter().flat_map(|picture| picture.pixels().to_vec()).collect();
        uploaded(&bytes, SIDE, Device::Cpu)
    }

    /// Levels `[B, S, S, 3]` of what is applied.
    fn levels(pictures: &[Rgb], drawn: &[Augment]) -> Vec<f64> {
        let shares = apply(&batch(pictures), Kind::Double, drawn);
        Vec::try_from((shares * 255.0).permute([0, 2, 3, 1]).contiguous().view(-1)).unwrap()
    }

    /// Greatest and mean distance from the levels that `prepare` stores for the same draws.
    fn distance(drawn: &[Augment]) -> (f64, f64) {
        let mut stored = pictures(drawn.len());
        let ours = levels(&stored, drawn);
        stored.iter_mut().zip(drawn).for_each(|(picture, augment)| image::apply(picture, augment));
        let theirs = stored.iter().flat_map(|picture| picture.pixels().to_vec());
        let distances: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| (a - f64::from(b)).abs()).collect();
        (
            distances.iter().copied().fold(0.0, f64::max),
            distances.iter().sum::<f64>() / distances.len() as f64,
        )
    }

    #[test]
    fn a_flip_is_exactly_the_stored_one() {
        let flips = drawn(Augmentation { jitter: [0.0; 4], ..ALL }, 9);
        assert!(flips.iter().any(|augment| augment.flip) && flips.iter().any(|augment| !augment.flip));
        assert!(distance(&flips).0 < 1e-9);
    }

    #[test]
    fn colours_are_those_of_stored_views_to_a_level() {
        for at in 0..3 {
            let mut jitter = [0.0; 4];
            jitter[at] = 0.6;
            let (most, _) = distance(&drawn(Augmentation { jitter, ..ALL }, 9));
            assert!(most < 2.0, "{at}: {most} levels");
        }
        let (most, mean) = distance(&drawn(Augmentation { jitter: [0.3, 0.3, 0.3, 0.0], ..ALL }, 9));
        assert!(most < 4.0 && mean < 1.5, "each of three is cut to whole levels: {most}, {mean} on average");
        // A level of an 8-bit hue is six levels of a channel.
        let (most, mean) = distance(&drawn(Augmentation { jitter: [0.0, 0.0, 0.0, 0.5], ..ALL }, 9));
        assert!(most < 16.0 && mean < 1.5, "{most} levels, {mean} on average");
    }

    #[test]
    fn every_operation_gives_torchvisions_floats() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let picture = decode(&read("odd/plain-jpg.rgb.png")).unwrap();
        let pixels = uploaded(picture.pixels(), 1, Device::Cpu).view([1, 48, 64, 3]);
        let corner = pixels.narrow(1, 0, 16).narrow(2, 0, 16);
        let cases: Vec<Value> = serde_json::from_slice(&read("jitter/cases.json")).unwrap();
        let golden = read_tensors(&folder.join("jitter/floats.safetensors")).unwrap();
        let drawn = cases.iter().map(|case| {
            let number = |name: &str| case[name].as_f64().unwrap() as f32;
            let [brightness, contrast, saturation, hue] =
                ["brightness", "contrast", "saturation", "hue"].map(number);
            let flip = case["flip"].as_bool().unwrap();
            Augment { flip, brightness, contrast, saturation, hue, grayscale: false }
        });
        let drawn: Vec<Augment> = drawn.collect();
        let together = apply(&corner.repeat([drawn.len() as i64, 1, 1, 1]), Kind::Float, &drawn);
        for (at, case) in cases.iter().enumerate().filter(|(_, case)| case["grayscale"] == false) {
            let apart = (together.get(at as i64) - golden["expected"].get(at as i64)).abs().max();
            assert!(apart.double_value(&[]) < 1e-5, "{case}: {apart:?}");
        }
    }

    /// What a page shows of a step must be what the step saw.
    #[test]
    fn a_picture_without_tensors_becomes_the_same_to_half_a_level() {
        for jitter in [[0.0; 4], [0.4, 0.4, 0.4, 0.1], [0.9, 0.9, 0.9, 0.5]] {
            let drawn = drawn(Augmentation { jitter, ..ALL }, 12);
            let mut shown = pictures(drawn.len());
            let ours = levels(&shown, &drawn);
            shown.iter_mut().zip(&drawn).for_each(|(picture, augment)| pixels::apply(picture, augment));
            let shown = shown.iter().flat_map(|picture| picture.pixels().to_vec());
            let most = ours.iter().zip(shown).map(|(a, b)| (a - f64::from(b)).abs()).fold(0.0, f64::max);
            assert!(most < 0.51, "{jitter:?}: {most} levels");
        }
    }

    #[test]
    fn nothing_to_do_changes_no_bit() {
        let still = drawn(Augmentation { flip: 0.0, jitter: [0.0; 4], ..ALL }, 3);
        let pixels = batch(&pictures(3));
        let expected = (pixels.to_kind(Kind::Float) / 255.0).permute([0, 3, 1, 2]);
        assert!(apply(&pixels, Kind::Float, &still).equal(&expected));
    }

    #[test]
    fn what_a_picture_becomes_does_not_depend_on_the_batch() {
        let (pictures, draws) = (pictures(7), drawn(ALL, 7));
        let order = [4i64, 0, 6, 2, 1, 5, 3];
        let permuted = |at: &i64| (pictures[*at as usize].clone(), draws[*at as usize]);
        let (pictures_of, draws_of): (Vec<Rgb>, Vec<Augment>) = order.iter().map(permuted).unzip();
        let whole =
            apply(&batch(&pictures), Kind::Double, &draws).index_select(0, &Tensor::from_slice(&order));
        let apart = (whole - apply(&batch(&pictures_of), Kind::Double, &draws_of)).abs().max();
        assert!(apart.double_value(&[]) < 1e-12);
    }
}
