//! What is decoded in part or scaled is what the whole holds.

use jpeg_turbo::{Jpeg, Region, Scale, encode};

/// Smooth colours with edges, so that smoothing across blocks shows.
fn picture(width: u32, height: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| match (x / 11 + y / 7) % 3 {
        0 => [(x * 3) as u8, (y * 2) as u8, 90],
        1 => [230, (x + y) as u8, (x * y) as u8],
        _ => [20, 40, (200 - y % 100) as u8],
    };
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

fn decoded(jpeg: &mut Jpeg<'_>, scale: Scale, region: Region) -> Vec<u8> {
    let mut out = vec![0xA5; region.bytes()];
    jpeg.decode_into(scale, region, &mut out).unwrap();
    assert!(jpeg.decode(scale, region).unwrap() == out, "every byte is written");
    out
}

#[test]
fn a_picture_comes_back_nearly_as_it_was() {
    let pixels: Vec<u8> =
        (0..64u32 * 48).flat_map(|at| [(at % 64 * 2) as u8, (at / 64 * 3) as u8, 100]).collect();
    let bytes = encode(&pixels, 64, 48, 95).unwrap();
    let mut jpeg = Jpeg::new(&bytes).unwrap();
    assert_eq!((jpeg.width(), jpeg.height(), jpeg.is_common(), jpeg.is_gray()), (64, 48, true, false));
    let whole = jpeg.whole(Scale::Full);
    let back = decoded(&mut jpeg, Scale::Full, whole);
    assert!(pixels.iter().zip(&back).all(|(&left, &right)| left.abs_diff(right) < 12));
}

#[test]
fn a_region_has_the_pixels_of_the_whole() {
    let bytes = encode(&picture(157, 93), 157, 93, 90).unwrap();
    for scale in Scale::ALL {
        let mut jpeg = Jpeg::new(&bytes).unwrap();
        let whole = jpeg.whole(scale);
        let all = decoded(&mut jpeg, scale, whole);
        let (w, h) = (whole.width, whole.height);
        for (x, y) in [(0, 0), (w / 3, h / 4), (w / 2, h / 2), (w - 1, h - 1), (w / 5, 0), (0, h / 3)] {
            let wanted = Region { x, y, width: (w - x).min(w / 3 + 1), height: (h - y).min(h / 2 + 1) };
            let region = jpeg.around(wanted, scale);
            let part = decoded(&mut jpeg, scale, region);
            for row in 0..wanted.height {
                let at = |region: Region| {
                    (((wanted.y + row - region.y) * region.width + wanted.x - region.x) * 3) as usize
                };
                let bytes = wanted.width as usize * 3;
                let (found, expected) = (&part[at(region)..][..bytes], &all[at(whole)..][..bytes]);
                assert!(found == expected, "{scale:?} {wanted:?} in {region:?}, row {row}");
            }
        }
    }
}

#[test]
fn a_scaled_picture_is_the_mean_of_its_pixels() {
    let pixels: Vec<u8> = (0..200 * 100).flat_map(|_| [200, 100, 50]).collect();
    let bytes = encode(&pixels, 200, 100, 90).unwrap();
    for scale in Scale::ALL {
        let mut jpeg = Jpeg::new(&bytes).unwrap();
        let whole = jpeg.whole(scale);
        assert_eq!(
            (whole.width, whole.height),
            (200u32.div_ceil(scale.divisor()), 100u32.div_ceil(scale.divisor()))
        );
        let out = decoded(&mut jpeg, scale, whole);
        assert!(
            out.chunks(3).all(|pixel| pixel.iter().zip([200u8, 100, 50]).all(|(&l, r)| l.abs_diff(r) < 4))
        );
    }
}

#[test]
fn a_cut_file_is_an_error_even_where_the_region_is_there() {
    let bytes = encode(&picture(160, 160), 160, 160, 90).unwrap();
    let mut jpeg = Jpeg::new(&bytes[..bytes.len() - bytes.len() / 4]).unwrap();
    let region = jpeg.around(Region { x: 0, y: 0, width: 32, height: 16 }, Scale::Full);
    assert!(jpeg.decode(Scale::Full, region).is_err());
    assert!(Jpeg::new(b"no picture").is_err());
}

#[test]
fn a_region_outside_is_refused() {
    let bytes = encode(&picture(32, 32), 32, 32, 90).unwrap();
    let mut jpeg = Jpeg::new(&bytes).unwrap();
    let region = Region { x: 16, y: 0, width: 32, height: 1 };
    let error = jpeg.decode(Scale::Full, region).unwrap_err();
    assert_eq!(error.to_string(), "the region is not inside the picture");
}

#[test]
fn the_version_is_known() {
    assert!(jpeg_turbo::VERSION.starts_with('3'), "{}", jpeg_turbo::VERSION);
}
