//! Captions beside the source's own: in the shards, in every view, and in what a training step sees.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pairmill::load::{Batcher, CaptionWeights, Order, OrderSpec, Padding, Pairs, Shape, Shuffle};
use pairmill::prepare::augment::text::back_translation::Filter;
use pairmill::prepare::tokenize::WordPieces;
use pairmill::progress::Verbosity;
use pairmill::sample::{Caption, CaptionKind, Sample};
use pairmill::store::Location;

use crate::dictionary::{WORDS, write};
use crate::shards::shards;
use crate::world::World;

const FLICKR: &str = "flickr30k --images photos --captions captions.txt";

/// Three photographs whose captions speak of sides, or do not; the dictionary in `dict`.
fn world() -> World {
    let world = World::with_photos(3);
    let lines = [
        "p0.jpg,A dog on the left of a car",
        "p0.jpg,Two dogs walk",
        "p1.jpg,A man has left the house",
        "p1.jpg,nothing to see",
        "p2.jpg,Its right paw",
    ];
    world.write("captions.txt", format!("image,caption\n{}\n", lines.join("\n")));
    write(&world.path("dict"), WORDS);
    world
}

/// `augment.toml` with a filter, its cache in the world's folder.
fn with_filter(world: &World, command: &str) {
    let settings = format!(
        "views = 2\nflip = 1.0\nsynonyms = 1.0\nwordnet = \"dict\"\nback_translate_cache = \"cache\"\nback_translate = '''{command}'''\n"
    );
    world.write("augment.toml", settings);
}

fn texts(sample: &Sample) -> Vec<(&str, CaptionKind, i32)> {
    sample.captions.iter().map(|caption| (caption.text.as_str(), caption.kind, caption.of)).collect()
}

#[test]
fn derived_captions_follow_their_originals_in_every_view() {
    use CaptionKind::{BackTranslation, Original, Synonym};
    let world = world();
    with_filter(&world, "sed 's/^Two/2/; s/nothing/little/'");
    world.prepare(&format!("{FLICKR} --out out --augment augment.toml"));
    let (clean, mirrored) = (world.rows("out", "train", 0), world.rows("out", "train", 1));
    let expected = [
        ("A dog on the left of a car", Original, 0),
        ("Two dogs walk", Original, 1),
        ("A hound on the left of an automobile", Synonym, 0),
        ("Two hounds stroll", Synonym, 1),
        ("2 dogs walk", BackTranslation, 1),
    ];
    assert_eq!(texts(&clean[0]), expected);
    let swapped = expected.map(|(text, kind, of)| (text.replace("left", "right"), kind, of));
    let swapped: Vec<_> = swapped.iter().map(|(text, kind, of)| (text.as_str(), *kind, *of)).collect();
    assert_eq!(texts(&mirrored[0]), swapped);
    let second = [
        ("A man has left the house", Original, 0),
        ("nothing to see", Original, 1),
        ("little to see", BackTranslation, 1),
    ];
    assert_eq!((texts(&clean[1]), texts(&mirrored[1])), (second.to_vec(), second.to_vec()));
    let (right, left) = ([("Its right paw", Original, 0)], [("Its left paw", Original, 0)]);
    assert_eq!((texts(&clean[2]), texts(&mirrored[2])), (right.to_vec(), left.to_vec()));
    let pieces = WordPieces::bundled(64).unwrap();
    for Caption { text, tokens, .. } in clean.iter().chain(&mirrored).flat_map(|row| &row.captions) {
        assert_eq!(*tokens, pieces.encode(text).unwrap(), "{text}");
    }
    assert_eq!(world.dataset("out").manifest.totals.captions, 5 + 3 + 1);
    let (_, stats, _) = shards("stats --json", &[&world.path("out")]);
    assert!(stats.contains(r#""captions":{"back-translation":2,"original":5,"synonym":2}"#), "{stats}");
}

#[test]
fn an_unmirrored_view_keeps_its_sides() {
    let world = world();
    world.prepare(&format!("{FLICKR} --out out --views 2"));
    let captions =
        |view| world.rows("out", "train", view).into_iter().map(|row| row.captions).collect::<Vec<_>>();
    assert_eq!(captions(0), captions(1));
}

#[test]
fn a_step_sees_the_captions_of_the_view_that_it_shows() {
    let world = world();
    world.prepare(&format!("{FLICKR} --out out --views 2 --flip 1"));
    let views = [0, 1].map(|view| world.rows("out", "train", view));
    let pairs = Arc::new(Pairs::open(&[world.dataset("out")], "train").unwrap());
    let spec = OrderSpec {
        fingerprints: pairs.fingerprints().to_vec(),
        split: "train".into(),
        seed: 0,
        batch: 3,
        shuffle: Shuffle::Full,
        weights: CaptionWeights::default(),
        captions_per_image: 1,
        drop_last: false,
        excluded: Vec::new(),
    };
    let order = Order::new(spec, &pairs.shard_rows()).unwrap();
    let shape = Shape { crop: None, random_crop: false, max_tokens: 64, padding: Padding::Longest };
    let batcher = Batcher::new(pairs, order, shape).unwrap();
    let (mut shown, mut sides) = ([0, 0], 0);
    // Often enough that rows are read alone at first and whole shards later.
    for epoch in 0..80 {
        let batch = batcher.batch(epoch, 0).unwrap();
        for (place, key) in batch.keys.iter().enumerate() {
            let view = batch.views[place] as usize;
            let find = |view: usize| views[view].iter().find(|row| row.key == key).unwrap();
            let caption = batch.captions[place] as usize;
            let ids = &find(view).captions[caption].tokens.0;
            let length = batch.lengths[place] as usize;
            assert_eq!(batch.tokens[place * batch.max_len..][..length], ids[..], "{key} in view {view}");
            shown[view] += 1;
            sides += usize::from(*ids != find(1 - view).captions[caption].tokens.0);
        }
    }
    assert_eq!(shown, [120, 120]);
    assert_eq!(sides, 40 + 80, "one of p0's two captions and p2's only one say a side");
}

#[test]
fn the_number_of_jobs_never_shows_in_captions() {
    let world = World::with_photos(40);
    write(&world.path("dict"), WORDS);
    let line = |at: usize| format!("p{at}.jpg,A dog number {at} is running to the left of a small child\n");
    world.write("captions.txt", format!("image,caption\n{}", (0..40).map(line).collect::<String>()));
    with_filter(&world, "tr a-z b-za");
    let line = format!("{FLICKR} --augment augment.toml --flip 0.5 --synonyms 0.2 --shard-rows 15");
    world.prepare(&format!("{line} --out one --jobs 1"));
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.prepare(&format!("{line} --out four --jobs 4"));
    world.same("one", "four");
}

#[test]
fn a_rerun_asks_the_filter_for_nothing_that_it_gave_before() {
    let world = world();
    with_filter(&world, "tee -a asked.txt | tr a-z A-Z");
    let asked = || fs::read_to_string(world.path("asked.txt")).unwrap().lines().count();
    world.prepare(&format!("{FLICKR} --out out --augment augment.toml"));
    assert_eq!(asked(), 5);
    world.prepare(&format!("{FLICKR} --out again --augment augment.toml"));
    assert_eq!(asked(), 5);
    world.same("out", "again");
    let captions = fs::read_to_string(world.path("captions.txt")).unwrap();
    world.write("captions.txt", format!("{captions}p2.jpg,Two dogs walk\np2.jpg,a new one\n"));
    world.prepare(&format!("{FLICKR} --out more --augment augment.toml"));
    assert_eq!(asked(), 6, "only the caption that is new");
    with_filter(&world, "tee -a asked.txt | tr a-z a-z");
    world.prepare(&format!("{FLICKR} --out other --augment augment.toml"));
    assert_eq!(asked(), 12, "another command has nothing yet");
}

/// Apertium's English–Spanish pair where it is installed, else something that rewords as roughly.
fn translator() -> &'static str {
    let there_and_back = "apertium -u eng-spa | apertium -u spa-eng";
    let listed = Command::new("apertium").arg("-l").output();
    let pairs = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let has = |pair: &str| pairs.lines().any(|line| line.trim() == pair);
    if has("eng-spa") && has("spa-eng") { there_and_back } else { "sed 's/ on / in /; s/^A /The /'" }
}

#[test]
fn captions_go_there_and_back() {
    let cache = tempfile::tempdir().unwrap();
    let (timeout, cache) = (Duration::from_secs(600), Location::local(cache.path()));
    let filter = Filter { command: translator().into(), timeout, cache };
    let captions = ["A man is reading a newspaper on a bench .", "A woman wears a blue scarf .", "A cat"];
    let translate = || filter.translate(captions.into_iter(), Verbosity::Quiet).unwrap();
    let (first, again) = (translate(), translate());
    assert!(first.of(captions[0]).is_some_and(|text| text.contains("reading a newspaper in a")));
    for caption in captions {
        assert!(first.of(caption) != Some(caption) && first.of(caption) == again.of(caption), "{caption}");
    }
}

#[track_caller]
fn fails(command: &str, timeout: Duration, expected: &str) {
    let cache = tempfile::tempdir().unwrap();
    let filter = Filter { command: command.into(), timeout, cache: Location::local(cache.path()) };
    let translated = filter.translate(["a dog", "a\ncat", "a dog"].into_iter(), Verbosity::Quiet);
    let error = format!("{:#}", translated.err().unwrap());
    assert_eq!(error, format!("--back-translate: `{command}` {expected}"));
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "nothing of a batch that failed is kept");
}

#[test]
fn a_filter_that_fails_is_named_with_what_it_said() {
    let long = Duration::from_secs(600);
    fails("echo no model >&2; exit 3", long, "failed: exit status: 3; it said: no model");
    fails("head -n 1", long, "gave 1 lines for 2 captions, not one for each");
    fails("cat; echo more", long, "gave 3 lines for 2 captions, not one for each");
    fails("printf '\\377\\n\\n'", long, "gave no UTF-8");
    let given =
        "did not end within 0 seconds for 2 captions; --back-translate-timeout gives it more; it said: wait";
    fails("echo wait >&2; while :; do :; done | cat", Duration::from_millis(300), given);
}

#[test]
fn what_came_back_before_a_failure_is_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, ready) = (folder.path().join("asked"), folder.path().join("ready"));
    let command = format!(
        "tee -a {} | awk -v ready={} '{{ print }} /number 2000/ {{ exit system(\"test -e \" ready) }}'",
        asked.display(),
        ready.display()
    );
    let cache = Location::local(folder.path().join("cache"));
    let filter = Filter { command, timeout: Duration::from_secs(600), cache };
    let captions: Vec<String> = (0..2003).map(|number| format!("number {number}")).collect();
    let translate = || filter.translate(captions.iter().map(String::as_str), Verbosity::Quiet);
    let error = translate().err().unwrap().to_string();
    assert!(error.ends_with("failed: exit status: 1"), "{error}");
    fs::write(&ready, "").unwrap();
    let error = translate().err().unwrap().to_string();
    assert!(error.ends_with("gave 1 lines for 3 captions, not one for each"), "{error}");
    let lines = fs::read_to_string(asked).unwrap().lines().count();
    assert_eq!(lines, 2000 + 3 + 3, "the first batch was kept");
}

#[test]
fn what_comes_back_empty_or_as_it_was_is_no_caption() {
    let cache = tempfile::tempdir().unwrap();
    let command = "sed 's/cat/ /; s/^a dog$/ a dog /; s/bird/crow/'";
    let (timeout, cache) = (Duration::from_secs(600), Location::local(cache.path()));
    let filter = Filter { command: command.into(), timeout, cache };
    let captions = ["cat", "a dog", "a\nbird", "one\ntwo"];
    let found = filter.translate(captions.into_iter(), Verbosity::Quiet).unwrap();
    assert_eq!(captions.map(|caption| found.of(caption)), [None, None, Some("a crow"), None]);
}

#[test]
fn settings_that_are_wrong_are_named() {
    let world = world();
    let fail = |options: &str| world.fail(&format!("{FLICKR} --out out {options}"));
    assert_eq!(fail("--synonyms 1.5"), "error: --synonyms: a probability is between 0 and 1, not 1.5\n");
    assert_eq!(
        fail("--synonyms 0.5 --wordnet photos"),
        "error: --wordnet: photos holds no WordNet dictionary (index.noun, data.noun and so on)\n"
    );
    assert_eq!(
        fail("--back-translate cat --back-translate-timeout 0"),
        "error: --back-translate-timeout: a batch takes a second or more\n"
    );
    world.write("augment.toml", "synonym = 0.3");
    assert_eq!(
        fail("--augment augment.toml"),
        "error: --augment: augment.toml: there is no key `synonym`; did you mean `synonyms`?\n"
    );
    world.write("augment.toml", "back_translate = 3");
    assert_eq!(
        fail("--augment augment.toml"),
        "error: --augment: augment.toml: `back_translate` is a text\n"
    );
}

#[test]
fn another_dictionary_or_command_is_refused_and_named() {
    let world = world();
    world.prepare(&format!(
        "{FLICKR} --out out --synonyms 1 --wordnet dict --back-translate cat --back-translate-cache cache"
    ));
    let options = &world.dataset("out").manifest.options;
    assert_eq!((&options["synonyms"], &options["back_translate"]), (&1.0.into(), &"cat".into()));
    let manifest = fs::read_to_string(world.path("out/_manifest.json")).unwrap();
    assert!(!manifest.contains("cache") && !manifest.contains("dict"), "{manifest}");
    let before = options["wordnet"].as_str().unwrap()[..12].to_owned();
    write(&world.path("dict"), &WORDS[1..]);
    let stderr = world.fail(&format!("{FLICKR} --out out --size 16 --synonyms 0.5 --wordnet dict"));
    let expected = "error: --out: out was made with other options: --synonyms: 1.0 there, 0.5 here; \
                    --back-translate: cat there, none here; --wordnet: ";
    assert!(stderr.starts_with(&format!("{expected}{before}… there, ")), "{stderr}");
}
