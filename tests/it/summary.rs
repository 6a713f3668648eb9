//! What `prepare` says at the end, word by word, and the commands that it names, run as they stand.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use pairmill::files::human_bytes;

use crate::world::World;

/// Eight photographs of which some are not to be had, prepared into `my data`; gives back stdout.
fn summarised(world: &World, more: &[&str]) -> String {
    let whole = fs::read(world.path("photos/p1.jpg")).unwrap();
    world.write("photos/p1.jpg", &whole[..whole.len() / 2]);
    world.write("photos/p2.jpg", &whole[..whole.len() / 2]);
    fs::remove_file(world.path("photos/p4.jpg")).unwrap();
    let captions = fs::read_to_string(world.path("captions.txt")).unwrap();
    world.write(
        "captions.txt",
        captions.replace("photo 6", " ").replace("\"number 6, again\"", "") + "p7.jpg,\n",
    );
    again(world, more)
}

fn again(world: &World, more: &[&str]) -> String {
    let mut command =
        world.command("flickr30k --images photos --captions captions.txt --size 16 --quiet --out");
    stdout(command.arg("my data").args(more).output().unwrap())
}

#[track_caller]
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The sum of all files of a folder, as the summary has it.
fn size(world: &World, folder: &str) -> String {
    human_bytes(world.files(folder).values().map(|bytes| bytes.len() as u64).sum())
}

/// The text with seconds, rate and codec left out.
fn timeless(text: &str) -> String {
    let line = |line: &str| match line.split_once(" in ").filter(|(_, rest)| rest.contains("images/s")) {
        Some((before, rest)) => {
            let (seconds, rest) = rest.split_once(" s (").unwrap();
            let (rate, after) = rest.split_once(" images/s)").unwrap();
            let (_, _): (f64, f64) = (seconds.parse().unwrap(), rate.parse().unwrap());
            format!("{before} in T s (R images/s){after}\n")
        }
        None if line.starts_with("  JPEG: ") => "  JPEG: C\n".to_owned(),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

const REST: &str = "  train: 4 images, 8 captions; 1 shard, SHARD
  on disk: DISK, tables and all
  JPEG: C
  dropped: 3 empty captions
  rejected: 1 missing, e.g. p4: no file p4.jpg
  rejected: 1 no-caption, e.g. p6: no caption
  rejected: 2 truncated, e.g. p1: the file ends too early
  all rejects: my data/_rejects.parquet; once they are set right, --retry-rejected tries them again
next: shards show 'my data' --out 'my data.html'
      train --data 'my data' --out run --set data.crop=16 --set data.batch=4
";

#[test]
fn the_summary_says_what_was_done_what_is_there_and_what_comes_next() {
    let world = World::with_photos(8);
    let first = summarised(&world, &[]);
    let shard = human_bytes(fs::metadata(world.path("my data/train/v0-00000.parquet")).unwrap().len());
    let rest = REST.replace("SHARD", &shard).replace("DISK", &size(&world, "my data"));
    assert_eq!(timeless(&first), format!("my data: 8 images in T s (R images/s)\n{rest}"));
    let done = "my data is finished: 1 shard with the names and sizes of its manifest; nothing written\n";
    assert_eq!(timeless(&again(&world, &[])), format!("{done}{rest}"));
}

#[test]
fn several_splits_are_summed_up_and_without_a_train_split_none_is_trained_on() {
    let world = World::with_photos(4);
    let row = |at: u32, split: &str| format!("p{at}.jpg,photo {at},{split}\n");
    let rows = row(0, "test") + &row(1, "test") + &row(2, "val") + &row(3, "val");
    world.write("pairs.csv", format!("image,caption,split\n{rows}"));
    let line = "table --table pairs.csv --images photos --split-column split --out out/ --size 16 --views 2";
    let text = stdout(world.command(line).output().unwrap());
    assert!(text.contains("\n  val: 2 images in 2 views, 2 captions; 2 shards, "), "{text}");
    assert!(text.contains("\n  in all: 4 images, 4 captions; 4 shards\n"), "{text}");
    assert!(text.ends_with("\nnext: shards show out/ --out out.html\n"), "{text}");
}

/// Runs a command line in the world's folder, the programs of this build being those that are found first.
fn shell(world: &World, line: &str) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_shards")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    stdout(
        Command::new("sh").args(["-c", line]).env("PATH", path).current_dir(world.path("")).output().unwrap(),
    )
}

#[test]
fn the_commands_that_come_next_run_as_they_stand() {
    let world = World::with_photos(8);
    let text = summarised(&world, &[]);
    let (_, commands) = text.split_once("next: ").unwrap();
    let commands: Vec<&str> = commands.lines().map(str::trim).collect();
    assert_eq!(shell(&world, commands[0]), "my data.html\n");
    assert!(fs::read_to_string(world.path("my data.html")).unwrap().contains("4 images, 1 view"));
    if cfg!(feature = "train") {
        // The models of real size would take minutes here; what the line says of the data stays.
        let small = "--set model.image='{layers=[1,1,1,1],width=4}' --set run.steps=1 --quiet --set \
            model.text='{hidden_size=16,num_hidden_layers=1,num_attention_heads=2,intermediate_size=32}'";
        assert!(shell(&world, &format!("{} {small}", commands[1])).starts_with("1 steps done"));
    }
}
