//! The page of a search: a query and the pictures it found.

use std::fmt::Write;

use super::page::{counted, escape, frame, picture};

/// One found picture.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Key of the row.
    pub key: String,
    /// Similarity; cosines are shown with three digits.
    pub score: f64,
    /// The stored picture as JPEG or PNG; `None` where the shards are not at hand.
    pub picture: Option<Vec<u8>>,
    /// Its first caption; may be empty.
    pub caption: String,
    /// Known to be the answer that was looked for; marked where true.
    pub right: bool,
}

/// A page of the hits of one query, best first as given.
pub fn html(query: &str, hits: &[Hit]) -> String {
    let found = match hits.len() {
        0 => "<p class=\"empty\">Nothing was found: the index holds no pictures.</p>\n".to_owned(),
        _ => pictures(hits),
    };
    let count = counted(hits.len(), "picture");
    let body = format!(
        "<h1>{}</h1>\n<p class=\"lead\">{count}, most similar first</p>\n\
         <section style=\"margin-top:2rem\">{found}</section>\n",
        escape(query)
    );
    frame(query, &body)
}

/// The hits as a list of pictures with score, key and caption.
pub(super) fn pictures(hits: &[Hit]) -> String {
    let mut list = String::from("<ol class=\"hits\">\n");
    for hit in hits {
        let image = match &hit.picture {
            Some(bytes) => picture(bytes, &hit.caption),
            None => "<div class=\"missing\">no picture</div>".to_owned(),
        };
        let (class, mark) = mark(hit.right);
        let _ = writeln!(
            list,
            "<li{class}>{image}<div class=\"score\"><span>{:.3}</span>{mark}</div>\
             <p>{}</p><span class=\"key\">{}</span></li>",
            hit.score,
            escape(&hit.caption),
            escape(&hit.key)
        );
    }
    list + "</ol>\n"
}

/// The hits as a list of captions with score.
pub(super) fn texts(hits: &[Hit]) -> String {
    let mut list = String::from("<ol class=\"texts\">\n");
    for hit in hits {
        let (class, mark) = mark(hit.right);
        let caption = escape(&hit.caption);
        let _ = writeln!(
            list,
            "<li{class}><span class=\"value\">{:.3}</span><span>{caption}</span>{mark}</li>",
            hit.score
        );
    }
    list + "</ol>\n"
}

fn mark(right: bool) -> (&'static str, &'static str) {
    if right { (" class=\"right\"", "<span class=\"mark\">✓ right</span>") } else { ("", "") }
}

#[cfg(test)]
mod tests {
    use super::super::page::assert_self_contained;
    use super::*;

    fn hit(caption: &str, right: bool) -> Hit {
        let picture = right.then(|| vec![0xff, 0xd8]);
        Hit { key: "7<8".into(), score: 0.31249, picture, caption: caption.into(), right }
    }

    #[test]
    fn query_caption_and_key_are_escaped() {
        let page = html("<script>alert(1)</script>", &[hit("<script>alert(2)</script>", true)]);
        assert_self_contained(&page);
        assert!(page.contains("&lt;script&gt;alert(2)") && page.contains("7&lt;8") && page.contains("0.312"));
    }

    #[test]
    fn the_right_one_is_marked_in_words_too() {
        let page = html("dogs", &[hit("a", false), hit("b", true)]);
        assert_eq!((page.matches("✓ right").count(), page.matches("no picture").count()), (1, 1));
    }

    #[test]
    fn a_search_without_hits_says_so() {
        assert!(html("dogs", &[]).contains("Nothing was found"));
    }
}
