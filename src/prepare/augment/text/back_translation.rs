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
pub struct Translations(HashMap<Id, Option<Box<str>>>);

impl Translations {
    /// What a caption became; `None` where it came back as it was, or empty.
    pub fn of(&self, caption: &str) -> Option<&str> {
        let translated = self.0.get(&id(&one_line(caption)))?.as_deref()?;
        let new = !translated.is_empty() && translated != caption && translated != one_line(caption);
        new.then_some(translated)
    }

    /// Takes in what a line became, if it is one of those that are wanted and not known yet.
    fn take(&mut self, line: &str, translated: &str) -> bool {
        match self.0.get_mut(&id(line)) {
            Some(wanted @ None) => {
                *wanted = Some(translated.into());
                true
            }
            _ => false,
        }
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
        let unknown = captions.clone().map(|caption| (id(&one_line(caption)), None));
        let mut known = Translations(unknown.collect());
        let progress = Progress::new("translating", "captions", known.0.len() as u64, verbosity);
        cache.read(|caption, translated| progress.skip(u64::from(known.take(caption, translated))))?;
        let mut batch = Vec::with_capacity(BATCH);
        for caption in captions.map(one_line) {
            if known.take(&caption, "") {
                batch.push(caption); // asked for, once
            }
            if batch.len() == BATCH {
                self.ask(&mut batch, &mut known, &cache, &progress)?;
            }
        }
        self.ask(&mut batch, &mut known, &cache, &progress)?;
        progress.finish();
        Ok(known)
    }

    /// Sends a batch through the program, keeps what it gives, and empties the batch.
    fn ask(
        &self,
        batch: &mut Vec<String>,
        known: &mut Translations,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let translated = self.run(batch)?;
        cache.add(batch, &translated)?;
        progress.add(batch.len() as u64, String::new);
        let pairs = batch.drain(..).zip(translated);
        pairs.for_each(|(caption, text)| drop(known.0.insert(id(&caption), Some(text.into()))));
        Ok(())
    }

    /// What the program makes of some lines. It reads and writes files, so it cannot block on a pipe, and
    /// is the head of a process group, so all of it can be stopped.
    fn run(&self, lines: &[String]) -> Result<Vec<String>> {
        let named = || format!("--back-translate: `{}`", self.command);
        let (mut input, mut output, mut messages) = (temporary()?, temporary()?, temporary()?);
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        input.write_all(text.as_bytes()).context("cannot write a temporary file")?;
        input.rewind()?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.command).process_group(0);
        command.stdin(input).stdout(output.try_clone()?).stderr(messages.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("{}: cannot start sh", named()))?;
        let ended = wait(&mut child, self.timeout)?;
        let said = said(&read(&mut messages)?);
        let (count, seconds) = (lines.len(), self.timeout.as_secs());
        let Some(status) = ended else {
            bail!(
                "{} did not end within {seconds} seconds for {count} captions; --back-translate-timeout gives it more{said}",
                named()
            );
        };
        ensure!(status.success(), "{} failed: {status}{said}", named());
        let text = String::from_utf8(read(&mut output)?).ok();
        let text = text.with_context(|| format!("{} gave no UTF-8{said}", named()))?;
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

/// All of a file that another process wrote.
fn read(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes).context("cannot read a temporary file")?;
    Ok(bytes)
}

/// The end of what the program said on stderr, in one line.
fn said(messages: &[u8]) -> String {
    let text = String::from_utf8_lossy(messages);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end: String = words.chars().skip(words.chars().count().saturating_sub(SAID)).collect();
    if end.is_empty() { end } else { format!("; it said: {end}") }
}

/// A caption as the program reads it: what breaks lines is a space.
fn one_line(caption: &str) -> String {
    caption.replace(['\n', '\r'], " ")
}

fn id(line: &str) -> Id {
    Sha256::digest(line.as_bytes())[..16].try_into().expect("a SHA-256 has 32 bytes")
}
