//! `shards export`: the tars that others train from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use pairmill::decode::decode;
use pairmill::sample::{Sample, Stored};
use pairmill::shard::{Dataset, Pixels, ShardReader};
use serde_json::json;

use crate::dataset::{Recipe, SIDE, SMALL};
use crate::shards::shards;

struct Member {
    name: String,
    bytes: Vec<u8>,
    /// Mode, owner, group and time.
    header: (u32, u64, u64, u64),
}

fn members(tar: &Path) -> Vec<Member> {
    let mut archive = tar::Archive::new(File::open(tar).unwrap());
    let read = |entry: std::io::Result<tar::Entry<File>>| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let header = entry.header();
        let (mode, time) = (header.mode().unwrap(), header.mtime().unwrap());
        Member { name, bytes, header: (mode, header.uid().unwrap(), header.gid().unwrap(), time) }
    };
    archive.entries().unwrap().map(read).collect()
}

fn rows(data: &Dataset, path: &str) -> Vec<Sample> {
    let reader = ShardReader::open(&data.root.join(path)).unwrap();
    reader.samples().unwrap().map(|row| row.unwrap().0).collect()
}

#[track_caller]
fn export(flags: &str, data: &Path, out: &Path) -> String {
    let flags = format!("export --format webdataset {flags} --out {}", out.display());
    let (code, stdout, stderr) = shards(&flags, &[data]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{flags}");
    stdout
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every tar with its bytes and the time of its last change.
fn tars(folder: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let tars = names(folder).into_iter().filter(|name| name.ends_with(".tar"));
    tars.map(|name| {
        let path = folder.join(&name);
        let changed = path.metadata().unwrap().modified().unwrap();
        (name, (fs::read(path).unwrap(), changed))
    })
    .collect()
}

#[test]
fn a_tar_holds_picture_caption_and_json_of_every_row() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dataset = SMALL.write(data.path());
    let stdout = export("", data.path(), out.path());
    assert_eq!(stdout, format!("{}: 4 tars, 29 samples\n", out.path().display()));
    let tars = ["train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar"];
    assert_eq!(names(out.path()), [&["_export.json", "sizes.json"][..], &tars].concat());

    let (rows, members) = (rows(&dataset, "train/v0-00001.parquet"), members(&out.path().join(tars[1])));
    assert_eq!(members.len(), 3 * rows.len());
    for (row, members) in rows.iter().zip(members.chunks(3)) {
        let named: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(named, ["jpg", "txt", "json"].map(|extension| format!("{}.{extension}", row.key)));
        assert_eq!(members[0].bytes, row.stored.bytes());
        assert_eq!(members[1].bytes, row.captions[0].text.as_bytes());
        let json: serde_json::Value = serde_json::from_slice(&members[2].bytes).unwrap();
        assert_eq!((&json["key"], &json["width"]), (&row.key.as_str().into(), &SIDE.into()));
        let texts: Vec<&str> = row.captions.iter().map(|caption| caption.text.as_str()).collect();
        let kinds: Vec<&str> = row.captions.iter().map(|caption| caption.kind.name()).collect();
        assert_eq!((&json["captions"], &json["caption_kinds"]), (&json!(texts), &json!(kinds)));
        assert_eq!(json["source_sha256"], pairmill::files::hex(&row.source_sha256));
        assert!(members.iter().all(|member| member.header == (0o644, 0, 0, 0)));
    }
    let sizes: BTreeMap<String, u64> =
        serde_json::from_str(&fs::read_to_string(out.path().join("sizes.json")).unwrap()).unwrap();
    assert!(sizes.into_iter().eq(tars.map(str::to_owned).into_iter().zip([9, 7, 8, 5])));
}

#[test]
fn raw_pixels_become_png() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dataset = Recipe { pixels: Pixels::Raw { side: SIDE }, ..SMALL }.write(data.path());
    export("--split val", data.path(), out.path());
    let (rows, members) =
        (rows(&dataset, "val/v0-00000.parquet"), members(&out.path().join("val-00000.tar")));
    for (row, members) in rows.iter().zip(members.chunks(3)) {
        assert_eq!(members[0].name, format!("{}.png", row.key));
        let Stored::Raw(pixels) = &row.stored else { panic!("{:?}", row.stored) };
        assert_eq!(decode(&members[0].bytes).unwrap().pixels(), pixels);
    }
}

#[test]
fn each_view_has_tars_of_its_own() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dataset = SMALL.write(data.path());
    export("--split val --view 1", data.path(), out.path());
    assert_eq!(names(out.path()), ["_export.json", "sizes.json", "val-v1-00000.tar"]);
    let first = &members(&out.path().join("val-v1-00000.tar"))[0];
    assert_eq!(first.bytes, rows(&dataset, "val/v1-00000.parquet")[0].stored.bytes());
    let stdout = export("--split val --view all", data.path(), out.path());
    assert!(stdout.ends_with(": 2 tars, 1 of them kept, 10 samples\n"), "{stdout}");
    let flags = format!("export --format webdataset --view 2 --out {}", out.path().display());
    let (code, _, stderr) = shards(&flags, &[data.path()]);
    let expected = format!("error: --view: {} has views 0 to 1 only\n", data.path().display());
    assert_eq!((code, stderr), (Some(1), expected));
}

#[test]
fn tars_that_stand_are_kept_and_those_of_another_dataset_refused() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (out, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    SMALL.write(data.path());
    Recipe { first_key: 50, ..SMALL }.write(other.path());
    let flags = format!("export --format webdataset --out {}", data.path().display());
    assert_eq!(shards(&flags, &[data.path()]).0, Some(1), "the dataset's own folder");
    export("--split train", data.path(), out.path());
    let before = tars(out.path());
    fs::remove_file(out.path().join("train-00001.tar")).unwrap();
    fs::write(out.path().join(".pairmill-a1b2c3.tmp"), "half").unwrap();
    let stdout = export("", data.path(), out.path());
    assert!(stdout.ends_with(": 4 tars, 2 of them kept, 29 samples\n"), "{stdout}");
    let after = tars(out.path());
    assert_eq!(after["train-00000.tar"], before["train-00000.tar"]);
    assert_eq!(after["train-00001.tar"].0, before["train-00001.tar"].0, "the same bytes again");
    assert!(!names(out.path()).contains(&".pairmill-a1b2c3.tmp".to_owned()));

    let flags = format!("export --format webdataset --out {}", out.path().display());
    let (code, _, stderr) = shards(&flags, &[other.path()]);
    let place = out.path().display();
    let reason = "which is not of this dataset; name another folder, or give --overwrite";
    assert_eq!((code, stderr), (Some(1), format!("error: --out: {place} holds train-00000.tar, {reason}\n")));
    assert_eq!(tars(out.path()), after);
    export("--split val --overwrite", other.path(), out.path());
    let (code, ..) = shards(&flags, &[other.path()]);
    assert_eq!(code, Some(1), "the tars of train are still the first dataset's");
    export("--overwrite", other.path(), out.path());
    export("", other.path(), fresh.path());
    let bytes = |folder: &Path| tars(folder).into_iter().map(|(name, tar)| (name, tar.0)).collect::<Vec<_>>();
    assert_eq!(bytes(out.path()), bytes(fresh.path()));
}
