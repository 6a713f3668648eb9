//! Damaged pictures and cut shards: named, and fatal or skipped as the caller wants.

use std::path::PathBuf;

use pairmill::load::{Batch, Cursor, start};
use pairmill::shard::{Dataset, Pixels, ShardEntry, ShardReader};

use super::{batcher, content};
use crate::dataset::{Recipe, SMALL};

/// Flips one byte in the middle of the picture of row 4 of `train/v<view>-00001.parquet`.
pub fn damage_a_picture(data: &Dataset, view: u32) -> PathBuf {
    let path = data.root.join(ShardEntry::path_of("train", view, 1));
    let mut picture = Vec::new();
    ShardReader::open(&path).unwrap().picture(4, &mut picture).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(picture.len()).position(|window| window == picture).unwrap();
    bytes[at + picture.len() / 2] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_damaged_picture_is_named_by_shard_row_and_key_and_ends_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let data = [Recipe { views: 1, ..SMALL }.write(folder.path())];
    let path = damage_a_picture(&data[0], 0);
    let results: Vec<_> = start(batcher(&data, None, 64), Cursor::default(), 1, 3, 3).collect();
    let error = results.last().unwrap().as_ref().unwrap_err();
    let place = format!("row 4 of {}, key 000000000013", path.display());
    assert_eq!(error.to_string(), format!("{place}: the picture does not match its crc32c"));
    assert!(results[..results.len() - 1].iter().all(Result::is_ok));
}

#[test]
fn a_cut_shard_is_an_error_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let path = data[0].root.join("train/v1-00002.parquet");
    std::fs::write(&path, &std::fs::read(&path).unwrap()[..900]).unwrap();
    let error = start(batcher(&data, None, 64), Cursor::default(), 2, 2, 2).find_map(Result::err).unwrap();
    assert!(error.to_string().starts_with(&format!("{} has 900 bytes, not ", path.display())), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = start(batcher(&data, None, 64), Cursor::default(), 2, 2, 2).find_map(Result::err).unwrap();
    assert!(error.to_string().starts_with(&format!("cannot read the shard {}", path.display())), "{error}");
}

#[test]
fn a_shard_that_is_cut_while_it_is_read_is_an_error_that_names_the_row() {
    for pixels in [Pixels::Image, Pixels::Raw { side: 8 }] {
        let folder = tempfile::tempdir().unwrap();
        let data = [Recipe { splits: &[("train", &[9])], views: 1, pixels, ..SMALL }.write(folder.path())];
        let path = data[0].root.join("train/v0-00000.parquet");
        let batcher = batcher(&data, None, 64);
        batcher.batch(0, 0).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(20).unwrap();
        let errors: Vec<String> =
            (0..2).filter_map(|step| batcher.batch(1, step).err()).map(|error| error.to_string()).collect();
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error.contains("v0-00000.parquet")),
            "{errors:?}"
        );
    }
}

#[test]
fn a_row_that_is_skipped_is_named_and_black_and_the_others_are_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let data = [Recipe { views: 1, ..SMALL }.write(folder.path())];
    let batches = |batcher| start(batcher, Cursor::default(), 1, 2, 2).map(Result::unwrap);
    let whole: Vec<Batch> = batches(batcher(&data, None, 64)).collect();
    let path = damage_a_picture(&data[0], 0);
    let mut bad = Vec::new();
    for (mut batch, whole) in batches(batcher(&data, None, 64).skipping_bad()).zip(whole) {
        let size = batch.images.len() / batch.rows();
        for (row, error) in std::mem::take(&mut batch.bad) {
            let picture = &mut batch.images[row * size..][..size];
            assert!(picture.iter().all(|&level| level == 0));
            picture.copy_from_slice(&whole.images[row * size..][..size]);
            bad.push(error.to_string());
        }
        assert_eq!(content(&batch), content(&whole));
    }
    let key = format!("{:012}", 9 + 4);
    assert_eq!(
        bad,
        [format!("row 4 of {}, key {key}: the picture does not match its crc32c", path.display())]
    );
}
