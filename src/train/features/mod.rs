//! A frozen tower is computed once: its features of each view of a picture, or of each caption, are
//! kept in `RUN/features` on first use, and the loader leaves out pictures whose features are there.
//!
//! ```text
//! Batch ─▶ Tower::rows ─┬─ kept ──▶ Store (a file) ─┬─▶ [B, width]
//!            ▲          └─ new ───▶ chunks ─▶ model ─┘       │
//!            └── Shelf ◀── the loader asks which pictures it can leave out
//! ```
//!
//! What a row gives is a function of the tower's weights and the row alone, to the last bit, so it
//! does not matter when, by which process and beside which rows it was computed.

mod chunks;
mod key;
mod room;
mod store;
mod table;
mod tower;

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use tch::{Device, Tensor, nn};

use self::table::Item;
use self::tower::Tower;
use super::config::Config;
use super::stages::{Part, Plan, Span};
use crate::load::{Batch, Batcher, Picture};

/// Rows of a pass through a tower. On a CPU a pass of this many is as fast a row as a longer one;
/// a GPU wants more at once.
const AT_A_TIME: usize = 16;
const AT_A_TIME_ON_CUDA: usize = 64;

/// The folder in a run's.
const FOLDER: &str = "features";

/// The kept features of both towers.
#[derive(Default)]
pub struct Features {
    image: Option<Tower>,
    text: Option<Tower>,
    keys: key::Keys,
    at_a_time: usize,
    max_tokens: usize,
    /// Views whose captions may differ.
    caption_views: u32,
    /// Of the step at hand.
    cached: Cached,
    /// Of the stage at hand, by this process.
    saved: Saved,
}

/// How many of a step's features were kept ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cached {
    /// Pictures.
    pub images: usize,
    /// Captions.
    pub texts: usize,
}

/// What a stage did not have to do.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    pictures: usize,
    kept: Cached,
    all: Cached,
}

impl Features {
    /// What can be kept of a run that follows `plan`: of each tower in the steps that it is frozen
    /// in, where some of its items come more than once in them.
    pub fn new(
        run: &Path,
        config: &Config,
        plan: &Plan,
        names: &[String],
        batcher: &Batcher,
        device: Device,
    ) -> Self {
        let data = &config.data;
        if !data.cache_features {
            return Self::default();
        }
        let (pairs, steps, folder) = (batcher.pairs(), batcher.order().steps(), run.join(FOLDER));
        let tower = |name, part, items, again| {
            let frozen = frozen(plan, part, names, steps, again);
            (!frozen.is_empty()).then(|| Tower::new(name, &folder, items, frozen))
        };
        let varies = data.random_crop || data.flip > 0.0 || data.jitter != [0.0; 4];
        let again = u64::from(pairs.fewest_views());
        Self {
            image: tower("image", Part::Image, pairs.pictures(), again).filter(|_| !varies),
            text: tower("text", Part::Text, pairs.captions() * u64::from(pairs.caption_views()), 1),
            keys: key::Keys::new(config, pairs.fingerprints(), batcher.max_tokens(), device),
            at_a_time: if device.is_cuda() { AT_A_TIME_ON_CUDA } else { AT_A_TIME }.min(data.batch),
            max_tokens: batcher.max_tokens(),
            caption_views: pairs.caption_views(),
            cached: Cached::default(),
            saved: Saved::default(),
        }
    }

    /// Tells the loader to leave out pictures whose features are kept.
    pub fn sparing(&self, batcher: Batcher) -> Batcher {
        let Some(image) = &self.image else { return batcher };
        let (shelf, steps) = (image.shelf(), batcher.order().steps());
        batcher.sparing(move |picture: Picture| {
            let item = Item { row: picture.row, variant: picture.view };
            tower::read(&shelf).serves(picture.epoch * steps + picture.step, item)
        })
    }

    /// Goes on to a step, the model being as that step will find it.
    pub fn enter(&mut self, step: u64, model: &nn::VarStore) {
        if let Some(image) = &mut self.image {
            image.enter(step, || self.keys.image(model));
        }
        if let Some(text) = &mut self.text {
            text.enter(step, || self.keys.text(model));
        }
    }

    /// `[B, width]` of the batch's pictures, those that are bad 0, on the CPU; nothing where the
    /// image tower trains. `forward` gives features `[n, width]` of pictures `[n, side, side, 3]`.
    ///
    /// # Errors
    /// If kept features cannot be read.
    pub fn of_images(&mut self, batch: &Batch, forward: impl Fn(&[u8]) -> Tensor) -> Result<Option<Tensor>> {
        let Some(tower) = self.image.as_mut().filter(|tower| tower.is_frozen()) else { return Ok(None) };
        let items = batch.numbers.iter().zip(&batch.views);
        let items: Vec<Item> = items.map(|(&row, &variant)| Item { row, variant }).collect();
        let size = batch.side * batch.side * 3;
        let rows = tower.rows(
            &items,
            |row| batch.bad.iter().all(|(bad, _)| *bad != row),
            |rows| chunks::pictures(&batch.images, size, rows, self.at_a_time, forward),
        )?;
        self.cached.images = rows.kept;
        self.saved.pictures += batch.rows() - batch.bad.len() - batch.cuts.iter().flatten().count();
        Ok(Some(rows.features))
    }

    /// `[texts, width]` of the batch's texts, on the CPU; nothing where the text tower trains.
    /// `forward` gives features `[n, width]` of ids `[n, length]`, the numbers of those that are no
    /// padding, and `length`.
    ///
    /// # Errors
    /// If kept features cannot be read.
    pub fn of_texts(
        &mut self,
        batch: &Batch,
        forward: impl Fn(&[i32], &[i32], usize) -> Tensor,
    ) -> Result<Option<Tensor>> {
        let Some(tower) = self.text.as_mut().filter(|tower| tower.is_frozen()) else { return Ok(None) };
        let item = |(text, &caption): (usize, &u32)| {
            let row = text / batch.captions_per_image();
            let variant = caption * self.caption_views + batch.views[row] % self.caption_views;
            Item { row: batch.numbers[row], variant }
        };
        let items: Vec<Item> = batch.captions.iter().enumerate().map(item).collect();
        let shape = (self.at_a_time, self.max_tokens);
        let rows = tower.rows(&items, |_| true, |texts| chunks::texts(batch, texts, shape, forward))?;
        self.cached.texts = rows.kept;
        Ok(Some(rows.features))
    }

    /// Ends a step: how many of its features were kept ones, and what there is to say.
    pub fn end_step(&mut self, step: u64, span: &Span, batch: &Batch) -> (Cached, Vec<String>) {
        let cached = std::mem::take(&mut self.cached);
        let mut notes: Vec<String> =
            [&mut self.image, &mut self.text].into_iter().flatten().flat_map(Tower::take_notes).collect();
        let saved = &mut self.saved;
        saved.all.images += batch.rows();
        saved.all.texts += batch.captions.len();
        saved.kept.images += cached.images;
        saved.kept.texts += cached.texts;
        if step + 1 == span.end {
            notes.extend(std::mem::take(&mut self.saved).line(&span.name));
        }
        (cached, notes)
    }

    /// After `done` steps, of which there is a checkpoint.
    pub fn checkpoint(&mut self, done: u64) {
        [&mut self.image, &mut self.text].into_iter().flatten().for_each(|tower| tower.checkpoint(done));
    }
}

impl Saved {
    /// What a stage is told to have saved; nothing where it saved nothing.
    fn line(self, stage: &str) -> Option<String> {
        let Self { pictures, kept, all } = self;
        (kept != Cached::default()).then(|| {
            format!(
                "stage `{stage}`: {pictures} of {} pictures were not decoded; {} of {} images and {} of {} texts \
                 did not pass their tower",
                all.images, kept.images, all.images, kept.texts, all.texts
            )
        })
    }
}

/// The stretches of steps in which no parameter of a part trains and which reach from one epoch into
/// the one that comes `again` epochs later: in shorter ones nothing comes twice.
fn frozen(plan: &Plan, part: Part, names: &[String], steps_per_epoch: u64, again: u64) -> Vec<Range<u64>> {
    let mut stretches: Vec<Range<u64>> = Vec::new();
    for span in plan.spans() {
        if names.iter().any(|name| Part::of(name) == part && span.trains(name)) {
            continue;
        }
        match stretches.last_mut().filter(|last| last.end == span.begin) {
            Some(last) => last.end = span.end,
            None => stretches.push(span.begin..span.end),
        }
    }
    let epoch = |step: u64| step / steps_per_epoch;
    stretches.retain(|steps| epoch(steps.end - 1) - epoch(steps.start) >= again);
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::{Rates, Stage};

    const NAMES: [&str; 4] = [
        "image.conv1.weight",
        "image.layer4.0.bn1.running_mean",
        "text.encoder.weight",
        "text_projection.weight",
    ];

    /// Where a part is frozen in stages of (epochs, what trains) of 10 steps each.
    fn stretches(stages: &[(u64, &[&str])], part: Part, again: u64) -> Vec<Range<u64>> {
        let stage = |(epochs, train): &(u64, &[&str])| Stage {
            epochs: Some(*epochs),
            train: train.iter().map(|&prefix| prefix.to_owned()).collect(),
            ..Stage::default()
        };
        let stages: Vec<Stage> = stages.iter().map(stage).collect();
        let names = NAMES.map(str::to_owned);
        let plan = Plan::new(&stages, &Rates::default(), 10, None).unwrap();
        frozen(&plan, part, &names, 10, again)
    }

    #[test]
    fn stages_that_leave_a_tower_alone_make_one_stretch() {
        let stages: &[(u64, &[&str])] =
            &[(1, &["projection"]), (2, &["text"]), (1, &["image.conv1"]), (3, &["projection"])];
        assert_eq!(stretches(stages, Part::Image, 1), [0..30, 40..70]);
        assert_eq!(stretches(stages, Part::Text, 1), vec![30..70; 1]);
        assert_eq!(stretches(&[(5, &["image", "text"])], Part::Image, 1), []);
    }

    #[test]
    fn a_stretch_in_which_nothing_comes_twice_is_passed_over() {
        let stages: &[(u64, &[&str])] = &[(2, &["text"]), (1, &["image"]), (3, &["text"])];
        assert_eq!(stretches(stages, Part::Image, 1), [0..20, 30..60]);
        assert_eq!(stretches(stages, Part::Image, 2), vec![30..60; 1]);
        assert_eq!(stretches(stages, Part::Image, 3), []);
    }

    #[test]
    fn a_stage_says_what_it_saved_unless_it_saved_nothing() {
        let all = Cached { images: 50, texts: 100 };
        let saved = Saved { pictures: 20, kept: Cached { images: 30, texts: 0 }, all };
        let line = "stage `a`: 20 of 50 pictures were not decoded; 30 of 50 images and 0 of 100 texts did not \
                    pass their tower";
        assert_eq!(saved.line("a").unwrap(), line);
        assert_eq!(Saved { pictures: 0, kept: Cached::default(), all }.line("a"), None);
    }
}
