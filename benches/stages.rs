//! The stages of `prepare`, one by one, on a photograph of 640×480 pixels.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pairmill::decode::{Picture, Source, decode};
use pairmill::prepare::augment::image::{ViewSettings, apply};
use pairmill::prepare::encode::{Encoding, encode};
use pairmill::prepare::resize::{Filter, Fit, Resizer};
use pairmill::prepare::tokenize::WordPieces;
use pairmill::sample::{Augment, Caption, CaptionKind, Crop, Rgb, Sample};
use pairmill::shard::{Pixels, ShardWriter};

const SIDE: u32 = 256;
const CAPTIONS: [&str; 5] = [
    "A tabby cat looks straight into the camera.",
    "Close-up of the face of a cat with green eyes.",
    "The cat's whiskers stand out against its striped fur.",
    "A cat with a pink nose is lying on a blanket, looking up.",
    "A domestic cat seen from very near.",
];

/// A bundled photograph at another size.
fn photograph(width: u32, height: u32) -> Rgb {
    let bytes = include_bytes!("../tests/data/photos/coffee.jpg");
    let image = image::load_from_memory(bytes).expect("the photograph is whole");
    let image = image.resize_exact(width, height, image::imageops::FilterType::CatmullRom);
    Rgb::new(width, height, image.into_rgb8().into_raw())
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(&photograph(width, height), Encoding::Jpeg { quality: 92 }).into_bytes()
}

fn needed(bytes: &[u8], resizer: &Resizer) -> Source {
    let picture = Picture::open(bytes).expect("a header");
    let need = resizer.need_of_fit(picture.width(), picture.height(), Fit::Crop);
    picture.decode(&[need]).expect("a picture")
}

fn pixels(c: &mut Criterion) {
    let (bytes, large) = (jpeg(640, 480), jpeg(4000, 3000));
    let mut resizer = Resizer::new(SIDE, Filter::CatmullRom);
    c.bench_function("decode 640x480 whole", |b| b.iter(|| decode(black_box(&bytes))));
    c.bench_function("decode 640x480 cropped", |b| b.iter(|| needed(black_box(&bytes), &resizer)));
    c.bench_function("decode 4000x3000 scaled", |b| b.iter(|| needed(black_box(&large), &resizer)));
    let source = needed(&bytes, &resizer);
    c.bench_function("resize 480 to 256", |b| b.iter(|| resizer.fit(black_box(&source), Fit::Crop)));
    let (small, _) = resizer.fit(&source, Fit::Crop);
    for (name, encoding) in [("jpeg", Encoding::Jpeg { quality: 90 }), ("png", Encoding::Png)] {
        c.bench_function(&format!("encode 256 {name}"), |b| b.iter(|| encode(black_box(&small), encoding)));
    }
    let settings = ViewSettings::new((0.6, 1.0), (0.75, 1.333), 0.5, [0.4, 0.4, 0.4, 0.1], 0.0);
    let (_, augment) = settings.expect("settings in range").draw(0, "key", 1, 640, 480);
    c.bench_function("augment 256", |b| {
        b.iter(|| {
            let mut image = small.clone();
            apply(&mut image, black_box(&augment));
            image
        });
    });
    let hue = Augment { hue: 0.1, ..Augment::NONE };
    c.bench_function("augment 256, hue alone", |b| {
        b.iter(|| {
            let mut image = small.clone();
            apply(&mut image, black_box(&hue));
            image
        });
    });
}

fn text(c: &mut Criterion) {
    let tokenizer = WordPieces::bundled(64).expect("the bundled vocabulary");
    c.bench_function("tokenize 5 captions", |b| {
        b.iter(|| CAPTIONS.map(|text| tokenizer.encode(black_box(text)).expect("words")));
    });
}

fn write(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tokenizer = WordPieces::bundled(64).expect("the bundled vocabulary");
    let samples: Vec<Sample> = (0..256).map(|at| sample(at, &tokenizer)).collect();
    c.bench_function("write 256 rows", |b| {
        b.iter(|| {
            let path = folder.path().join("bench.parquet");
            let mut writer = ShardWriter::create(&path, Pixels::Image).expect("a shard");
            writer.write(samples.iter().cloned()).expect("rows");
            writer.finish().expect("a file");
        });
    });
}

fn sample(at: i64, tokenizer: &WordPieces) -> Sample {
    let caption = |(of, text): (usize, &str)| Caption {
        text: text.to_owned(),
        kind: CaptionKind::Original,
        of: of as i32,
        tokens: tokenizer.encode(text).expect("words"),
    };
    Sample {
        key: format!("{at:012}"),
        image_id: at,
        view: 0,
        stored: encode(&photograph(SIDE, SIDE), Encoding::Jpeg { quality: 90 }),
        width: SIDE as i32,
        height: SIDE as i32,
        source_width: 640,
        source_height: 480,
        crop: Crop { x: 80.0, y: 0.0, width: 480.0, height: 480.0 },
        augment: None,
        captions: CAPTIONS.into_iter().enumerate().map(caption).collect(),
        meta: None,
        source_sha256: [0; 32],
    }
}

criterion_group!(stages, pixels, text, write);
criterion_main!(stages);
