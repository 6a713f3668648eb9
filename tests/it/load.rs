//! The loader: what it delivers is what the order says and what the ordinary Arrow reader reads.

pub mod damaged;
mod sparing;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use pairmill::decode::decode;
use pairmill::files::sha256_hex;
use pairmill::load::{
    Batch, Batcher, CaptionWeights, Cursor, Order, OrderSpec, Padding, Pairs, Shape, Shuffle, start,
};
use pairmill::sample::{Sample, Stored};
use pairmill::shard::{Dataset, Pixels, ShardReader};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::dataset::{Recipe, SMALL};

fn spec(pairs: &Pairs, batch: usize) -> OrderSpec {
    OrderSpec {
        fingerprints: pairs.fingerprints().to_vec(),
        split: pairs.split().to_owned(),
        seed: 11,
        batch,
        shuffle: Shuffle::Full,
        weights: CaptionWeights::default(),
        captions_per_image: 1,
        drop_last: false,
        excluded: Vec::new(),
    }
}

fn batcher(datasets: &[Dataset], crop: Option<u32>, max_tokens: usize) -> Batcher {
    let pairs = Arc::new(Pairs::open(datasets, "train").unwrap());
    let order = Order::new(spec(&pairs, 5), &pairs.shard_rows()).unwrap();
    Batcher::new(pairs, order, Shape { crop, random_crop: false, max_tokens, padding: Padding::Longest })
        .unwrap()
}

/// Everything of a batch but where its bytes lie.
fn content(batch: &Batch) -> String {
    let Batch { epoch, step, side, tokens, lengths, max_len, keys, views, captions, .. } = batch;
    let pixels = sha256_hex(&batch.images);
    format!("{epoch} {step} {side} {tokens:?} {lengths:?} {max_len} {keys:?} {views:?} {captions:?} {pixels}")
}

/// Every row of a split, by key and view, as the Arrow reader reads it.
fn by_arrow(datasets: &[Dataset], split: &str) -> HashMap<(String, u32), Sample> {
    let entries = datasets.iter().flat_map(|data| data.shards.iter().map(move |entry| (data, entry)));
    let mine = entries.filter(|(_, entry)| entry.split == split);
    mine.flat_map(|(data, entry)| ShardReader::open(&data.root.join(&entry.path)).unwrap().samples().unwrap())
        .map(|sample| sample.unwrap().0)
        .map(|sample| ((sample.key.clone(), sample.view as u32), sample))
        .collect()
}

/// `[crop, crop, 3]` of a sample, pixel by pixel.
fn cropped(sample: &Sample, crop: usize) -> Vec<u8> {
    let side = sample.width as usize;
    let pixels = match &sample.stored {
        Stored::Raw(pixels) => pixels.clone(),
        Stored::Jpeg(bytes) | Stored::Png(bytes) => decode(bytes).unwrap().into_pixels(),
    };
    let margin = (side - crop) / 2;
    let place = |x: usize, y: usize| ((y + margin) * side + x + margin) * 3;
    (0..crop * crop).flat_map(|p| pixels[place(p % crop, p / crop)..][..3].to_vec()).collect()
}

#[track_caller]
fn check_against_arrow(pixels: Pixels, crop: usize, max_tokens: usize) {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Recipe { splits: &[("train", &[4, 6])], views: 3, pixels, first_key: 100, ..SMALL };
    let datasets = [Recipe { pixels, ..SMALL }.write(one.path()), other.write(two.path())];
    let rows = by_arrow(&datasets, "train");
    let batcher = batcher(&datasets, Some(crop as u32), max_tokens);
    let steps = batcher.order().steps();
    let mut delivered = Vec::new();
    for batch in start(batcher, Cursor::default(), 3, 2, 2) {
        let batch = batch.unwrap();
        assert_eq!((batch.side, batch.images.len()), (crop, batch.rows() * crop * crop * 3));
        for (place, key) in batch.keys.iter().enumerate() {
            let sample = &rows[&(key.to_owned(), batch.views[place])];
            let image = &batch.images[place * crop * crop * 3..][..crop * crop * 3];
            assert_eq!(image, cropped(sample, crop), "key {key}");
            let ids = &sample.captions[batch.captions[place] as usize].tokens.0;
            let length = ids.len().min(max_tokens);
            let padded = &batch.tokens[place * batch.max_len..][..batch.max_len];
            assert_eq!(batch.lengths[place] as usize, length);
            assert_eq!((&padded[..length - 1], padded[length - 1]), (&ids[..length - 1], 102), "key {key}");
            assert!(padded[length..].iter().all(|&id| id == 0));
            assert_eq!(batch.sources[place], sample.source_sha256);
        }
        delivered.extend(batch.keys.iter().map(|key| (batch.epoch, key.to_owned())));
    }
    assert_eq!((steps, delivered.len()), (7, 3 * 34));
    assert_eq!(delivered.iter().collect::<BTreeSet<_>>().len(), 3 * 34, "every key once an epoch");
}

#[test]
fn compressed_rows_are_those_of_the_arrow_reader() {
    check_against_arrow(Pixels::Image, 16, 64);
    check_against_arrow(Pixels::Image, 11, 9);
}

#[test]
fn raw_rows_are_those_of_the_arrow_reader() {
    check_against_arrow(Pixels::Raw { side: 16 }, 16, 64);
    check_against_arrow(Pixels::Raw { side: 16 }, 5, 8);
}

#[test]
fn any_number_of_workers_and_any_cursor_give_the_same_batches() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let all = |cursor, workers, depth| -> Vec<String> {
        start(batcher(&data, None, 64), cursor, 2, workers, depth)
            .map(|batch| content(&batch.unwrap()))
            .collect()
    };
    let expected = all(Cursor::default(), 1, 1);
    assert_eq!(expected.len(), 10);
    for workers in 2..5 {
        assert_eq!(all(Cursor::default(), workers, workers), expected);
    }
    for taken in 0..=10 {
        assert_eq!(all(Cursor::at(taken, 5), 2, 3), expected[taken as usize..]);
    }
}

#[test]
fn two_views_show_every_key_in_both_in_two_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let mut seen = HashSet::new();
    for batch in start(batcher(&data, None, 64), Cursor { epoch: 6, step: 0 }, 8, 1, 1) {
        let batch = batch.unwrap();
        seen.extend(batch.keys.iter().map(str::to_owned).zip(batch.views.iter().copied()));
    }
    assert_eq!(seen.len(), 2 * 24);
}

#[test]
fn excluded_keys_never_come() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let pairs = Pairs::open(&data, "train").unwrap();
    let keys = ["000000000003", "000000000020", "of another split"].map(str::to_owned).into();
    assert_eq!(pairs.rows_of(&keys).unwrap(), [3, 20]);
    let spec = OrderSpec { excluded: vec![3, 20], ..spec(&pairs, 5) };
    let order = Order::new(spec, &pairs.shard_rows()).unwrap();
    let shape = Shape { crop: None, random_crop: false, max_tokens: 64, padding: Padding::Longest };
    let batcher = Batcher::new(Arc::new(pairs), order, shape).unwrap();
    let batches = start(batcher, Cursor::default(), 1, 2, 2);
    let came: HashSet<String> =
        batches.flat_map(|batch| batch.unwrap().keys.iter().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(came.is_disjoint(&keys) && came.len() == 22);
}

/// Files under `folder` that this process has open.
#[cfg(target_os = "linux")]
fn open_under(folder: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|file| {
        std::fs::read_link(file.as_ref().unwrap().path()).is_ok_and(|path| path.starts_with(folder))
    })
    .count()
}

#[test]
#[cfg(target_os = "linux")]
fn a_dataset_may_have_more_shards_than_may_be_open() {
    let folder = tempfile::tempdir().unwrap();
    let recipe =
        Recipe { splits: &[("train", &[1; 140])], views: 1, pixels: Pixels::Raw { side: 2 }, ..SMALL };
    let data = [recipe.write(folder.path())];
    let mut batches = start(batcher(&data, None, 64), Cursor::default(), 2, 2, 2);
    let first: usize = batches.by_ref().take(30).map(|batch| batch.unwrap().rows()).sum();
    let open = open_under(folder.path()); // while the loader lives, and after it has read all 140 files
    let rest: usize = batches.map(|batch| batch.unwrap().rows()).sum();
    assert_eq!((first, rest), (150, 130));
    assert!((1..=130).contains(&open), "{open} are open: 128, and one of each thread");
}

/// The rows of a batch of one epoch, however many there are of it.
fn one_epoch(batcher: Batcher) -> Vec<String> {
    start(batcher, Cursor::default(), 1, 2, 2).map(|batch| content(&batch.unwrap())).collect()
}

/// Writes a shard's rows again by the ordinary Arrow writer, with its defaults.
fn rewrite(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema, None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
}

#[test]
fn a_shard_of_another_writer_gives_the_same_batches() {
    for pixels in [Pixels::Image, Pixels::Raw { side: 8 }] {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe { pixels, ..SMALL };
        let mut data = [recipe.write(folder.path())];
        let expected = one_epoch(batcher(&data, Some(6), 64));
        let root = data[0].root.clone();
        for entry in &mut data[0].shards {
            rewrite(&root.join(&entry.path));
            entry.bytes = root.join(&entry.path).metadata().unwrap().len();
        }
        let pairs = Pairs::open(&data, "train").unwrap();
        let notes: Vec<String> = pairs.notes().collect();
        assert!(notes.len() == 1 && notes[0].starts_with(&root.display().to_string()), "{notes:?}");
        assert!(one_epoch(batcher(&data, Some(6), 64)) == expected, "{pixels:?}");
    }
}

#[test]
fn a_random_crop_is_another_each_epoch_and_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { splits: &[("train", &[12])], views: 1, pixels: Pixels::Raw { side: 16 }, ..SMALL };
    let data = [recipe.write(folder.path())];
    let batcher = || {
        let pairs = Arc::new(Pairs::open(&data, "train").unwrap());
        let order = Order::new(OrderSpec { shuffle: Shuffle::None, ..spec(&pairs, 12) }, &pairs.shard_rows())
            .unwrap();
        Batcher::new(
            pairs,
            order,
            Shape { crop: Some(9), random_crop: true, max_tokens: 64, padding: Padding::Longest },
        )
        .unwrap()
    };
    let (once, again) = (batcher(), batcher());
    let images = |epoch| once.batch(epoch, 0).unwrap().images.to_vec();
    assert!(images(0) == again.batch(0, 0).unwrap().images.to_vec() && images(0) != images(1));
}

#[test]
fn a_row_without_a_used_caption_is_an_error_that_names_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let pairs = Arc::new(Pairs::open(&data, "train").unwrap());
    let weights = "synonym=1".parse().unwrap();
    let order =
        Order::new(OrderSpec { weights, shuffle: Shuffle::None, ..spec(&pairs, 5) }, &pairs.shard_rows())
            .unwrap();
    let shape = Shape { crop: None, random_crop: false, max_tokens: 64, padding: Padding::Longest };
    let batcher = Batcher::new(pairs, order, shape).unwrap();
    let error = start(batcher, Cursor::default(), 1, 1, 1).next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "key 000000000000: none of its captions is of a kind that is used");
}

#[test]
fn a_consumer_that_leaves_early_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let mut batches = start(batcher(&data, None, 64), Cursor::default(), u64::MAX, 3, 2);
    let first = batches.next().unwrap().unwrap();
    drop(batches);
    assert_eq!(first.rows(), 5, "a batch outlives its queue");
}

#[test]
fn unlike_datasets_are_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = SMALL.write(one.path());
    let refused = |recipe: Recipe| {
        let second = recipe.write(two.path());
        format!("{:#}", Pairs::open(&[first.clone(), second], "train").err().unwrap())
    };
    let (a, b) = (one.path().display(), two.path().display());
    assert_eq!(
        refused(Recipe { tokenizer: "other", ..SMALL }),
        format!("{a} and {b} were written with different tokenizers; prepare one of them anew")
    );
    assert_eq!(
        refused(Recipe { pixels: Pixels::Raw { side: 8 }, ..SMALL }),
        format!("{b} stores pictures of side 8, the data before it of 16")
    );
}

#[test]
fn a_crop_larger_than_the_pictures_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = Pairs::open(&[SMALL.write(folder.path())], "train").unwrap();
    let error = pairs.in_order(Some(17), 4).err().unwrap().to_string();
    assert_eq!(error, "a crop of 17 pixels is larger than the stored pictures, which have 16");
}

#[test]
fn evaluation_reads_every_row_in_file_order_with_all_its_captions() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let rows = by_arrow(&data, "train");
    let pairs = Pairs::open(&data, "train").unwrap();
    let mut at = 0;
    for batch in pairs.in_order(Some(12), 7).unwrap() {
        let batch = batch.unwrap();
        for (place, key) in batch.keys.iter().enumerate() {
            assert_eq!(*key, format!("{at:012}"));
            let sample = &rows[&(key.clone(), 0)];
            assert_eq!(batch.captions[place], sample.captions);
            assert_eq!(batch.sources[place], sample.source_sha256);
            assert_eq!(batch.images[place * 432..][..432], cropped(sample, 12));
            at += 1;
        }
    }
    assert_eq!(at, 24);
}
