//! A source file → the stored form of every view: read once, decoded once, and of it only what the
//! views show.

use super::Config;
use super::augment::image;
use super::encode::{Encoding, encode};
use super::reject::Reject;
use super::resize::{Fit, Resizer};
use crate::decode::{MAX_PIXELS, Need, Source};
use crate::sample::{Augment, Crop, Rgb, Stored};

/// Longest stored side in pixels: that of a JPEG.
const MAX_STORED_SIDE: u32 = 65_500;

/// A picture in all its views.
pub struct Milled {
    /// Source width in pixels, after the EXIF turn.
    pub width: u32,
    /// Source height in pixels, after the EXIF turn.
    pub height: u32,
    /// By number of the view.
    pub views: Vec<View>,
}

/// One view of a picture.
pub struct View {
    /// Its bytes.
    pub stored: Stored,
    /// Stored width in pixels.
    pub width: u32,
    /// Stored height in pixels.
    pub height: u32,
    /// The region of the source that it shows.
    pub crop: Crop,
    /// What was done to its pixels; `None` in view 0.
    pub augment: Option<Augment>,
}

/// The views of the picture in `bytes`, whose sample is called `key`.
///
/// # Errors
/// Why the sample is left out.
pub fn mill(config: &Config, key: &str, bytes: &[u8], resizer: &mut Resizer) -> Result<Milled, Reject> {
    let picture = crate::decode::Picture::open(bytes)?;
    let (width, height) = (picture.width(), picture.height());
    check(config, width, height)?;
    let fit = config.picture.fit;
    let draw = |view| config.views.settings.draw(config.seed, key, view, width, height);
    let drawn: Vec<(Crop, Augment)> = (1..config.views.count.get()).map(draw).collect();
    let mut needs: Vec<Need> = vec![resizer.need_of_fit(width, height, fit)];
    needs.extend(drawn.iter().map(|&(crop, _)| resizer.need_of_crop(crop)));
    let source = picture.decode(&needs)?;
    let (clean, crop) = resizer.fit(&source, fit);
    let encoding = config.picture.encoding;
    let mut views = vec![view(&clean, crop, None, encoding)];
    views.extend(drawn.into_iter().map(|(crop, augment)| {
        let pixels = augmented(&source, crop, &augment, resizer);
        view(&pixels, crop, Some(augment), encoding)
    }));
    Ok(Milled { width, height, views })
}

fn augmented(source: &Source, crop: Crop, augment: &Augment, resizer: &mut Resizer) -> Rgb {
    let mut pixels = resizer.crop(source, crop);
    image::apply(&mut pixels, augment);
    pixels
}

fn view(pixels: &Rgb, crop: Crop, augment: Option<Augment>, encoding: Encoding) -> View {
    let (width, height) = (pixels.width(), pixels.height());
    View { stored: encode(pixels, encoding), width, height, crop, augment }
}

/// Sides that are not wanted, or that have no stored form.
fn check(config: &Config, width: u32, height: u32) -> Result<(), Reject> {
    let super::Picture { side, fit, min_size, max_aspect, .. } = config.picture;
    let (shorter, longer) = (width.min(height), width.max(height));
    if let Some(least) = min_size.filter(|&least| shorter < least) {
        return Err(Reject::TooSmall { width, height, least });
    }
    let aspect = f64::from(longer) / f64::from(shorter);
    if let Some(most) = max_aspect.filter(|&most| aspect > most) {
        return Err(Reject::Aspect(format!(
            "{width}x{height} pixels: one side is over {most} times the other"
        )));
    }
    let (to_width, to_height) = fit.stored_size(width, height, side);
    let pixels = u64::from(to_width) * u64::from(to_height);
    if fit == Fit::Shortest && (to_width.max(to_height) > MAX_STORED_SIDE || pixels > MAX_PIXELS) {
        let problem = format!("{width}x{height} pixels would be stored as {to_width}x{to_height}");
        return Err(Reject::Aspect(problem));
    }
    Ok(())
}
