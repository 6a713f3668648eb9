//! Captions through a program that translates them there and back: a line filter, captions in,
//! captions out.
//!
//! Captions go in batches of distinct ones. What comes back is kept on the disk, by command and
//! caption, before the next batch begins: a rerun asks for nothing twice, and a kill loses the batch
//! at hand.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::cache::Cache;
use crate::progress::{Progress, Verbosity};
use crate::store::Location;

/// Captions of a batch: enough that a program that takes long to start is started seldom.
const BATCH: usize = 2000;
/// Last characters of the program's messages that an error repeats.
const SAID: usize = 500;

/// A program that rewords captions.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// What `sh -c` is given.
    pub command: String,
    /// How long a batch may take.
    pub timeout: Duration,
    /// Folder that keeps what came back.
    pub cache: Location,
}

/// The first 128 bits of a caption's SHA-256.
type Id = [u8; 16];

/// What came back, by caption.
#[derive(Default)]
pub struct Translations(HashMap<Id, Box<str>>);

impl Translations {
    /// What a caption became; `None` where it came back as it was, or empty.
    pub fn of(&self, caption: &str) -> Option<&str> {
        let translated = self.0.get(&id(&one_line(caption)))?;
        let new = !translated.is_empty() && **translated != *caption && **translated != *one_line(caption);
        new.then_some(translated)
    }
}

impl Filter {
    /// Rewords captions, those that the cache does not have.
    ///
    /// # Errors
    /// If the program cannot be started, fails, takes too long or gives another number of lines; if
    /// the cache cannot be read or written.
    pub fn translate<'a>(
        &self,
        captions: impl Iterator<Item = &'a str> + Clone,
        verbosity: Verbosity,
    ) -> Result<Translations> {
        let cache = Cache::new(&self.cache, &self.command);
        let mut known: HashMap<Id, Option<Box<str>>> =
            captions.clone().map(|caption| (id(&one_line(caption)), None)).collect();
        let progress = Progress::new("translating", "captions", known.len() as u64, verbosity);
        cache.read(|caption, translated| {
            if let Some(wanted) = known.get_mut(&id(caption)) {
                progress.skip(u64::from(wanted.is_none()));
                wanted.get_or_insert_with(|| translated.into());
            }
        })?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut wanted = captions.map(one_line).peekable();
        while let Some(caption) = wanted.next() {
            let slot = known.get_mut(&id(&caption)).expect("every caption is known");
            if slot.is_none() {
                *slot = Some("".into()); // asked for
                batch.push(caption);
            }
            if batch.len() == BATCH || (wanted.peek().is_none() && !batch.is_empty()) {
                let translated = self.batch(&batch)?;
                cache.add(&batch, &translated)?;
                progress.add(batch.len() as u64, String::new);
                for (caption, translated) in batch.drain(..).zip(translated) {
                    known.insert(id(&caption), Some(translated.into()));
                }
            }
        }
        progress.finish();
        Ok(Translations(known.into_iter().filter_map(|(id, text)| Some((id, text?))).collect()))
    }

    /// A batch through the program. It reads and writes files, so it cannot block on a pipe, and is
    /// the head of a process group, so all of it can be stopped.
    fn batch(&self, captions: &[String]) -> Result<Vec<String>> {
        let named = || format!("--back-translate: `{}`", self.command);
        let (mut input, mut output, mut messages) = (temporary()?, temporary()?, temporary()?);
        let lines: String = captions.iter().flat_map(|caption| [caption, "\n"]).collect();
        input.write_all(lines.as_bytes()).context("cannot write a temporary file")?;
        input.rewind()?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.command).process_group(0);
        command.stdin(input).stdout(output.try_clone()?).stderr(messages.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("{}: cannot start sh", named()))?;
        let ended = wait(&mut child, self.timeout)?;
        let said = said(&mut messages)?;
        let (count, seconds) = (captions.len(), self.timeout.as_secs());
        let Some(status) = ended else {
            bail!(
                "{} did not end within {seconds} seconds for {count} captions; --back-translate-timeout gives it more{said}",
                named()
            );
        };
        ensure!(status.success(), "{} failed: {status}{said}", named());
        let mut bytes = Vec::new();
        output.rewind()?;
        output.read_to_end(&mut bytes)?;
        let text =
            String::from_utf8(bytes).ok().with_context(|| format!("{} gave no UTF-8{said}", named()))?;
        let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let found = lines.len();
        ensure!(
            found == count,
            "{} gave {found} lines for {count} captions, not one for each{said}",
            named()
        );
        Ok(lines)
    }
}

/// How the child ended; `None` where it took too long and was stopped.
fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let (began, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= timeout {
            let group = format!("-{}", child.id());
            Command::new("sh")
                .args(["-c", "kill -s KILL -- \"$0\"", &group])
                .stderr(Stdio::null())
                .status()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

fn temporary() -> Result<File> {
    tempfile::tempfile().context("cannot make a temporary file")
}

/// The end of what the program said on stderr, in one line.
fn said(messages: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    messages.rewind()?;
    messages.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end: String = words.chars().skip(words.chars().count().saturating_sub(SAID)).collect();
    Ok(if end.is_empty() { end } else { format!("; it said: {end}") })
}

/// A caption as the program reads it: what breaks lines is a space.
fn one_line(caption: &str) -> String {
    caption.replace(['\n', '\r'], " ")
}

fn id(line: &str) -> Id {
    Sha256::digest(line.as_bytes())[..16].try_into().expect("a SHA-256 has 32 bytes")
}
