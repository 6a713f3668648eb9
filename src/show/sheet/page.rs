//! The contact sheet as a page.

use std::fmt::Write;

use super::{SheetRow, SheetView, words};
use crate::sample::{CaptionKind, Crop};
use crate::show::page::{counted, escape, frame, picture};

/// A page of all rows: the views of a key side by side, below them its key and captions.
pub fn html(title: &str, rows: &[SheetRow]) -> String {
    let views = rows.iter().map(|row| row.views.len()).max().unwrap_or(1).max(1);
    let strips = if views > 2 { " strips" } else { "" }; // captions beside the pictures, not below
    let body = match rows {
        [] => "<p class=\"empty\">There are no rows to show.</p>\n".to_owned(),
        rows => format!(
            "<p class=\"lead\">{}, {}</p>\n<section class=\"sheet{strips}\" style=\"--views:{views}\">\n{}</section>\n",
            counted(rows.len(), "image"),
            counted(views, "view"),
            rows.iter().map(article).collect::<String>()
        ),
    };
    frame(title, &format!("<h1>{}</h1>\n{body}", escape(title)))
}

fn article(row: &SheetRow) -> String {
    let views: String = row.views.iter().map(|view| figure(row, view)).collect();
    let source = row
        .source
        .map(|(width, height)| format!(" <span class=\"whole\">· source {width}×{height}</span>"))
        .unwrap_or_default();
    let captions: String = row.captions.iter().map(|(kind, text)| caption(*kind, text)).collect();
    format!(
        "<article><div class=\"views\">{views}</div><div><span class=\"key\">{}{source}</span>\
         <ul class=\"captions\">{captions}</ul></div></article>\n",
        escape(&row.key)
    )
}

fn figure(row: &SheetRow, view: &SheetView) -> String {
    let alt = row.captions.first().map_or("", |(_, text)| text);
    let image = match view.picture.as_ref().and_then(|stored| stored.to_file().ok()) {
        Some(bytes) => picture(&bytes, alt),
        None => "<div class=\"missing\">no picture</div>".to_owned(),
    };
    let region = view.crop.map(|crop| region(crop, row.source)).unwrap_or_default();
    let swapped: String =
        view.captions.iter().map(|text| format!("<div>here: {}</div>", escape(text))).collect();
    format!(
        "<figure>{image}<figcaption>{region}<div><b>view {}</b> {}</div>{swapped}</figcaption></figure>",
        view.view,
        words::augment(view.augment)
    )
}

/// Where in the source the view lies: a small drawing to scale, and words.
fn region(crop: Crop, source: Option<(i32, i32)>) -> String {
    let mut text = String::from("<div class=\"region\">");
    if let Some((width, height)) = source {
        let Crop { x, y, width: w, height: h } = crop;
        let _ = write!(
            text,
            "<svg class=\"crop\" viewBox=\"0 0 {width} {height}\" aria-hidden=\"true\">\
             <rect width=\"{width}\" height=\"{height}\"/>\
             <rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"/></svg>"
        );
    }
    let _ = write!(text, "<span>{}</span></div>", words::crop(crop, source));
    text
}

fn caption(kind: CaptionKind, text: &str) -> String {
    let (name, text) = (kind.name(), escape(text));
    match kind {
        CaptionKind::Original => format!("<li>{text}</li>"),
        _ => format!("<li class=\"derived\"><span class=\"kind {name}\">{name}</span>{text}</li>"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Picture;
    use super::*;
    use crate::sample::Rgb;
    use crate::show::page::assert_self_contained;

    fn row(caption: &str) -> SheetRow {
        let view =
            |view, picture| SheetView { view, picture, crop: None, augment: None, captions: Vec::new() };
        SheetRow {
            key: "<key>".into(),
            source: Some((640, 480)),
            views: vec![view(0, Some(Picture::Rgb(Rgb::new(2, 2, vec![9; 12])))), view(1, None)],
            captions: vec![(CaptionKind::Original, caption.into()), (CaptionKind::Synonym, "a hound".into())],
        }
    }

    #[test]
    fn a_caption_with_a_script_is_only_text() {
        let page = html("sheet", &[row("<script>alert('x')</script>")]);
        assert_self_contained(&page);
        assert!(page.contains("<li>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</li>"));
    }

    #[test]
    fn all_views_stand_side_by_side_and_a_missing_picture_is_named() {
        let page = html("sheet", &[row("a dog"), row("two dogs")]);
        assert!(page.contains("2 images, 2 views") && page.contains("--views:2"));
        assert_eq!((page.matches("<img").count(), page.matches("no picture").count()), (2, 2));
    }

    #[test]
    fn derived_captions_are_marked_with_their_kind() {
        let page = html("sheet", &[row("a dog")]);
        assert!(
            page.contains("<li class=\"derived\"><span class=\"kind synonym\">synonym</span>a hound</li>")
        );
    }

    #[test]
    fn a_mirrored_view_shows_the_captions_that_are_its_own() {
        let mut row = row("a dog on the left");
        row.views[1].captions.push("a dog on the right".into());
        assert!(html("sheet", &[row]).contains("<div>here: a dog on the right</div></figcaption>"));
    }

    #[test]
    fn a_sheet_of_nothing_says_so() {
        assert!(html("sheet", &[]).contains("There are no rows to show."));
    }
}
