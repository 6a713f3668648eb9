//! Tables of pairs.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int64Array, LargeBinaryArray, ListArray, RecordBatch, StringArray, StructArray,
    TimestampSecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::{kinds, photo_bytes, rejects, rows, said, sha256};
use crate::world::World;

/// A Parquet file of two row groups at most `group` rows long.
fn parquet(
    world: &World,
    name: &str,
    compression: Compression,
    group: usize,
    columns: Vec<(&str, ArrayRef)>,
) {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(group))
        .build();
    let file = File::create(world.path(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn strings<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

#[test]
fn csv_tsv_and_json_lines_of_the_same_pairs_give_the_same_rows() {
    let world = World::with_photos(3);
    world.write(
        "pairs.csv",
        "image,caption\r\np0.jpg,\"a, b\"\r\np1.jpg,\"[\"\"c\"\", \"\"d\"\", \"\"\"\"]\"\r\np2.jpg,\"e\nf\"\r\n",
    );
    world
        .write("pairs.tsv", "caption\timage\na, b\tp0.jpg\n[\"c\", \"d\", \"\"]\tp1.jpg\n\"e\nf\"\tp2.jpg\n");
    let lines = [
        r#"{"image": "p0.jpg", "caption": "a, b"}"#,
        "",
        r#"{"image": {"bytes": null, "path": "p1.jpg"}, "caption": ["c", "d", null]}"#,
        r#"{"caption": "e\nf", "image": "p2.jpg", "more": 1}"#,
    ];
    world.write("pairs.jsonl", lines.join("\n"));
    let expected =
        rows(&[("000000000000", &["a, b"]), ("000000000001", &["c", "d"]), ("000000000002", &["e\nf"])]);
    for format in ["csv", "tsv", "jsonl"] {
        world.prepare(&format!("table --table pairs.{format} --images photos --out {format}"));
        assert_eq!(said(&world.rows(format, "train", 0)), expected, "{format}");
        assert_eq!(world.dataset(format).manifest.totals.empty_captions, 1, "{format}");
    }
    assert_eq!(world.rows("csv", "train", 0)[2].image_id, 2);
}

#[test]
fn images_are_looked_for_beside_the_table() {
    let world = World::with_photos(1);
    world.write("photos/pairs.csv", "\u{feff}image,caption\np0.jpg,x\nnone.jpg,y\n,z\np0.jpg,\n");
    world.prepare("table --table photos/pairs.csv --out out");
    assert_eq!(said(&world.rows("out", "train", 0)), rows(&[("000000000000", &["x"])]));
    let expected = [
        ("000000000001", "none.jpg", "missing"),
        ("000000000002", "", "missing"),
        ("000000000003", "p0.jpg", "no-caption"),
    ];
    assert_eq!(rejects(&world, "out"), kinds(&expected));
}

#[test]
fn rows_of_one_key_are_one_image_however_they_are_ordered() {
    let world = World::with_photos(4);
    world.write(
        "pairs.csv",
        "id,part,file,title,alt,licence\n\
         b,val,p1.jpg,b1,B1,cc0\n\
         a,,p0.jpg,a1,,by\n\
         b,val,p2.jpg,b2,B2,by\n\
         a,train,,a2,A2,by\n\
         b,,p3.jpg,b3,B3,none\n",
    );
    let columns = "--image-column file --caption-column title,alt --key-column id --split-column part";
    world.prepare(&format!(
        "table --table pairs.csv --images photos {columns} --keep-columns licence,part --out out"
    ));
    let row = |key: &str, captions: &[&str], meta: &str| {
        let captions = captions.iter().map(|text| text.to_string()).collect();
        (key.to_owned(), captions, Some(meta.to_owned()))
    };
    let train = [
        row("a", &["a1", "a2", "A2"], r#"{"licence":"by","part":""}"#),
        row("b", &["b3", "B3"], r#"{"licence":"none","part":""}"#),
    ];
    assert_eq!(said(&world.rows("out", "train", 0)), train);
    let val = [row("b", &["b1", "B1", "b2", "B2"], r#"{"licence":"cc0","part":"val"}"#)];
    assert_eq!(said(&world.rows("out", "val", 0)), val);
    let manifest = world.dataset("out").manifest;
    assert_eq!(manifest.totals.empty_captions, 1);
    assert_eq!(manifest.options["caption_column"], serde_json::json!(["title", "alt"]));
    let other = world.fail(&format!(
        "table --table pairs.csv --images photos {columns} --keep-columns part --out out --size 16"
    ));
    assert!(other.contains("--keep-columns: licence,part there, part here"), "{other}");
}

#[test]
fn parquet_may_hold_paths_bytes_or_hugging_faces_struct() {
    let world = World::with_photos(5);
    let captions = || strings([Some("a"), Some(" b "), None, Some("d"), Some("e")]);
    let paths: Vec<String> = (0..5).map(|at| format!("p{at}.jpg")).collect();
    let bytes: Vec<Vec<u8>> = (0..5).map(|at| photo_bytes(&world, at)).collect();
    let columns =
        vec![("image", strings(paths.iter().map(|path| Some(path.as_str())))), ("caption", captions())];
    parquet(&world, "photos/paths.parquet", Compression::SNAPPY, 9, columns);
    let cells: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(&bytes));
    parquet(
        &world,
        "bytes.parquet",
        Compression::LZ4_RAW,
        2,
        vec![("caption", captions()), ("image", cells)],
    );
    // Row 1 has a path alone, row 3 bytes alone.
    let inside = BinaryArray::from_iter((0..5).map(|at| (at != 1).then(|| &bytes[at])));
    let names = StringArray::from_iter((0..5).map(|at| (at != 3).then(|| &paths[at])));
    let fields = Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ]);
    let image = StructArray::new(fields, vec![Arc::new(inside), Arc::new(names)], None);
    let columns = vec![("image", Arc::new(image) as ArrayRef), ("caption", captions())];
    parquet(&world, "struct.parquet", Compression::ZSTD(Default::default()), 3, columns);

    world.prepare("table --table photos/paths.parquet --out paths --shard-rows 2");
    world.prepare("table --table bytes.parquet --out bytes --shard-rows 2");
    world.prepare("table --table struct.parquet --images photos --out struct --shard-rows 2");
    let expected = rows(&[
        ("000000000000", &["a"]),
        ("000000000001", &["b"]),
        ("000000000003", &["d"]),
        ("000000000004", &["e"]),
    ]);
    let pixels = world.rows("paths", "train", 0);
    assert_eq!(said(&pixels), expected);
    assert_eq!((world.rows("bytes", "train", 0), world.rows("struct", "train", 0)), (pixels.clone(), pixels));
    for (out, path) in [("paths", "p2.jpg"), ("bytes", "row 2"), ("struct", "p2.jpg")] {
        assert_eq!(rejects(&world, out), kinds(&[("000000000002", path, "no-caption")]), "{out}");
    }
}

#[test]
fn cells_of_images_find_their_rows_through_splits_and_missing_ones() {
    let world = World::with_photos(9);
    let bytes: Vec<Vec<u8>> = (0..9).map(|at| photo_bytes(&world, at)).collect();
    let split = |at: usize| Some(if at % 3 == 1 { "val" } else { "train" });
    let fields = Fields::from(vec![Field::new("bytes", DataType::Binary, true)]);
    let inside: ArrayRef = Arc::new(BinaryArray::from_iter((0..9).map(|at| (at != 6).then(|| &bytes[at]))));
    let valid = NullBuffer::from_iter((0..9).map(|at| at != 2));
    let image: ArrayRef = Arc::new(StructArray::new(fields, vec![inside], Some(valid)));
    let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..18).map(|at| format!("caption {at}"))));
    let element = Arc::new(Field::new("item", DataType::Utf8, true));
    let lists: ArrayRef = Arc::new(ListArray::new(element, OffsetBuffer::from_lengths([2; 9]), words, None));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..9).map(|at| at * 11)));
    let noon = TimestampSecondArray::from(vec![1_577_880_000; 9]).with_timezone("UTC");
    let time = ("time", Arc::new(noon) as ArrayRef);
    let columns =
        vec![("image", image), ("part", strings((0..9).map(split))), ("texts", lists), ("id", ids), time];
    parquet(&world, "t.parquet", Compression::GZIP(Default::default()), 4, columns);
    let columns = "--caption-column texts --key-column id --split-column part --keep-columns id,texts,time";
    let run = format!("table --table t.parquet {columns} --shard-rows 4");
    world.prepare(&format!("{run} --out one --jobs 1"));
    world.prepare(&format!("{run} --out four --jobs 4"));
    world.same("one", "four");
    for (name, places) in [("train", vec![0, 3, 5, 8]), ("val", vec![1, 4, 7])] {
        let rows = world.rows("one", name, 0);
        let keys: Vec<String> = places.iter().map(|at| (at * 11).to_string()).collect();
        assert_eq!(rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), keys);
        for (row, at) in rows.iter().zip(places) {
            assert_eq!(row.source_sha256.to_vec(), sha256(&bytes[at]), "row {at}");
            let (one, two) = (format!("caption {}", at * 2), format!("caption {}", at * 2 + 1));
            let meta =
                format!(r#"{{"id":{},"texts":["{one}","{two}"],"time":"2020-01-01T12:00:00Z"}}"#, at * 11);
            assert_eq!(
                said(std::slice::from_ref(row)),
                [((at * 11).to_string(), vec![one, two], Some(meta))]
            );
        }
    }
    assert_eq!(rejects(&world, "one"), kinds(&[("22", "row 2", "missing"), ("66", "row 6", "missing")]));
}

#[test]
fn what_is_wrong_with_a_table_is_named() {
    let world = World::with_photos(1);
    world.write("a.csv", "image,text\np0.jpg,x\n");
    world.write("ragged.csv", "image,caption\np0.jpg,x\np0.jpg,y,z\n");
    world.write("open.tsv", "image\tcaption\np0.jpg\t\"x\np0.jpg\ty\n");
    world.write("python.csv", "image,caption\np0.jpg,\"['a', 'b']\"\n");
    world.write("key.csv", "image,caption,id\np0.jpg,x,1\np0.jpg,y,\n");
    world.write("split.csv", "image,caption,part\np0.jpg,x,a/b\n");
    world.write("empty.csv", "");
    world.write("header.csv", "image,caption\n");
    world.write("a.jsonl", "{\"image\": \"p0.jpg\", \"text\": \"x\"}\n{\"url\": 1}\n");
    world.write("broken.jsonl", "{\"image\": \"p0.jpg\", \"caption\": \"x\"}\n\n{\"image\": \n");
    world.write("number.jsonl", "{\"image\": \"p0.jpg\", \"caption\": 3}\n");
    world.write("a.txt", "x");
    world.write("text.parquet", "image,caption\n");
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    parquet(
        &world,
        "n.parquet",
        Compression::SNAPPY,
        9,
        vec![("image", strings([Some("p0.jpg")])), ("caption", numbers)],
    );
    for (line, expected) in [
        ("a.csv", "--caption-column: a.csv has no column `caption`; its columns are `image`, `text`"),
        (
            "a.csv --caption-column text --keep-columns text,url",
            "--keep-columns: a.csv has no column `url`; its columns are `image`, `text`",
        ),
        (
            "a.jsonl",
            "--caption-column: a.jsonl has no column `caption`; its columns are `image`, `text`, `url`",
        ),
        (
            "n.parquet --image-column img",
            "--image-column: n.parquet has no column `img`; its columns are `image`, `caption`",
        ),
        (
            "n.parquet",
            "--caption-column: n.parquet: column `caption` holds Int64, not texts or lists of texts",
        ),
        ("ragged.csv", "--table: ragged.csv: line 3: 3 cells where the header names 2"),
        ("open.tsv", "--table: open.tsv: line 2: a quote that opens in it is never closed"),
        (
            "python.csv",
            "--table: python.csv: line 2: --caption-column: it looks like a list of captions but is no JSON: ['a', 'b']",
        ),
        ("key.csv --key-column id", "--table: key.csv: line 3: --key-column: the key is empty"),
        (
            "split.csv --split-column part",
            "--table: split.csv: line 2: --split-column: `a/b` cannot be the name of a split",
        ),
        ("empty.csv", "--table: empty.csv is empty"),
        ("header.csv", "--table: no image is named in it"),
        (
            "broken.jsonl",
            "--table: broken.jsonl: line 3: it is no JSON object: EOF while parsing a value at line 1 column 9",
        ),
        (
            "number.jsonl",
            "--table: number.jsonl: line 1: --caption-column: `caption` holds what is no text: 3",
        ),
        ("a.txt", "--table: a.txt ends in none of .csv, .tsv, .jsonl and .parquet"),
        ("none.csv", "--table: no file at none.csv"),
        (
            "a.csv --caption-column text --images captions.txt",
            "--images: captions.txt is neither a folder nor a whole zip: invalid Zip archive: Could not find EOCD",
        ),
    ] {
        assert_eq!(world.fail(&format!("table --out out --table {line}")), format!("error: {expected}\n"));
    }
    let stderr = world.fail("table --out out --table text.parquet");
    assert!(stderr.starts_with("error: --table: cannot read text.parquet: "), "{stderr}");
}
