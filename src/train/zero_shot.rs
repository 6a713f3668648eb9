//! Zero-shot classification: an image is of the class whose texts are nearest to it.
//! <https://arxiv.org/abs/2103.00020>, section 3.1

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::embed::{Encoder, Split};
use super::recall::Embedded;
use crate::prepare::tokenize::WordPieces;

/// What a class's name is put into where no templates are given.
const TEMPLATE: &str = "a photo of a {}.";

/// The classes of a dataset and the texts that they are told by.
pub struct Classes {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    templates: Vec<String>,
}

/// Shares of images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Whose class is the nearest.
    pub top1: f64,
    /// Whose class is among the five nearest.
    pub top5: f64,
    /// The mean over classes of their own `top1`; a class without images is left out.
    pub mean_per_class: f64,
    /// Images.
    pub images: usize,
    /// Classes, also those without images.
    pub classes: usize,
}

impl Classes {
    /// Reads class names and templates (with `{}` for the name), one a line; without templates
    /// there is one, `a photo of a {}.`.
    ///
    /// # Errors
    /// If a file cannot be read or is empty, a class is there twice, or a template has no `{}`.
    pub fn read(names: &Path, templates: Option<&Path>) -> Result<Self> {
        let names = lines(names).context("--classes")?;
        let templates = match templates {
            Some(path) => lines(path).context("--templates")?,
            None => vec![TEMPLATE.to_owned()],
        };
        for template in &templates {
            ensure!(template.contains("{}"), "--templates: `{template}` has no {{}} for the class's name");
        }
        let mut numbers = HashMap::new();
        for (number, name) in names.iter().enumerate() {
            let before = numbers.insert(name.clone(), number);
            ensure!(before.is_none(), "--classes: `{name}` is there twice");
        }
        Ok(Self { names, numbers, templates })
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no class; [`Classes::read`] gives none such.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The class of an image by `column` of its meta: a class's name, or a number from 0.
    ///
    /// # Errors
    /// If there is no such column, or what it holds is no class.
    fn of(&self, meta: Option<&str>, column: &str) -> Result<usize> {
        let meta: Value =
            meta.map_or(Ok(Value::Null), serde_json::from_str).context("its meta is no JSON")?;
        let label = match meta.get(column) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => bail!(
                "its meta has no `{column}`; prepare the data with --keep-columns {column}, or name another --label-column"
            ),
        };
        let number = label.parse().ok().filter(|number| *number < self.len());
        let found = self.numbers.get(&label).copied().or(number);
        found.with_context(|| format!("its `{column}` is `{label}`, none of the {} classes", self.len()))
    }

    /// A unit embedding a class, `[classes, dim]`: the mean over the templates' unit embeddings, brought
    /// to length 1.
    ///
    /// # Errors
    /// If the tokenizer or the model fails on a text.
    pub fn embed(&self, encoder: &Encoder, tokenizer: &WordPieces) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for name in &self.names {
            let texts = self.templates.iter().map(|template| tokenizer.encode(&template.replace("{}", name)));
            let texts = texts.collect::<Result<Vec<_>>>()?;
            let ids: Vec<&[i32]> = texts.iter().map(|ids| &*ids.0).collect();
            all.extend(unit_mean(&encoder.texts(&ids)?, self.templates.len()));
        }
        Ok(all)
    }
}

/// The unit vector along the sum of `count` rows.
fn unit_mean(rows: &[f32], count: usize) -> Vec<f32> {
    let mut sum = vec![0.0f64; rows.len() / count];
    for row in rows.chunks_exact(sum.len().max(1)) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-12);
    sum.into_iter().map(|value| (value / length) as f32).collect()
}

/// Counts images by class as a split goes by.
pub struct Tally<'a> {
    classes: &'a Classes,
    /// `[classes, dim]`
    embeddings: Vec<f32>,
    column: &'a str,
    top1: Vec<u64>,
    images: Vec<u64>,
    top5: u64,
}

impl<'a> Tally<'a> {
    /// Nothing counted yet. `embeddings` are [`Classes::embed`]'s; `column` of an image's meta says its
    /// class.
    pub fn new(classes: &'a Classes, embeddings: Vec<f32>, column: &'a str) -> Self {
        let zeros = || vec![0; classes.len()];
        Self { classes, embeddings, column, top1: zeros(), images: zeros(), top5: 0 }
    }

    /// Counts some of the split's images. Ties count against us.
    ///
    /// # Errors
    /// If an image's class is not known.
    pub fn add(&mut self, part: &Split) -> Result<()> {
        let label = |(key, meta): (&String, &Option<String>)| {
            self.classes.of(meta.as_deref(), self.column).with_context(|| format!("image {key}"))
        };
        let labels = part.keys.iter().zip(&part.metas).map(label).collect::<Result<Vec<_>>>()?;
        // An image looks for its class as a caption looks for its image.
        let looking = Embedded {
            dim: part.embedded.dim,
            images: self.embeddings.clone(),
            captions: part.embedded.images.clone(),
            owners: labels,
            bad_samples: 0,
        };
        for (&label, rank) in looking.owners.iter().zip(looking.text_ranks()) {
            self.images[label] += 1;
            self.top1[label] += u64::from(rank == 1);
            self.top5 += u64::from(rank <= 5);
        }
        Ok(())
    }

    /// The shares.
    pub fn accuracy(&self) -> Accuracy {
        let images: u64 = self.images.iter().sum();
        let share = |right: u64, of: u64| right as f64 / of.max(1) as f64;
        let seen = || self.top1.iter().zip(&self.images).filter(|(_, images)| **images > 0);
        Accuracy {
            top1: share(self.top1.iter().sum(), images),
            top5: share(self.top5, images),
            mean_per_class: seen().map(|(&right, &of)| share(right, of)).sum::<f64>()
                / seen().count().max(1) as f64,
            images: images as usize,
            classes: self.classes.len(),
        }
    }
}

/// The lines of a file that are not empty.
fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    ensure!(!lines.is_empty(), "{} has no line", path.display());
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &str, templates: Option<&str>) -> Result<Classes> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let templates = templates.map(|text| write("templates.txt", text));
        Classes::read(&write("classes.txt", names), templates.as_deref())
    }

    #[track_caller]
    fn check_refused(found: Result<Classes>, message: &str) {
        assert_eq!(format!("{:#}", found.err().unwrap()), message);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        check_refused(classes("cat\ndog\n\ncat", None), "--classes: `cat` is there twice");
        check_refused(
            classes("cat", Some("a photo of a {}\na drawing")),
            "--templates: `a drawing` has no {} for the class's name",
        );
        assert_eq!(classes("cat\n", None).unwrap().templates, ["a photo of a {}."]);
    }

    #[test]
    fn a_label_is_a_name_or_else_a_number() {
        let classes = classes("cat\ndog\n0\n", None).unwrap();
        let of = |meta: &str| classes.of(Some(meta), "label").map_err(|error| error.to_string());
        assert_eq!(of(r#"{"label":"dog"}"#), Ok(1));
        assert_eq!((of(r#"{"label":1}"#), of(r#"{"label":"1"}"#)), (Ok(1), Ok(1)));
        assert_eq!(of(r#"{"label":"0"}"#), Ok(2));
        assert_eq!(of(r#"{"label":"cow"}"#), Err("its `label` is `cow`, none of the 3 classes".into()));
        assert_eq!(of(r#"{"label":3}"#), Err("its `label` is `3`, none of the 3 classes".into()));
        let missing = "its meta has no `label`; prepare the data with --keep-columns label, or name another --label-column";
        assert_eq!(
            (of("{}"), classes.of(None, "label").unwrap_err().to_string()),
            (Err(missing.into()), missing.into())
        );
    }

    #[test]
    fn a_class_stands_where_the_mean_of_its_texts_points() {
        assert_eq!(unit_mean(&[1.0, 0.0, 0.0, 1.0], 2), [0.5f32.sqrt(), 0.5f32.sqrt()]);
    }

    #[test]
    fn shares_are_over_images_and_over_classes() {
        let classes = classes("a\nb\nc\nd\ne\nf\n", None).unwrap();
        let axis = |at: usize, sign: f32| (0..6).map(move |i| if i == at { sign } else { 0.0 });
        let embeddings: Vec<f32> = (0..6).flat_map(|at| axis(at, 1.0)).collect();
        let mut tally = Tally::new(&classes, embeddings, "label");
        // Three images of `a`: two right, one that is farthest from its class; one of `b`, right.
        let images: Vec<f32> =
            axis(0, 1.0).chain(axis(0, 1.0)).chain(axis(0, -1.0)).chain(axis(1, 1.0)).collect();
        let meta = |label: &str| Some(format!("{{\"label\":\"{label}\"}}"));
        let part = Split {
            keys: ["1", "2", "3", "4"].map(str::to_owned).to_vec(),
            metas: ["a", "a", "a", "b"].map(meta).to_vec(),
            embedded: Embedded { dim: 6, images, ..Embedded::default() },
            ..Split::default()
        };
        tally.add(&part).unwrap();
        let expected = Accuracy {
            top1: 0.75,
            top5: 0.75,
            mean_per_class: (2.0 / 3.0 + 1.0) / 2.0,
            images: 4,
            classes: 6,
        };
        assert_eq!(tally.accuracy(), expected);
    }
}
