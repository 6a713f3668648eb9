//! `left` and `right` of a mirrored picture.
//!
//! Only sides change places: nobody `has right the house`, and nothing stands `left in front of` a
//! tree. After an article, a possessive, `to` or `from` either word is a side; elsewhere a neighbour
//! has to say so (`turns left`, `left of`, `left hand`).

use std::borrow::Cow;

use super::words::{Piece, in_case_of, pieces, rewritten};

/// Words after which `left` and `right` are sides, whatever follows.
const BEFORE: &[&str] = &[
    "the", "his", "her", "their", "its", "a", "an", "to", "from", "my", "your", "our", "one's", "on", "at",
    "far", "top", "upper", "lower", "bottom", "hard", "sharp", "slightly", "extreme", "rear", "front",
];

/// Verbs of turning, whose side follows; also those of `-s`, `-ing` and `-ed`.
const TURNING: &[&str] = &[
    "turn", "face", "look", "lean", "point", "veer", "swerve", "bear", "bank", "bend", "curve", "head",
    "steer", "swing", "tilt", "glance", "gaze", "stare", "angle", "shift", "roll", "dart", "dive", "kick",
    "throw",
];

/// What may follow the side after such a verb: `looks right at the camera` is another `right`.
const AFTER_TURNING: &[&str] = &["and", "or", "to", "toward", "towards", "while", "as", "with", "on", "onto"];

/// What has two sides, one of which is named before it.
const SIDED: &[&str] = &[
    "side", "hand", "arm", "leg", "foot", "eye", "ear", "shoulder", "knee", "elbow", "wrist", "ankle",
    "cheek", "thumb", "finger", "paw", "wing", "corner", "edge", "half", "end", "lane", "turn", "shoe",
    "glove", "sleeve", "boot", "hip", "thigh", "heel", "fist", "palm", "breast", "leaf", "bank", "field",
    "hook", "page", "wheel", "tire",
];

/// The caption for the mirrored picture: sides in exchange, everything else as it was.
pub fn mirrored(caption: &str) -> Cow<'_, str> {
    if !has_side(caption) {
        return Cow::Borrowed(caption);
    }
    let pieces = pieces(caption);
    let changes: Vec<(usize, String)> =
        (0..pieces.len()).filter_map(|place| Some((place, exchanged(&pieces, place)?))).collect();
    if changes.is_empty() { Cow::Borrowed(caption) } else { rewritten(caption, &pieces, &changes).into() }
}

/// Whether the letters of a side are in it at all; most captions have none.
fn has_side(caption: &str) -> bool {
    let bytes = caption.as_bytes();
    let holds = |side: &[u8]| bytes.windows(side.len()).any(|part| part.eq_ignore_ascii_case(side));
    holds(b"left") || holds(b"right")
}

/// The other side, where the word at a place is one.
fn exchanged(pieces: &[Piece], place: usize) -> Option<String> {
    let text = pieces[place].text;
    let (first, rest) = text.split_once('-').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let (other, certain) = opposite(&first.to_lowercase())?;
    let joined = rest.is_some_and(|rest| is_sided(rest) || rest.to_lowercase().starts_with("hand"));
    let side = match rest {
        Some(_) => joined,
        None => certain || says_side(pieces, place),
    };
    let other = in_case_of(other, first);
    side.then(|| rest.map_or(other.clone(), |rest| format!("{other}-{rest}")))
}

/// The opposite word, and whether it can only be a side.
fn opposite(word: &str) -> Option<(&'static str, bool)> {
    Some(match word {
        "left" => ("right", false),
        "right" => ("left", false),
        "leftmost" => ("rightmost", true),
        "rightmost" => ("leftmost", true),
        "leftward" => ("rightward", true),
        "rightward" => ("leftward", true),
        "leftwards" => ("rightwards", true),
        "rightwards" => ("leftwards", true),
        _ => return None,
    })
}

fn says_side(pieces: &[Piece], place: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| pieces.get(at)).map(|piece| piece.text.to_lowercase());
    let (before, after) = (word(place.checked_sub(1)), word(Some(place + 1)));
    let after = after.as_deref().unwrap_or_default();
    let beyond = word(Some(place + 2)).unwrap_or_default();
    let ends = |word: &str| !word.starts_with(char::is_alphanumeric); // a mark, or nothing
    let led = before.as_deref().is_some_and(|before| {
        let turned = is_turning(before) && (ends(after) || AFTER_TURNING.contains(&after));
        BEFORE.contains(&before) || before.ends_with("'s") || before.ends_with('’') || turned
    });
    let alone = before.as_deref().is_none_or(ends) && ends(after) && !after.is_empty();
    let joined = matches!(after, "and" | "or") && matches!(beyond.as_str(), "left" | "right");
    let last = matches!(before.as_deref(), Some("and" | "or")) && {
        matches!(word(place.checked_sub(2)).as_deref(), Some("left" | "right"))
    };
    led || joined || last || alone || after == "of" || is_sided(after)
}

/// `hand`, also `hands`.
fn is_sided(word: &str) -> bool {
    let word = word.to_lowercase();
    let plural = |noun: &&str| word.strip_suffix('s') == Some(noun);
    SIDED.iter().any(|noun| word == *noun || plural(noun)) || word == "feet"
}

/// `turn`, also `turns`, `turning` and `turned`.
fn is_turning(word: &str) -> bool {
    TURNING.iter().any(|verb| {
        let stem = verb.strip_suffix('e').unwrap_or(verb);
        let end = word.strip_prefix(stem);
        end.is_some_and(|end| matches!(end, "" | "e" | "s" | "es" | "ing" | "ning" | "ed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(caption: &str, expected: &str) {
        assert_eq!(mirrored(caption), expected);
        assert_eq!(mirrored(expected), caption, "twice mirrored");
    }

    #[test]
    fn sides_change_places() {
        check("A dog on the left of a cat .", "A dog on the right of a cat .");
        check(
            "He holds it in his right hand and looks to the left.",
            "He holds it in his left hand and looks to the right.",
        );
        check("from left to right", "from right to left");
        check("A car turning left", "A car turning right");
        check("two men left of the tree", "two men right of the tree");
        check("The man's left arm", "The man's right arm");
        check("a left-handed player", "a right-handed player");
        check("the leftmost dog", "the rightmost dog");
        check("the top right corner", "the top left corner");
        check("looking left and right", "looking right and left");
        check("its left, a tree", "its right, a tree");
    }

    #[test]
    fn the_case_is_kept() {
        check("Left hand, LEFT foot, left eye", "Right hand, RIGHT foot, right eye");
        check("Left: a dog. Right: a cat (left).", "Right: a dog. Left: a cat (right).");
    }

    #[test]
    fn what_is_no_side_stays() {
        for caption in [
            "A man has left the house",
            "toys left behind on a beach",
            "a bicycle left in the rain",
            "The last one left stands alone",
            "a dog right next to a bench",
            "A boy sits right in front of the camera",
            "a bright copyright sign",
            "everything is all right",
            "cleft leftover rights",
            "right after the rain",
            "The man stares right in the camera",
            "He looks right at us",
        ] {
            assert_eq!(mirrored(caption), caption);
        }
    }
}
