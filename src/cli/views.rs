//! Flags of augmented views and captions, and the file that holds the same settings.

use std::fs;
use std::num::NonZeroU32;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::file_exists;
use super::texts::TextArgs;
use crate::prepare::Views;
use crate::prepare::augment::image::ViewSettings;
use crate::prepare::augment::text::TextSettings;
use crate::store::Location;

/// What is not given comes from `--augment`'s file, then from the default.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Augmented views (view 0 is always clean)")]
pub(super) struct ViewArgs {
    /// Stored views of each image, the clean one included [default: 1]
    #[arg(long, value_name = "K")]
    views: Option<NonZeroU32>,
    /// Share of the image's area that a crop covers, drawn between two bounds [default: 0.6,1.0]
    #[arg(long, value_name = "LOW,HIGH")]
    crop_scale: Option<List<2>>,
    /// Width over height of a crop, drawn between two bounds [default: 0.75,1.333]
    #[arg(long, value_name = "LOW,HIGH")]
    crop_ratio: Option<List<2>>,
    /// Probability of a mirrored view, in whose captions `left` and `right` change places [default: 0]
    #[arg(long, value_name = "P")]
    flip: Option<f64>,
    /// Strength of brightness, contrast and saturation, and hue in turns up to 0.5 [default: 0,0,0,0]
    #[arg(long, value_name = "B,C,S,H")]
    jitter: Option<List<4>>,
    /// Probability of a gray view [default: 0]
    #[arg(long, value_name = "P")]
    grayscale: Option<f64>,
    /// These settings and those of further captions as a TOML file (views = 2, crop_scale = [0.6, 1.0],
    /// synonyms = 0.3, …); a flag wins over it
    #[arg(long, value_name = "FILE")]
    augment: Option<Location>,
    #[command(flatten)]
    texts: TextArgs,
}

/// Numbers with commas between.
#[derive(Clone, Copy, Debug, PartialEq)]
struct List<const N: usize>([f64; N]);

impl ViewArgs {
    /// The settings, checked.
    pub(super) fn resolve(mut self) -> Result<(Views, TextSettings)> {
        let mut file = self.augment.as_ref().map(Self::read).transpose()?.unwrap_or_default();
        let texts = std::mem::take(&mut self.texts).or(std::mem::take(&mut file.texts)).resolve()?;
        Ok((self.views(&file)?, texts))
    }

    fn views(&self, file: &Self) -> Result<Views> {
        let views = self.views.or(file.views);
        let crop_scale = self.crop_scale.or(file.crop_scale).unwrap_or(List([0.6, 1.0]));
        let crop_ratio = self.crop_ratio.or(file.crop_ratio).unwrap_or(List([0.75, 1.333]));
        let jitter = self.jitter.or(file.jitter).unwrap_or(List([0.0; 4]));
        let flip = self.flip.or(file.flip).unwrap_or(0.0);
        let grayscale = self.grayscale.or(file.grayscale).unwrap_or(0.0);
        bounds("--crop-scale", crop_scale, 1.0)?;
        bounds("--crop-ratio", crop_ratio, f64::MAX)?;
        probability("--flip", flip)?;
        probability("--grayscale", grayscale)?;
        let [brightness, contrast, saturation, hue] = jitter.0;
        ensure!(
            [brightness, contrast, saturation]
                .iter()
                .all(|&strength| strength >= 0.0 && strength.is_finite()),
            "--jitter: brightness, contrast and saturation are 0 or more"
        );
        ensure!((0.0..=0.5).contains(&hue), "--jitter: hue is between 0 and 0.5 turns, not {hue}");
        let settings =
            ViewSettings::new(crop_scale.0.into(), crop_ratio.0.into(), flip, jitter.0, grayscale)?;
        Ok(Views { count: views.unwrap_or(NonZeroU32::MIN), settings })
    }

    /// The settings of an `--augment` file.
    fn read(file: &Location) -> Result<Self> {
        file_exists("--augment", file)?;
        let reading = || format!("--augment: {file}");
        let text = fs::read_to_string(file.path()).with_context(reading)?;
        let table: toml::Table = text.parse().map_err(|error| anyhow!("{error}")).with_context(reading)?;
        let mut args = Self::default();
        for (key, value) in table {
            args.set(&key, &value).with_context(reading)?;
        }
        Ok(args)
    }

    fn set(&mut self, key: &str, value: &toml::Value) -> Result<()> {
        match key {
            "views" => self.views = Some(count(value).context("`views` is a whole number from 1 on")?),
            "crop_scale" => self.crop_scale = Some(list(key, value)?),
            "crop_ratio" => self.crop_ratio = Some(list(key, value)?),
            "flip" => self.flip = Some(number(value).context("`flip` is a probability")?),
            "jitter" => self.jitter = Some(list(key, value)?),
            "grayscale" => self.grayscale = Some(number(value).context("`grayscale` is a probability")?),
            "synonyms" => self.texts.synonyms = Some(number(value).context("`synonyms` is a probability")?),
            "wordnet" => self.texts.wordnet = Some(folder(key, value)?),
            "back_translate" => self.texts.back_translate = Some(text(key, value)?),
            "back_translate_cache" => self.texts.back_translate_cache = Some(folder(key, value)?),
            "back_translate_timeout" => {
                let seconds = value.as_integer().and_then(|seconds| u64::try_from(seconds).ok());
                self.texts.back_translate_timeout =
                    Some(seconds.context("`back_translate_timeout` is a whole number of seconds")?);
            }
            _ => {
                let keys = [
                    "views",
                    "crop_scale",
                    "crop_ratio",
                    "flip",
                    "jitter",
                    "grayscale",
                    "synonyms",
                    "wordnet",
                    "back_translate",
                    "back_translate_cache",
                    "back_translate_timeout",
                ];
                let near = |known: &&&str| strsim::damerau_levenshtein(known, key);
                let nearest = keys.iter().min_by_key(near).expect("there are keys");
                bail!("there is no key `{key}`; did you mean `{nearest}`?")
            }
        }
        Ok(())
    }
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
}

fn count(value: &toml::Value) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(value.as_integer()?).ok()?)
}

fn text(key: &str, value: &toml::Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("`{key}` is a text"))
}

fn folder(key: &str, value: &toml::Value) -> Result<Location> {
    text(key, value)?.parse().map_err(|error| anyhow!("`{key}`: {error}"))
}

fn list<const N: usize>(key: &str, value: &toml::Value) -> Result<List<N>> {
    let numbers = || -> Option<[f64; N]> {
        value.as_array()?.iter().map(number).collect::<Option<Vec<_>>>()?.try_into().ok()
    };
    numbers().map(List).with_context(|| format!("`{key}` is a list of {N} numbers"))
}

fn bounds(flag: &str, List([low, high]): List<2>, most: f64) -> Result<()> {
    let right = 0.0 < low && low <= high && high <= most;
    let most = if most == f64::MAX { String::new() } else { format!(" and no more than {most}") };
    ensure!(right, "{flag}: {low},{high} is not a pair of bounds: above 0, the lower first{most}");
    Ok(())
}

fn probability(flag: &str, p: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&p), "{flag}: a probability is between 0 and 1, not {p}");
    Ok(())
}

impl<const N: usize> FromStr for List<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        let numbers = parts.and_then(|parts| parts.try_into().ok());
        numbers.map(List).ok_or_else(|| format!("expected {N} numbers with commas between"))
    }
}
