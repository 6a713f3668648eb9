//! The order contract: an epoch is one pass, the same for any world and any workers, and no table.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use pairmill::load::order::rank_range;
use pairmill::load::{
    Batcher, CaptionWeights, Cursor, Order, OrderSpec, Padding, Pairs, Shape, Shuffle, start,
};
use pairmill::shard::{Dataset, Pixels};
use proptest::prelude::*;

use crate::dataset::{Recipe, SMALL};
use crate::shards::listed;

const MANY: u64 = 5_000_000_000;

fn spec(shuffle: Shuffle, batch: usize) -> OrderSpec {
    OrderSpec {
        fingerprints: vec!["of a dataset".into()],
        split: "train".into(),
        seed: 17,
        batch,
        shuffle,
        weights: CaptionWeights::default(),
        captions_per_image: 1,
        drop_last: false,
        excluded: Vec::new(),
    }
}

fn window(rows: u64) -> Shuffle {
    Shuffle::Window(NonZeroU64::new(rows).unwrap())
}

fn any_shuffle() -> impl Strategy<Value = String> {
    let window = (1u64..60).prop_map(|rows| format!("window:{rows}"));
    prop_oneof![Just("full".to_owned()), Just("none".to_owned()), window]
}

/// Uneven shards, none of them a round number.
fn many_shards() -> Vec<u64> {
    let mut shards: Vec<u64> = (0..1_200_000).map(|shard| 4000 + shard % 333).collect();
    let sum: u64 = shards.iter().sum();
    shards.push(MANY - sum);
    shards
}

#[track_caller]
fn check_far_places(shuffle: Shuffle, shards: &[u64]) {
    let order = Order::new(spec(shuffle, 256), shards).unwrap();
    assert_eq!((order.rows(), order.steps()), (MANY, MANY.div_ceil(256)));
    let steps = [0, 1, 1 << 20, MANY / 512, order.steps() - 2, order.steps() - 1];
    for epoch in [0, 1_000_000] {
        order.batch(epoch, 0).for_each(drop); // lays out the shards
        let began = Instant::now();
        let rows: Vec<u64> = steps.iter().flat_map(|&step| order.batch(epoch, step)).collect();
        let taken = began.elapsed();
        assert_eq!(rows.len(), 6 * 256);
        assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len(), "a row came twice");
        assert!(rows.iter().all(|&row| row < MANY) && rows.iter().any(|&row| row > MANY / 2));
        assert!(taken.as_millis() < 100, "six steps took {taken:?}: is there a table?");
        assert_eq!(order.batch(epoch, 1 << 20).next(), Some(order.row_at(epoch, 256 << 20)));
    }
}

#[test]
fn five_thousand_million_rows_are_ordered_without_a_table() {
    check_far_places(Shuffle::Full, &[MANY]);
    check_far_places(window(1_000_000), &many_shards());
    check_far_places(window(MANY * 2), &[MANY]);
}

proptest! {
    #[test]
    fn an_epoch_is_one_pass_over_the_kept_rows_of_all_shards(
        shards in prop::collection::vec(0u64..40, 1..12),
        flags in prop::collection::vec(prop::bool::weighted(0.15), 480),
        shuffle in any_shuffle(), seed: u64, epoch in 0u64..50, batch in 1usize..60, drop_last: bool
    ) {
        let (excluded, kept): (Vec<u64>, Vec<u64>) =
            (0..shards.iter().sum::<u64>()).partition(|&row| flags[row as usize]);
        prop_assume!(kept.len() >= if drop_last { batch } else { 1 });
        let spec = OrderSpec { seed, drop_last, excluded, ..spec(shuffle.parse().unwrap(), batch) };
        let order = Order::new(spec, &shards).unwrap();
        let rows: Vec<u64> = (0..order.steps()).flat_map(|step| order.batch(epoch, step)).collect();
        prop_assert_eq!(rows.len(), if drop_last { kept.len() / batch * batch } else { kept.len() });
        let by_position: Vec<u64> = (0..kept.len() as u64).map(|at| order.row_at(epoch, at)).collect();
        prop_assert_eq!(&rows, &by_position[..rows.len()]);
        let mut sorted = by_position;
        sorted.sort_unstable();
        prop_assert_eq!(sorted, kept);
    }

    #[test]
    fn the_ranks_of_any_world_share_each_step_evenly(
        rows in 1u64..300, batch in 1usize..70, world in 1usize..20, shuffle in any_shuffle(), seed: u64
    ) {
        let spec = OrderSpec { seed, ..spec(shuffle.parse().unwrap(), batch) };
        let order = Order::new(spec, &[rows / 3, rows - rows / 3]).unwrap();
        for step in 0..order.steps() {
            let all: Vec<u64> = order.batch(1, step).collect();
            for world in [1, 2, 4, 8, world] {
                let parts = (0..world).map(|rank| &all[rank_range(all.len(), rank, world)]);
                let parts: Vec<&[u64]> = parts.collect();
                prop_assert_eq!(parts.concat(), all.clone());
                let sizes = || parts.iter().map(|part| part.len());
                prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn a_cursor_names_a_place_and_a_place_a_cursor(steps in 1u64..1 << 40, place in 0u64..1 << 60) {
        let cursor = Cursor::at(place, steps);
        prop_assert!(cursor.step < steps);
        prop_assert_eq!(cursor.place(steps), place);
        prop_assert_eq!(Cursor::at(cursor.place(steps), steps), cursor);
    }
}

/// Epoch, step, and the key, view and caption of each row.
type Step = (u64, u64, Vec<(String, u32, u32)>);

/// Datasets on disk and what is made of them.
struct Run {
    folders: Vec<tempfile::TempDir>,
    datasets: Vec<Dataset>,
    spec: OrderSpec,
}

impl Run {
    /// A dataset for each list of shards.
    fn write(shards: &[Vec<usize>], views: u32, spec: OrderSpec) -> Self {
        let folders: Vec<_> = shards.iter().map(|_| tempfile::tempdir().unwrap()).collect();
        let write = |(at, shards): (usize, &Vec<usize>)| {
            let splits = [("train", shards.as_slice())];
            let pixels = Pixels::Raw { side: 2 };
            let recipe = Recipe { splits: &splits, views, pixels, first_key: at * 100, ..SMALL };
            recipe.write(folders[at].path())
        };
        let datasets: Vec<Dataset> = shards.iter().enumerate().map(write).collect();
        let fingerprints = datasets.iter().map(|data| data.fingerprint().to_owned()).collect();
        Self { folders, datasets, spec: OrderSpec { fingerprints, ..spec } }
    }

    fn batcher(&self) -> Batcher {
        let pairs = Arc::new(Pairs::open(&self.datasets, "train").unwrap());
        let order = Order::new(self.spec.clone(), &pairs.shard_rows()).unwrap();
        Batcher::new(
            pairs,
            order,
            Shape { crop: None, random_crop: false, max_tokens: 64, padding: Padding::Longest },
        )
        .unwrap()
    }

    fn steps(&self) -> u64 {
        self.batcher().order().steps()
    }

    fn delivered(&self, from: u64, epochs: u64, workers: usize) -> Vec<Step> {
        let cursor = Cursor::at(from, self.steps());
        let batches = start(self.batcher(), cursor, epochs, workers, workers + 1);
        let step = |batch: pairmill::load::Batch| {
            let shown = batch.keys.iter().zip(&batch.views).zip(&batch.captions);
            let shown = shown.map(|((key, &view), &caption)| (key.to_owned(), view, caption)).collect();
            (batch.epoch, batch.step, shown)
        };
        batches.map(|batch| step(batch.unwrap())).collect()
    }

    /// What `shards order` prints of an epoch, and the ranks that it names.
    fn listed(&self, shuffle: &str, epoch: u64, world: usize) -> (Vec<Step>, Vec<String>) {
        let OrderSpec { seed, batch, drop_last, .. } = self.spec;
        let last = if drop_last { "--drop-last" } else { "" };
        let exclude = self.folders[0].path().join("exclude.txt");
        std::fs::write(&exclude, self.excluded().join("\n")).unwrap();
        let flags = format!(
            "--batch {batch} --seed {seed} --epoch {epoch} --world {world} --shuffle {shuffle} {last} --exclude {}",
            exclude.display()
        );
        let folders: Vec<&Path> = self.folders.iter().map(|folder| folder.path()).collect();
        let (mut steps, mut ranks) = (BTreeMap::<u64, Vec<_>>::new(), Vec::new());
        for line in listed(&flags, &folders) {
            let number = |at: usize| line[at].parse::<u64>().unwrap();
            let shown = (line[2].clone(), number(3) as u32, number(4) as u32);
            steps.entry(number(0)).or_default().push(shown);
            ranks.push(line[1].clone());
        }
        (steps.into_iter().map(|(step, shown)| (epoch, step, shown)).collect(), ranks)
    }

    fn keys(&self) -> Vec<String> {
        let pairs = Pairs::open(&self.datasets, "train").unwrap();
        (0..pairs.rows()).map(|row| pairs.row(row).unwrap().key().to_owned()).collect()
    }

    fn excluded(&self) -> Vec<String> {
        let keys = self.keys();
        self.spec.excluded.iter().map(|&row| keys[row as usize].clone()).collect()
    }
}

/// All captions of a key of the recipe: it has 1 to 4 of them.
fn captions(key: &str) -> u64 {
    1 + key.parse::<u64>().unwrap() % 4
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]
    #[test]
    fn the_loader_keeps_the_contract_on_any_data(
        shards in prop::collection::vec(prop::collection::vec(0usize..6, 1..4), 1..4),
        flags in prop::collection::vec(prop::bool::weighted(0.1), 60),
        views in 1u32..5, shuffle in any_shuffle(), seed: u64, batch in 1usize..12,
        workers in 2usize..5, from: prop::sample::Index, drop_last: bool, epoch in 0u64..12
    ) {
        let rows = shards.iter().flatten().sum::<usize>() as u64;
        let excluded: Vec<u64> = (0..rows).filter(|&row| flags[row as usize]).collect();
        prop_assume!(rows as usize - excluded.len() >= batch);
        let spec = OrderSpec { seed, drop_last, excluded, ..spec(shuffle.parse().unwrap(), batch) };
        let run = Run::write(&shards, views, spec);
        // 12 epochs: every view of up to 4 and every caption of up to 4, whole rounds of each.
        let all = run.delivered(0, 12, 1);
        let steps = run.steps();
        prop_assert_eq!(all.len() as u64, 12 * steps);
        let from = from.index(all.len() + 1);
        prop_assert_eq!(&run.delivered(from as u64, 12, workers), &all[from..], "resumed at {}", from);
        let of_epoch = &all[(epoch * steps) as usize..][..steps as usize];
        for world in [1, 2, 4, 8] {
            let (listed, ranks) = run.listed(&shuffle, epoch, world);
            prop_assert_eq!(&listed[..], of_epoch, "a world of {}", world);
            let sizes = of_epoch.iter().map(|(_, _, rows)| rows.len());
            let expected = sizes.flat_map(|rows| {
                (0..world).flat_map(move |rank| rank_range(rows, rank, world).map(move |_| rank.to_string()))
            });
            prop_assert!(ranks.into_iter().eq(expected));
        }
        let excluded = run.excluded();
        let mut kept = run.keys();
        kept.retain(|key| !excluded.contains(key));
        for epoch in all.chunks(steps as usize) {
            let mut keys: Vec<&String> = epoch.iter().flat_map(|step| &step.2).map(|shown| &shown.0).collect();
            keys.sort_unstable();
            prop_assert!(keys.is_sorted_by(|a, b| a < b), "a key came twice");
            prop_assert!(keys.iter().all(|key| kept.contains(key)));
            prop_assert!(drop_last || keys.len() == kept.len());
        }
        if !drop_last {
            check_rounds(&all, views);
        }
    }
}

/// K epochs show a key in every view, and n with each of its captions once.
fn check_rounds(all: &[Step], views: u32) {
    let mut seen = BTreeMap::<(&str, &str, u64), Vec<u32>>::new();
    for (epoch, _, rows) in all {
        for (key, view, caption) in rows {
            seen.entry((key, "view", epoch / u64::from(views))).or_default().push(*view);
            seen.entry((key, "caption", epoch / captions(key))).or_default().push(*caption);
        }
    }
    for ((key, what, round), mut shown) in seen {
        shown.sort_unstable();
        let count = if what == "view" { views } else { captions(key) as u32 };
        assert!(shown.iter().copied().eq(0..count), "round {round} of {key}: the {what}s {shown:?}");
    }
}
