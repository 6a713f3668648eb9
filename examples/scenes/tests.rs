use std::collections::HashSet;

use crate::paint::paint;
use crate::scene::{Background, Colour, Object, Relation, Scene, Shape, Size, overlap, plan, relation};
use crate::tables::split;
use crate::words::{captions, name};

fn object(size: Size, colour: Colour, shape: Shape, x: f32, radius: f32) -> Object {
    Object { size, colour, shape, x, y: 240.0, radius }
}

/// Synonyms brought to one word each.
fn plainly(caption: &str) -> String {
    [
        ("little", "small"),
        ("medium-sized", "medium"),
        ("large", "big"),
        ("to the left of", "left of"),
        ("to the right of", "right of"),
        ("over", "above"),
        ("under", "below"),
    ]
    .iter()
    .fold(caption.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn a_scene_is_told_in_five_ways() {
    let scene = Scene {
        background: Background::Striped,
        objects: vec![
            object(Size::Small, Colour::Red, Shape::Circle, 200.0, 26.0),
            object(Size::Big, Colour::Blue, Shape::Square, 400.0, 75.0),
        ],
        relations: vec![Relation::LeftOf],
        seed: 1,
    };
    assert_eq!(
        captions(&scene).map(|caption| plainly(&caption)),
        [
            "a small red circle left of a big blue square",
            "a big blue square right of a small red circle",
            "a big blue square with a small red circle to its left",
            "on a striped background there is a small red circle left of a big blue square",
            "two shapes, a small red circle and a big blue square, \
             the blue square right of the red circle",
        ]
    );
}

#[test]
fn every_relation_that_is_said_is_true_of_the_picture() {
    let phrases = [
        ("left of", Relation::LeftOf),
        ("right of", Relation::RightOf),
        ("above", Relation::Above),
        ("below", Relation::Below),
        ("to its left", Relation::LeftOf),
        ("to its right", Relation::RightOf),
    ];
    let mut said = 0;
    for scene in plan(600, 3) {
        for caption in captions(&scene) {
            let text = plainly(&caption);
            for (phrase, relation) in phrases {
                for (at, _) in text.match_indices(phrase) {
                    check_clause(&scene, &text, at, phrase, relation);
                    said += 1;
                }
            }
        }
    }
    assert!(said > 600 * 5, "only {said} relations were said");
}

/// Finds the two objects that the phrase at `at` speaks of, and looks where they stand.
#[track_caller]
fn check_clause(scene: &Scene, text: &str, at: usize, phrase: &str, told: Relation) {
    let mut mentions: Vec<(usize, &Object)> = scene
        .objects
        .iter()
        .flat_map(|o| text.match_indices(&name(o)).map(move |(place, _)| (place, o)).collect::<Vec<_>>())
        .collect();
    mentions.sort_by_key(|&(place, _)| place);
    let before = mentions.iter().rev().find(|m| m.0 < at).expect("a subject").1;
    let about_it = phrase.contains("its") || text[at + phrase.len()..].starts_with(" it");
    let (subject, other) = if about_it {
        (before, mentions[0].1)
    } else {
        let after = mentions.iter().find(|m| m.0 > at).expect("an object").1;
        let again = text[..at].ends_with(" and "); // "B right of A and above C": of B
        (if again { mentions[0].1 } else { before }, after)
    };
    assert_eq!(relation(subject, other), Some(told), "{text}");
}

#[test]
fn objects_differ_in_size_and_never_overlap() {
    for scene in plan(600, 5) {
        for (i, a) in scene.objects.iter().enumerate() {
            assert!((110.0..=530.0).contains(&(a.x - a.radius)) && a.x + a.radius <= 530.0);
            assert!((30.0..=450.0).contains(&(a.y - a.radius)) && a.y + a.radius <= 450.0);
            for b in &scene.objects[..i] {
                assert!(!overlap(a, b) && a.size != b.size && name(a) != name(b));
            }
        }
    }
}

#[test]
fn no_two_scenes_have_the_same_first_caption() {
    let scenes = plan(2000, 0);
    let told: HashSet<String> = scenes.iter().map(|scene| plainly(&captions(scene)[0])).collect();
    assert_eq!(told.len(), scenes.len());
}

#[test]
fn the_same_seed_gives_the_same_scenes_and_another_seed_others() {
    let pixels = |n, seed| plan(n, seed).iter().map(paint).collect::<Vec<_>>();
    assert_eq!(pixels(4, 9), pixels(6, 9)[..4]);
    assert_ne!(pixels(1, 9), pixels(1, 10));
}

#[test]
fn of_4000_scenes_the_last_500_test() {
    let count = |n: usize, wanted| (0..n).filter(|&i| split(i, n) == wanted).count();
    assert_eq!([3250, 250, 500], ["train", "val", "test"].map(|s| count(4000, s)));
    assert_eq!([52, 4, 8], ["train", "val", "test"].map(|s| count(64, s)));
    assert_eq!(split(3500, 4000), "test");
    assert_eq!(split(3499, 4000), "val");
}
