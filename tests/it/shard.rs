//! The shard format: what is written is what is read, three ways.

use pairmill::files::sha256_file;
use pairmill::sample::{Augment, Caption, CaptionKind, Crop, Sample, Stored, TokenIds};
use pairmill::shard::{Pixels, ShardReader, ShardWriter};

fn sample(at: usize, view: i32, stored: Stored) -> Sample {
    let caption = |place: i32| Caption {
        text: format!("caption {place} of {at}"),
        kind: if place == 0 { CaptionKind::Original } else { CaptionKind::Synonym },
        of: 0,
        tokens: TokenIds((0..place + 3).collect()),
    };
    Sample {
        key: format!("{at:012}"),
        image_id: at as i64,
        view,
        stored,
        width: 4,
        height: 4,
        source_width: 640,
        source_height: 480,
        crop: Crop { x: 80.0, y: 0.0, width: 480.0, height: 480.0 },
        augment: (view > 0).then_some(Augment { flip: true, hue: -0.25, ..Augment::NONE }),
        captions: (0..1 + at as i32 % 5).map(caption).collect(),
        meta: (at.is_multiple_of(2)).then(|| "{\"a\":1}".to_owned()),
        source_sha256: [at as u8; 32],
    }
}

#[track_caller]
fn check(pixels: Pixels, samples: &[Sample]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train/v0-00000.parquet");
    let mut writer = ShardWriter::create(&path, pixels).unwrap();
    samples.chunks(100).for_each(|chunk| writer.write(chunk.to_vec()).unwrap());
    let written = writer.finish().unwrap();
    assert_eq!(written.bytes, path.metadata().unwrap().len());
    assert_eq!(written.sha256, sha256_file(&path).unwrap());

    let reader = ShardReader::open(&path).unwrap();
    assert_eq!((reader.rows(), reader.pixels()), (samples.len(), pixels));
    let read: Vec<Sample> = reader.samples().unwrap().map(|sample| sample.unwrap().0).collect();
    assert_eq!(read, samples);
    let texts = reader.texts().unwrap();
    assert_eq!(texts.captions, samples.iter().map(|sample| sample.captions.clone()).collect::<Vec<_>>());
    let mut picture = Vec::new();
    for row in (0..samples.len()).rev() {
        reader.picture(row, &mut picture).unwrap();
        assert_eq!(picture, samples[row].stored.bytes(), "row {row}");
    }
}

#[test]
fn compressed_pictures_come_back_by_every_road() {
    let bytes = |at: usize| (0..at * 37 % 5000 + 1).map(|byte| (byte * at) as u8).collect();
    check(Pixels::Image, &(0..333).map(|at| sample(at, 0, Stored::Jpeg(bytes(at)))).collect::<Vec<_>>());
}

#[test]
fn raw_pictures_come_back_by_every_road() {
    let raw = |at: usize| Stored::Raw(vec![at as u8; 48]);
    check(Pixels::Raw { side: 4 }, &(0..150).map(|at| sample(at, 1, raw(at))).collect::<Vec<_>>());
}

#[test]
fn large_pictures_are_spread_over_row_groups() {
    let large = |at: usize| Stored::Jpeg(vec![at as u8; 20 << 20]);
    check(Pixels::Image, &(0..5).map(|at| sample(at, 0, large(at))).collect::<Vec<_>>());
}

#[test]
fn an_empty_shard_is_a_shard() {
    check(Pixels::Image, &[]);
}

#[test]
fn a_cut_shard_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v0-00000.parquet");
    let mut writer = ShardWriter::create(&path, Pixels::Image).unwrap();
    writer.write([sample(0, 0, Stored::Jpeg(vec![7; 1000]))]).unwrap();
    writer.finish().unwrap();
    let reader = ShardReader::open(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..500]).unwrap();
    let error = format!("{:#}", ShardReader::open(&path).err().unwrap());
    assert!(error.starts_with(&format!("cannot read the shard {}", path.display())), "{error}");
    let error = format!("{:#}", reader.picture(0, &mut Vec::new()).unwrap_err());
    assert!(error.contains("the file is shorter than its index says"), "{error}");
}

/// `prepare` hands rows over in blocks that depend on the number of jobs and on rejects.
#[test]
fn how_many_rows_are_handed_over_at_a_time_never_shows() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<Sample> = (0..700).map(|at| sample(at, 0, Stored::Jpeg(vec![at as u8; at * 9]))).collect();
    let written = |block: usize| {
        let path = folder.path().join(format!("{block}.parquet"));
        let mut writer = ShardWriter::create(&path, Pixels::Image).unwrap();
        rows.chunks(block).for_each(|block| writer.write(block.to_vec()).unwrap());
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    };
    let whole = written(700);
    let other = [1, 15, 16, 48, 63, 64, 100].into_iter().find(|&block| written(block) != whole);
    assert_eq!(other, None, "rows at a time that give other bytes");
}
