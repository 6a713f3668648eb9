//! `events.out.tfevents.*`: the log once more, as TensorBoard reads it.
//!
//! A file of events is records (length, its checksum, bytes, their checksum), each a protobuf `Event`. The crates that
//! write them want protoc at build time or an `image` of years ago, and the few fields of a scalar are these.
//! <https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto>

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::metrics::{EvaluationLine, StepLine};
use super::recall::Direction;

/// How the name of every file of events begins.
const PREFIX: &str = "events.out.tfevents.";

/// A file of events that this process writes.
pub struct Events {
    file: File,
    path: PathBuf,
}

/// Whether a file is by its name one of these.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(".pairmill")
}

impl Events {
    /// Begins a file of events in a run's folder, to go on after `steps` steps. What files of earlier processes say of
    /// later steps is cut off, so that a reader finds every step once; one that is reading now is told to forget it.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn open(run: &Path, steps: u64) -> Result<Self> {
        for old in files(run)? {
            cut(&old, steps).with_context(|| format!("cannot cut {}", old.display()))?;
        }
        let now = now();
        let path = run.join(format!("{PREFIX}{:010}.{:09}.pairmill", now.as_secs(), now.subsec_nanos()));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let mut events = Self { file, path };
        events.write(0, &bytes(3, b"brain.Event:2"))?;
        if steps > 0 {
            const START: u64 = 1;
            events.write(steps, &bytes(7, &number(1, START)))?;
        }
        Ok(events)
    }

    /// Writes what a training line says.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn step(&mut self, line: &StepLine) -> Result<()> {
        let scalars = [
            ("train/loss", line.loss),
            ("train/grad_norm", line.grad_norm),
            ("train/scale", line.scale),
            ("lr/image", line.lr_image),
            ("lr/text", line.lr_text),
            ("lr/projection", line.lr_projection),
            ("data/pairs_per_second", line.pairs_per_second),
            ("data/wait_share", line.wait_share),
        ];
        self.write(line.step, &summary(scalars.map(|(tag, value)| (tag.to_owned(), value))))
    }

    /// Writes what an evaluation says.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn evaluation(&mut self, line: &EvaluationLine) -> Result<()> {
        let (recalls, split) = (&line.recalls, &line.evaluation);
        let scalars = |way: &str, of: &Direction| {
            let named = |name: &str, value| (format!("{split}/{way}/{name}"), value);
            [
                named("recall@1", of.recall_1),
                named("recall@5", of.recall_5),
                named("recall@10", of.recall_10),
                named("median_rank", of.median_rank),
            ]
        };
        let ways = [("text_to_image", &recalls.text_to_image), ("image_to_text", &recalls.image_to_text)];
        let sum = (format!("{split}/recall_sum"), recalls.sum());
        self.write(line.step, &summary(ways.iter().flat_map(|(way, of)| scalars(way, of)).chain([sum])))
    }

    /// Appends an event, in one write.
    fn write(&mut self, step: u64, what: &[u8]) -> Result<()> {
        let event = [&double(1, now().as_secs_f64())[..], &number(2, step), what].concat();
        self.file.write_all(&record(&event)).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// The files of events in a folder.
fn files(run: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(run).with_context(|| format!("cannot read {}", run.display()))?;
    let ours = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(PREFIX);
    Ok(entries.flatten().filter(ours).map(|entry| entry.path()).collect())
}

/// Cuts a file before its first event of step `steps` or later, or before a torn one; removes it where nothing but its
/// head would be left. It keeps its place on the disk, so that a process that reads it now goes on.
fn cut(path: &Path, steps: u64) -> Result<()> {
    let all = fs::read(path)?;
    let (mut kept, mut events) = (0, 0);
    while let Some(event) = next(&all[kept..]) {
        if events > 0 && step(event) >= steps {
            break;
        }
        kept += event.len() + FRAME;
        events += 1;
    }
    match events {
        0 | 1 => fs::remove_file(path)?,
        _ => OpenOptions::new().write(true).open(path)?.set_len(kept as u64)?,
    }
    Ok(())
}

/// Bytes of a record around its event.
const FRAME: usize = 16;

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), event, &checksum(event)].concat()
}

/// The event of the first record, if that is whole.
fn next(records: &[u8]) -> Option<&[u8]> {
    let (length, rest) = records.split_first_chunk::<8>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    let (event, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let whole = *check == checksum(length) && rest.first_chunk::<4>() == Some(&checksum(event));
    whole.then_some(event)
}

/// CRC-32C, turned and shifted, since a file of records may itself be hashed.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The step of an event that [`Events::write`] could have written; 0 of any other.
fn step(event: &[u8]) -> u64 {
    let Some([0x10, varint @ ..]) = event.get(9..) else { return 0 };
    let length = varint.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    varint.iter().take(length).rev().fold(0, |step, byte| step << 7 | u64::from(byte & 0x7f))
}

/// Protobuf's field of a double.
fn double(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1][..], &value.to_le_bytes()].concat()
}

/// Protobuf's field of a whole number.
fn number(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

/// Protobuf's field of bytes, a text or a message.
fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2][..], &varint(value.len() as u64), value].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Several scalars as an event's `summary`.
fn summary(scalars: impl IntoIterator<Item = (String, f64)>) -> Vec<u8> {
    let value = |(tag, value): (String, f64)| {
        let number = [&[2 << 3 | 5][..], &(value as f32).to_le_bytes()].concat();
        bytes(1, &[bytes(1, tag.as_bytes()), number].concat())
    };
    bytes(5, &scalars.into_iter().flat_map(value).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step of each event after the head, and its bytes after the step.
    fn events(path: &Path) -> Vec<(u64, Vec<u8>)> {
        let all = fs::read(path).unwrap();
        let (mut at, mut found) = (0, Vec::new());
        while let Some(event) = next(&all[at..]) {
            at += event.len() + FRAME;
            found.push((step(event), event[9 + number(2, step(event)).len()..].to_vec()));
        }
        assert_eq!(at, all.len(), "{} ends in a whole record", path.display());
        assert_eq!(found.remove(0), (0, bytes(3, b"brain.Event:2")));
        found
    }

    fn loss(value: f64) -> Vec<u8> {
        summary([("train/loss".to_owned(), value)])
    }

    #[test]
    fn a_record_is_framed_and_checked_as_tfrecord_is() {
        let version = [&double(1, 0.0)[..], &number(2, 0), &bytes(3, b"brain.Event:2")].concat();
        let record = record(&version);
        assert_eq!(record[..8], 26u64.to_le_bytes());
        assert_eq!(next(&record), Some(&version[..]));
        for at in 0..record.len() {
            let mut torn = record.clone();
            torn[at] ^= 1;
            assert_eq!(next(&torn), None, "byte {at}");
            assert_eq!(next(&record[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn the_checksum_is_masked_crc32c() {
        // The empty text of TensorFlow's own test, and the record length that every log begins with.
        assert_eq!(checksum(b""), 0xa282_ead8u32.to_le_bytes());
        assert_eq!(checksum(&24u64.to_le_bytes()), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn a_scalar_is_a_tag_and_a_float() {
        let expected =
            [&[0x2a, 17, 0x0a, 15, 0x0a, 8][..], b"lr/image", &[0x15], &0.5f32.to_le_bytes()].concat();
        assert_eq!(summary([("lr/image".to_owned(), 0.5)]), expected);
    }

    #[test]
    fn a_step_of_any_size_is_read_back() {
        for wanted in [0, 1, 127, 128, 300, 99_999_999, u64::from(u32::MAX) + 7] {
            let event = [&double(1, 1.7e9)[..], &number(2, wanted), &loss(1.0)].concat();
            assert_eq!(step(&event), wanted);
        }
    }

    #[test]
    fn a_resumed_run_has_every_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |begin: u64, end: u64, value: f64| {
            let mut events = Events::open(folder.path(), begin).unwrap();
            (begin..end).for_each(|step| events.write(step, &loss(value)).unwrap());
            events.path
        };
        let first = write(0, 5, 1.0);
        let mut torn = OpenOptions::new().append(true).open(&first).unwrap();
        torn.write_all(&record(b"half an event")[..20]).unwrap();
        let second = write(3, 9, 2.0);
        let steps = |path: &Path| events(path).into_iter().map(|(step, _)| step).collect::<Vec<_>>();
        assert_eq!(steps(&first), [0, 1, 2]);
        assert_eq!(events(&second)[0], (3, bytes(7, &[8, 1])), "readers are told to forget step 3 and later");
        assert_eq!(steps(&second), [3, 3, 4, 5, 6, 7, 8]);
        let third = write(2, 4, 3.0);
        assert!(!second.exists(), "only its head would be left");
        assert_eq!((steps(&first), steps(&third)), (vec![0, 1], vec![2, 2, 3]));
        let fourth = write(0, 1, 4.0);
        assert_eq!(files(folder.path()).unwrap(), [fourth]);
    }
}
