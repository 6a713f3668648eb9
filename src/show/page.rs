//! The frame that all pages share: head, style, escaping, embedded pictures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const STYLE: &str = include_str!("page.css");

/// A whole HTML document around `body`, which is taken as markup; `title` is escaped.
/// Its content policy forbids everything but inline style and `data:` pictures.
pub fn frame(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// Text as it must stand in markup, inside or outside of quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// An `<img>` that carries its bytes (JPEG or PNG) in itself. `alt` is escaped.
pub fn picture(bytes: &[u8], alt: &str) -> String {
    let kind = if bytes.starts_with(b"\x89PNG") { "png" } else { "jpeg" };
    format!("<img src=\"data:image/{kind};base64,{}\" alt=\"{}\">", STANDARD.encode(bytes), escape(alt))
}

/// A whole number with its thousands apart: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2,000 rows`.
pub fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number as u64))
}

/// Panics if a page would load anything from elsewhere; for the tests of all pages.
#[cfg(test)]
#[track_caller]
pub fn assert_self_contained(html: &str) {
    for foreign in ["http://", "https://", "<script", "<link", "@import", "url(", "href="] {
        assert!(!html.contains(foreign), "the page holds `{foreign}`");
    }
    assert_eq!(html.matches("src=").count(), html.matches("src=\"data:image/").count());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_data_cannot_become_markup() {
        assert_eq!(
            escape("<b a=\"1\" b='2'>&</b>"),
            "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;&lt;/b&gt;"
        );
        assert!(frame("<script>", "").contains("<title>&lt;script&gt;</title>"));
    }

    #[test]
    fn a_frame_loads_nothing() {
        assert_self_contained(&frame("a page", &picture(&[0xff, 0xd8], "a \"picture\"")));
    }

    #[test]
    fn numbers_keep_their_thousands_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "row"), counted(2000, "row")), ("1 row".into(), "2,000 rows".into()));
    }

    /// Relative luminance and contrast by WCAG 2.2.
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |colour: &str| {
            let part = |at: usize| {
                let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let (a, b) = (luminance(one) + 0.05, luminance(other) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn text_can_be_read_in_light_and_dark() {
        let (light, dark) = STYLE.split_once("prefers-color-scheme: dark").unwrap();
        for (theme, style) in [("light", light), ("dark", dark)] {
            let colour =
                |name: &str| style.split_once(&format!("--{name}: ")).unwrap().1.split(';').next().unwrap();
            for name in ["ink", "muted", "first", "second", "third", "right"] {
                for ground in ["ground", "panel"] {
                    let found = contrast(colour(name), colour(ground));
                    assert!(found >= 4.5, "{name} on {ground}, {theme}: {found:.2}");
                }
            }
        }
    }
}
