//! Tables, tars and zips: what `prepare` reads beside folders and caption files.

mod archives;
mod tables;

use std::fs;

use pairmill::sample::Sample;

use crate::world::World;

/// Key, captions and meta of a row.
type Said = (String, Vec<String>, Option<String>);

fn said(rows: &[Sample]) -> Vec<Said> {
    let texts = |row: &Sample| row.captions.iter().map(|caption| caption.text.clone()).collect();
    rows.iter().map(|row| (row.key.clone(), texts(row), row.meta.clone())).collect()
}

/// Rows without meta.
fn rows(expected: &[(&str, &[&str])]) -> Vec<Said> {
    let owned = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
    expected.iter().map(|(key, texts)| (key.to_string(), owned(texts), None)).collect()
}

/// Key, path and kind of each reject.
fn rejects(world: &World, out: &str) -> Vec<(String, String, String)> {
    world.dataset(out).rejects().unwrap().into_iter().map(|r| (r.key, r.path, r.kind)).collect()
}

fn kinds(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    expected.iter().map(|(key, path, kind)| (key.to_string(), path.to_string(), kind.to_string())).collect()
}

fn photo_bytes(world: &World, at: u32) -> Vec<u8> {
    fs::read(world.path(&format!("photos/p{at}.jpg"))).unwrap()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}
