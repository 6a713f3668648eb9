//! The contact sheet as a page.

use super::{SheetRow, SheetView, thumbnails, words};
use crate::sample::{CaptionKind, Crop};
use crate::show::page::{counted, escape, frame, picture};

/// Longer side of the clean view where it stands for the source, in pixels.
pub(in crate::show) const THUMBNAIL: u32 = 96;

/// What a reader has to know of views.
const VIEWS: &str = "View 0 is the clean picture. A box is the part of the source that a view shows, drawn on the clean \
    picture; below stand its size and place in pixels of the source, and what was done to the colours (×1 is no change).";

/// A page of all rows: the views of a key side by side, below them its key and captions.
pub fn html(title: &str, rows: &[SheetRow]) -> String {
    let views = rows.iter().map(|row| row.views.len()).max().unwrap_or(1).max(1);
    let strips = if views > 2 { " strips" } else { "" }; // captions beside the pictures, not below
    let body = match rows {
        [] => "<p class=\"empty\">There are no rows to show.</p>\n".to_owned(),
        rows => format!(
            "<p class=\"lead\">{}, {}</p>\n{}<section class=\"sheet{strips}\" style=\"--views:{views}\">\n{}</section>\n",
            counted(rows.len(), "image"),
            counted(views, "view"),
            if views > 1 { format!("<p class=\"note\">{VIEWS}</p>\n") } else { String::new() },
            rows.iter().map(article).collect::<String>()
        ),
    };
    frame(title, &format!("<h1>{}</h1>\n{body}", escape(title)))
}

fn article(row: &SheetRow) -> String {
    let source = thumbnail(row);
    let views: String = row.views.iter().map(|view| figure(row, view, source.as_deref())).collect();
    let size = row
        .source
        .map(|(width, height)| format!(" <span class=\"whole\">· source {width}×{height}</span>"))
        .unwrap_or_default();
    let captions: String = row.captions.iter().map(|(kind, text)| caption(*kind, text)).collect();
    format!(
        "<article><div class=\"views\">{views}</div><div><span class=\"key\">{}{size}</span>\
         <ul class=\"captions\">{captions}</ul></div></article>\n",
        escape(&row.key)
    )
}

fn figure(row: &SheetRow, view: &SheetView, thumbnail: Option<&str>) -> String {
    let alt = row.captions.first().map_or("", |(_, text)| text);
    let image = match view.picture.as_ref().and_then(|stored| stored.to_file().ok()) {
        Some(bytes) => picture(&bytes, alt),
        None => "<div class=\"missing\">no picture</div>".to_owned(),
    };
    let thumbnail = thumbnail.filter(|_| view.view > 0); // view 0 is what it shows
    let region = |crop| region(crop, row.source, thumbnail, &words::crop(crop, row.source));
    let region = view.crop.map(region).unwrap_or_default();
    let swapped: String =
        view.captions.iter().map(|text| format!("<div>here: {}</div>", escape(text))).collect();
    format!(
        "<figure>{image}<figcaption>{region}<div><b>view {}</b> {}</div>{swapped}</figcaption></figure>",
        view.view,
        words::augment(view.augment)
    )
}

/// What is known of the source: the clean view, small and where it lies in it. `None` where view 0 is not
/// a part of the source.
fn thumbnail(row: &SheetRow) -> Option<String> {
    let clean = row.views.first().filter(|_| !row.padded)?;
    let ((width, height), crop) = (row.source?, clean.crop?);
    let small = thumbnails::jpeg(clean.picture.as_ref()?, THUMBNAIL)?;
    Some(lain(&small, crop, width, height))
}

/// A small picture of a region of the source, where that lies in its parent.
pub(in crate::show) fn lain(small: &[u8], crop: Crop, width: i32, height: i32) -> String {
    format!("<div {}>{}</div>", placed(crop, width, height), picture(small, ""))
}

/// A region of the source as a part of its parent.
fn placed(crop: Crop, width: i32, height: i32) -> String {
    let share = |part: f32, whole: i32| 100.0 * part / whole as f32;
    let (left, top) = (share(crop.x, width), share(crop.y, height));
    let (wide, high) = (share(crop.width, width), share(crop.height, height));
    format!("style=\"left:{left:.1}%;top:{top:.1}%;width:{wide:.1}%;height:{high:.1}%\"")
}

/// Where in the source the view lies: drawn to scale, on what is known of the source, and in words.
pub(in crate::show) fn region(
    crop: Crop,
    source: Option<(i32, i32)>,
    thumbnail: Option<&str>,
    words: &str,
) -> String {
    let drawing = source.map(|(width, height)| {
        let (seen, big) = (thumbnail.unwrap_or_default(), if thumbnail.is_some() { " seen" } else { "" });
        let frame_of = placed(crop, width, height);
        format!(
            "<div class=\"crop{big}\" style=\"aspect-ratio:{width}/{height}\">{seen}<i {frame_of}></i></div>"
        )
    });
    format!("<div class=\"region\">{}<span>{words}</span></div>", drawing.unwrap_or_default())
}

/// A caption as an item of a list, marked by its kind where it is derived.
pub(in crate::show) fn caption(kind: CaptionKind, text: &str) -> String {
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
            padded: false,
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
    fn a_crop_is_drawn_on_the_clean_view_where_that_is_a_part_of_the_source() {
        let mut row = row("a dog");
        row.views[0].crop = Some(Crop { x: 80.0, y: 0.0, width: 480.0, height: 480.0 });
        row.views[1].crop = Some(Crop { x: 320.0, y: 120.0, width: 160.0, height: 240.0 });
        let page = html("sheet", &[row.clone()]);
        assert_self_contained(&page);
        let (clean, crop) = (
            "<div class=\"crop seen\" style=\"aspect-ratio:640/480\">\
             <div style=\"left:12.5%;top:0.0%;width:75.0%;height:100.0%\"><img src=",
            "<i style=\"left:50.0%;top:25.0%;width:25.0%;height:50.0%\"></i></div>",
        );
        assert!(page.contains(clean) && page.contains(crop), "{page}");
        assert_eq!(page.matches("<img").count(), 2, "the clean view, and once more below the other");
        row.padded = true;
        let page = html("sheet", &[row]);
        assert!(!page.contains("crop seen") && page.contains(crop));
    }

    #[test]
    fn a_sheet_of_nothing_says_so() {
        assert!(html("sheet", &[]).contains("There are no rows to show."));
    }
}
