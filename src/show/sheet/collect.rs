//! A finished dataset → the rows of a sheet.

use anyhow::{Context, Result, ensure};

use super::{Picture, SheetRow, SheetView};
use crate::sample::{CaptionKind, Rgb, Sample, Stored};
use crate::shard::{Dataset, ShardReader, manifest::ShardViews};

/// `n` rows of a split with all their views, or all rows where there are fewer: spread over the
/// shards by their rows, and of each shard the first ones, so that no shard is read further than needed.
///
/// # Errors
/// If there is no such split, a shard cannot be read, or the views of a shard hold different keys.
pub fn collect(dataset: &Dataset, split: &str, n: usize) -> Result<Vec<SheetRow>> {
    let shards = dataset.split(split)?;
    let sizes: Vec<u64> = shards.iter().map(|shard| shard.rows).collect();
    let mut rows = Vec::new();
    for (shard, count) in shards.iter().zip(spread(n as u64, &sizes)) {
        if count > 0 {
            rows.extend(first_rows(shard, count as usize)?);
        }
    }
    let padded = dataset.manifest.options["fit"] == "pad";
    rows.iter_mut().for_each(|row| row.padded = padded);
    Ok(rows)
}

/// How many of `n` evenly spaced rows fall into each shard.
fn spread(n: u64, sizes: &[u64]) -> Vec<u64> {
    let total: u64 = sizes.iter().sum();
    let n = n.min(total);
    let before = |row: u64| (u128::from(row) * u128::from(n)).div_ceil(u128::from(total.max(1))) as u64;
    let ends = sizes.iter().scan(0, |end, size| {
        *end += size;
        Some((*end - size, *end))
    });
    ends.map(|(start, end)| before(end) - before(start)).collect()
}

fn first_rows(shard: &ShardViews, count: usize) -> Result<Vec<SheetRow>> {
    let mut rows: Vec<SheetRow> = Vec::new();
    for (view, path) in shard.paths.iter().enumerate() {
        let samples = ShardReader::open(path)?.samples()?.take(count);
        for (at, sample) in samples.enumerate() {
            let (sample, _) = sample?;
            if view == 0 {
                rows.push(row(&sample));
            }
            let row = rows.get_mut(at).with_context(|| format!("{} has too many rows", path.display()))?;
            ensure!(row.key == sample.key, "{}: row {at} is {}, not {}", path.display(), sample.key, row.key);
            let view = shown(sample, &row.captions);
            row.views.push(view);
        }
    }
    Ok(rows)
}

fn row(sample: &Sample) -> SheetRow {
    SheetRow {
        key: sample.key.clone(),
        source: Some((sample.source_width, sample.source_height)),
        padded: false,
        views: Vec::new(),
        captions: sample.captions.iter().map(|caption| (caption.kind, caption.text.clone())).collect(),
    }
}

fn shown(sample: Sample, clean: &[(CaptionKind, String)]) -> SheetView {
    let pairs = sample.captions.into_iter().zip(clean);
    let captions =
        pairs.filter(|(here, (_, there))| here.text != *there).map(|(here, _)| here.text).collect();
    let picture = picture(sample.stored, sample.width, sample.height);
    SheetView { view: sample.view, picture, crop: Some(sample.crop), augment: sample.augment, captions }
}

/// What is stored as a picture of so many pixels; `None` of raw ones that are too few or too many.
pub(in crate::show) fn picture(stored: Stored, width: i32, height: i32) -> Option<Picture> {
    match stored {
        Stored::Jpeg(bytes) | Stored::Png(bytes) => Some(Picture::File(bytes)),
        Stored::Raw(pixels) => raw(width, height, pixels),
    }
}

fn raw(width: i32, height: i32, pixels: Vec<u8>) -> Option<Picture> {
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let expected = width as usize * height as usize * 3;
    (expected > 0 && pixels.len() == expected).then(|| Picture::Rgb(Rgb::new(width, height, pixels)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::write;
    use super::*;
    use crate::sample::{Augment, Caption, Crop, TokenIds};
    use crate::shard::manifest::{Manifest, ShardEntry, TokenizerId, Totals};
    use crate::shard::{Pixels, ShardWriter};
    use crate::store::Location;

    fn sample(key: usize, view: u32) -> Sample {
        let caption = Caption {
            text: format!("caption of {key}"),
            kind: CaptionKind::Original,
            of: 0,
            tokens: TokenIds(vec![101, 102]),
        };
        Sample {
            key: format!("{key:012}"),
            image_id: key as i64,
            view: view as i32,
            stored: Stored::Raw(vec![key as u8; 12]),
            width: 2,
            height: 2,
            source_width: 8,
            source_height: 4,
            crop: Crop { x: 2.0, y: 0.0, width: 4.0, height: 4.0 },
            augment: (view > 0).then_some(Augment { flip: true, ..Augment::NONE }),
            captions: vec![caption],
            meta: None,
            source_sha256: [0; 32],
        }
    }

    fn dataset(root: &Path, sizes: &[usize]) -> Dataset {
        let (mut entries, mut first) = (Vec::new(), 0);
        for (number, &rows) in sizes.iter().enumerate() {
            for view in 0..2 {
                let path = ShardEntry::path_of("val", view, number as u32);
                let mut writer = ShardWriter::create(&root.join(&path), Pixels::Raw { side: 2 }).unwrap();
                writer.write((first..first + rows).map(|key| sample(key, view))).unwrap();
                writer.finish().unwrap();
                entries.push(ShardEntry {
                    path,
                    split: "val".into(),
                    view,
                    number: number as u32,
                    rows: rows as u64,
                    bytes: 0,
                    sha256: String::new(),
                });
            }
            first += rows;
        }
        let manifest = Manifest {
            schema: crate::shard::schema::VERSION,
            tool: "test".into(),
            options: serde_json::Value::Null,
            seed: 0,
            tokenizer: TokenizerId { sha256: String::new(), vocab_size: 0, max_tokens: 0 },
            codec: BTreeMap::new(),
            totals: Totals::default(),
            splits: BTreeMap::from([("val".to_owned(), Totals::default())]),
            rejects: BTreeMap::new(),
            tables: BTreeMap::new(),
        };
        manifest.publish(root, &entries, &[]).unwrap();
        Dataset::open(&Location::local(root)).unwrap()
    }

    #[test]
    fn rows_are_spread_over_the_shards_by_their_size() {
        assert_eq!(spread(4, &[10, 10]), [2, 2]);
        assert_eq!(spread(3, &[100, 100, 10]), [2, 1, 0]);
        assert_eq!(spread(99, &[2, 0, 3]), [2, 0, 3]);
        assert_eq!(spread(5, &[0]), [0]);
    }

    #[test]
    fn a_row_holds_all_views_of_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let rows = collect(&dataset(folder.path(), &[3, 3]), "val", 4).unwrap();
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["000000000000", "000000000001", "000000000003", "000000000004"]);
        for row in &rows {
            assert_eq!((row.views.len(), row.source, row.captions.len()), (2, Some((8, 4)), 1));
            assert!(row.views[0].augment.is_none() && row.views[1].augment.is_some());
            assert!(row.views.iter().all(|view| view.picture.is_some()));
        }
    }

    #[test]
    fn the_ending_of_the_file_decides_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path(), &[2]);
        let (page, sheet) = (folder.path().join("page.html"), folder.path().join("sheet.png"));
        write(&dataset, None, 64, &page).unwrap();
        write(&dataset, Some("val"), 64, &sheet).unwrap();
        assert!(std::fs::read_to_string(page).unwrap().contains("2 images, 2 views"));
        assert!(std::fs::read(sheet).unwrap().starts_with(b"\x89PNG"));
    }
}
