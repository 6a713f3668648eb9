//! A folder to run `prepare` in: small photographs, captions, and what came out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pairmill::sample::Sample;
use pairmill::shard::{Dataset, ShardReader, verify};
use pairmill::store::Location;

/// A temporary folder, the working directory of every run in it.
pub struct World(tempfile::TempDir);

/// What a run left: exit code, stdout, stderr.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// `photos/p0.jpg` … and `captions.txt` with two captions for each.
    pub fn with_photos(count: usize) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("photos")).unwrap();
        let mut captions = "image,caption\n".to_owned();
        for at in 0..count {
            world.photo(&format!("photos/p{at}.jpg"), at as u32);
            captions += &format!("p{at}.jpg,photo {at}\np{at}.jpg,\"number {at}, again\"\n");
        }
        world.write("captions.txt", captions);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// A JPEG of a size and colours of its own.
    pub fn photo(&self, name: &str, at: u32) {
        let colour = |x: u32, y: u32| image::Rgb([(x * 7 + at * 31) as u8, (y * 5) as u8, (at * 17) as u8]);
        image::RgbImage::from_fn(30 + at % 7, 24 + at % 5, colour).save(self.path(name)).unwrap();
    }

    /// `many.token`: so many names for the first `photos` photographs, and the words that make a
    /// dataset of them.
    pub fn many(&self, names: usize, photos: usize) -> &'static str {
        let line = |at: usize| {
            let (photo, name) = (format!("photos/p{}.jpg", at % photos), format!("photos/q{at}.jpg"));
            fs::hard_link(self.path(&photo), self.path(&name)).unwrap();
            format!("q{at}.jpg#0\tphoto number {at}\n")
        };
        self.write("many.token", (0..names).map(line).collect::<String>());
        "flickr30k --images photos --captions many.token"
    }

    /// The program with `line`'s words, to be started in this folder.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prepare"));
        command.current_dir(self.0.path()).args(line.split_whitespace());
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        let output = self.command(line).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs what has to succeed, small and quick, and gives back stdout.
    #[track_caller]
    pub fn prepare(&self, line: &str) -> String {
        // A progress line appears after some seconds, so on a busy machine.
        let quiet = if line.contains("--quiet") { "" } else { "--quiet" };
        let ran = self.run(&format!("{line} --size 16 {quiet}"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "prepare {line}");
        ran.stdout
    }

    /// Runs what has to fail, and gives back stderr.
    #[track_caller]
    pub fn fail(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "prepare {line}");
        ran.stderr
    }

    /// A dataset without a single finding.
    #[track_caller]
    pub fn dataset(&self, out: &str) -> Dataset {
        let dataset = Dataset::open(&Location::local(self.path(out))).unwrap();
        assert_eq!(verify::verify(&dataset, |_| {}).unwrap(), Vec::<String>::new());
        dataset
    }

    /// The rows of one view of a split, in order.
    #[track_caller]
    pub fn rows(&self, out: &str, split: &str, view: usize) -> Vec<Sample> {
        let shards = self.dataset(out).split(split).unwrap();
        let read = |path: &PathBuf| {
            ShardReader::open(path).unwrap().samples().unwrap().map(|row| row.unwrap().0).collect()
        };
        shards.iter().flat_map(|shard| -> Vec<Sample> { read(&shard.paths[view]) }).collect()
    }

    /// Every file below a folder with its bytes.
    pub fn files(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.path(folder);
        let mut files = BTreeMap::new();
        collect(&root, &root, &mut files);
        files
    }

    /// Asserts that two folders hold the same files with the same bytes.
    #[track_caller]
    pub fn same(&self, left: &str, right: &str) {
        let (left, right) = (self.files(left), self.files(right));
        assert!(left.keys().eq(right.keys()), "{:?}\n{:?}", left.keys(), right.keys());
        let differing: Vec<_> =
            left.iter().filter(|(name, bytes)| right[*name] != **bytes).map(|(name, _)| name).collect();
        assert!(differing.is_empty(), "{differing:?}");
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
}
