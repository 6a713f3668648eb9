//! `clip evaluate`

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{Common, Of};
use crate::files::write_whole;
use crate::progress::Progress;
use crate::shard::Dataset;
use crate::show::run as run_page;
use crate::train::embed::{Encoder, Split, first_five};
use crate::train::recall::{Direction, Recalls};
use crate::train::trained::Trained;
use crate::train::zero_shot::{Accuracy, Classes, Tally};

/// Recall@1, 5, 10 and median rank of a split, text → image and image → text
///
/// The protocol of COCO and Flickr30k: clean view, centre crop, the first five original captions of an image; ties
/// count against us. It takes 2 kB an image and 2 kB a caption of memory at 512 dimensions, 61 MB for COCO's 5,000.
///
/// With --classes also zero-shot classification: a class is the mean of its name's embeddings in all templates, and an
/// image is of the nearest one. What is right stands in the images' kept columns (prepare --keep-columns label).
///
/// Example: clip evaluate --run run --data shards --split test --folds 5 --json
///
/// Example: clip evaluate --run run --data shards --classes classes.txt --templates templates.txt
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    of: Of,

    /// Average over so many consecutive equal parts (5 on COCO's 5,000 test images is the 1K protocol)
    #[arg(long, value_name = "N", default_value_t = 1)]
    folds: usize,

    /// Class names, one a line
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,

    /// Texts with {} for a class's name, one a line [default: "a photo of a {}."]
    #[arg(long, value_name = "FILE", requires = "classes")]
    templates: Option<PathBuf>,

    /// The kept column that says an image's class, by name or by number from 0
    #[arg(long, value_name = "NAME", default_value = "label", requires = "classes")]
    label_column: String,

    /// The vocabulary of a run whose shards were made with another than the bundled one (tokenizer.json or vocab.txt);
    /// class names need it
    #[arg(long, value_name = "FILE", requires = "classes")]
    tokenizer: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Also write a page: the run's curves, these figures, sample retrievals with pictures
    #[arg(long, value_name = "PAGE.html")]
    html: Option<PathBuf>,
}

/// What is printed.
#[derive(Serialize)]
struct Figures {
    #[serde(flatten)]
    recalls: Recalls,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_shot: Option<Accuracy>,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        ensure!(self.folds > 0, "--folds is 0; it is a number of parts");
        let classes = self.classes.as_ref().map(|names| Classes::read(names, self.templates.as_deref()));
        let classes = classes.transpose()?;
        let trained = self.common.open()?;
        let (dataset, progress) = self.common.dataset(&trained, &self.of)?;
        let mut tally = classes.as_ref().map(|classes| self.tally(&trained, classes)).transpose()?;
        let found = self.embed(&trained, &dataset, &progress, tally.as_mut())?;
        progress.finish();
        let images = found.embedded.len();
        ensure!(self.folds <= images, "--folds is {}, the split has {images} images", self.folds);
        if images % self.folds > 0 {
            eprintln!(
                "the last {} of {images} images are in no fold: --folds {} takes equal parts",
                images % self.folds,
                self.folds
            );
        }
        let recalls = found.embedded.recalls(self.folds);
        if let Some(out) = &self.html {
            let page = run_page::page(&trained, &dataset, &self.of.split, &found, &recalls)?;
            write_whole(out, page.as_bytes()).context("--html")?;
        }
        let figures = Figures { recalls, zero_shot: tally.map(|tally| tally.accuracy()) };
        match self.json {
            true => println!("{}", serde_json::to_string(&figures)?),
            false => print(&figures, &self.of.split),
        }
        Ok(())
    }

    fn tally<'a>(&'a self, trained: &Trained, classes: &'a Classes) -> Result<Tally<'a>> {
        let tokenizer = trained.tokenizer(self.tokenizer.as_deref())?;
        let embeddings = classes.embed(&Encoder::of(trained), &tokenizer)?;
        Ok(Tally::new(classes, embeddings, &self.label_column))
    }

    /// The split's embeddings; keys and texts only for the page, which shows some.
    fn embed(
        &self,
        trained: &Trained,
        dataset: &Dataset,
        progress: &Progress,
        mut tally: Option<&mut Tally>,
    ) -> Result<Split> {
        let mut found = Split::default();
        Encoder::of(trained).each(dataset, &self.of.split, first_five, |part| {
            progress.add(part.keys.len() as u64, String::new);
            if let Some(tally) = &mut tally {
                tally.add(&part)?;
            }
            found.embedded.append(&part.embedded);
            if self.html.is_some() {
                found.keys.extend(part.keys);
                found.texts.extend(part.texts);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

fn print(figures: &Figures, split: &str) {
    let recalls = &figures.recalls;
    println!("{split}: {} images, {} captions", recalls.images, recalls.captions);
    let line = |name: &str, of: &Direction| {
        let [one, five, ten] = [of.recall_1, of.recall_5, of.recall_10].map(|share| 100.0 * share);
        println!("{name}  R@1 {one:5.1}%  R@5 {five:5.1}%  R@10 {ten:5.1}%  median rank {}", of.median_rank);
    };
    line("text → image", &recalls.text_to_image);
    line("image → text", &recalls.image_to_text);
    if let Some(found) = &figures.zero_shot {
        let [one, five, mean] = [found.top1, found.top5, found.mean_per_class].map(|share| 100.0 * share);
        println!(
            "{} classes  top-1 {one:5.1}%  top-5 {five:5.1}%  mean over classes {mean:5.1}%",
            found.classes
        );
    }
}
