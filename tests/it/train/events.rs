//! TensorBoard's files of events, read by their format: records of length, checksum, protobuf, checksum.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every value of a run's events by tag and step.
pub fn scalars(run: &Path) -> BTreeMap<(String, u64), Vec<f32>> {
    let mut found: BTreeMap<(String, u64), Vec<f32>> = BTreeMap::new();
    let files = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.to_string_lossy().contains(".tfevents.")) {
        let bytes = fs::read(&file).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let event = record(&mut rest);
            let fields = fields(event);
            let step = fields.iter().find(|(field, _)| *field == 2).map_or(0, |(_, step)| number(step));
            for (_, summary) in fields.iter().filter(|(field, _)| *field == 5) {
                for (tag, value) in values(summary) {
                    found.entry((tag, step)).or_default().push(value);
                }
            }
        }
    }
    found
}

fn record<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
    let (event, next) = (&rest[12..12 + length], &rest[16 + length..]);
    let check = |bytes: &[u8], sum: &[u8]| {
        let crc = crc32c::crc32c(bytes);
        assert_eq!(crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes(), *sum);
    };
    check(&rest[..8], &rest[8..12]);
    check(event, &rest[12 + length..16 + length]);
    *rest = next;
    event
}

/// Numbers and bytes of a protobuf message's fields.
fn fields(mut message: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((tag, rest)) = message.split_first() {
        let varint = rest.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let (from, length) = match tag & 7 {
            0 => (0, varint),
            1 => (0, 8),
            2 => (varint, number(&rest[..varint]) as usize),
            5 => (0, 4),
            other => panic!("no wire type {other} is expected here"),
        };
        found.push((tag >> 3, &rest[from..from + length]));
        message = &rest[from + length..];
    }
    found
}

fn number(varint: &[u8]) -> u64 {
    varint.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

/// Tag and value of each scalar of a summary.
fn values(summary: &[u8]) -> impl Iterator<Item = (String, f32)> {
    fields(summary).into_iter().map(|(_, value)| {
        let fields: BTreeMap<u8, &[u8]> = fields(value).into_iter().collect();
        let tag = String::from_utf8(fields[&1].to_vec()).unwrap();
        (tag, f32::from_le_bytes(fields[&2].try_into().unwrap()))
    })
}
