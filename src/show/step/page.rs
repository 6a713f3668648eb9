//! A step's batch as a page.

use super::{crop, shown};
use crate::sample::Crop;
use crate::show::page::{counted, escape, frame, picture};
use crate::show::sheet::page::{THUMBNAIL, caption, lain, region};
use crate::show::sheet::{self, thumbnails, words};
use crate::train::replay::{Pair, Seen};

/// A page of the pairs of a step, in the order of the batch; `all` is how many the step had.
pub fn html(run: &str, seen: &Seen, all: usize) -> String {
    let most = seen.pairs.iter().filter_map(|pair| pair.loss).fold(0.0, f32::max);
    let figures: String = seen.pairs.iter().enumerate().map(|(at, pair)| figure(at, pair, most)).collect();
    let title = format!("{run} / step {}", seen.step);
    frame(
        &title,
        &format!(
            "<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<p class=\"note\">{}</p>\n<section class=\"batch\">\n{figures}</section>\n",
            escape(&title),
            lead(seen, all),
            note(seen)
        ),
    )
}

/// `epoch 0, stage “both”: 64 pairs, loss 2.31`
fn lead(seen: &Seen, all: usize) -> String {
    let pairs = match seen.pairs.len() {
        shown if shown < all => format!("the first {shown} of {}", counted(all, "pair")),
        _ => counted(all, "pair"),
    };
    let loss = match &seen.logged {
        Some(line) => line
            .loss
            .map_or(", skipped: loss or gradient was not finite".into(), |loss| format!(", loss {loss:.4}")),
        None => String::new(),
    };
    format!("epoch {}, stage “{}”: {pairs}{loss}", seen.epoch, escape(&seen.stage))
}

fn note(seen: &Seen) -> String {
    let log = match &seen.logged {
        Some(_) => "The keys are those that the log has of this step.",
        None => "The log has no line of this step: so it was, or will be, by the config.",
    };
    let losses = match seen.pairs.iter().any(|pair| pair.loss.is_some()) {
        true => {
            "A pair's loss is its part of the contrastive loss, which is their mean; bars compare it with the largest here."
        }
        false => "The run has not written down what each pair costs (run.log_pairs).",
    };
    format!(
        "In the order of the batch, as the model saw them. View: what is stored; step: what was done to it on top; the box: \
         which part of it is shown. {log} {losses}"
    )
}

fn figure(at: usize, pair: &Pair, most: f32) -> String {
    let stored = &pair.stored;
    let image = match (&pair.picture, shown(pair).and_then(|shown| shown.to_file().ok())) {
        (Ok(_), Some(file)) => picture(&file, pair.captions.first().map_or("", |(_, text)| text)),
        (Err(why), _) => format!("<div class=\"missing\">left out of the loss: {}</div>", escape(why)),
        (Ok(_), None) => "<div class=\"missing\">no picture</div>".to_owned(),
    };
    let captions: String = pair.captions.iter().map(|(kind, text)| caption(*kind, text)).collect();
    let done =
        pair.augment.map(|augment| format!("<div><b>step</b> {}</div>", words::augment(Some(augment))));
    format!(
        "<figure>{image}<figcaption>{}<ul class=\"captions\">{captions}</ul>\
         <div class=\"key\">{} · {}</div><div><b>view {}</b> {}</div>{}{}</figcaption></figure>\n",
        loss(pair.loss, most),
        at,
        escape(&stored.key),
        stored.view,
        words::augment(stored.augment),
        done.unwrap_or_default(),
        crop(pair).map(|crop| cut(crop, pair)).unwrap_or_default()
    )
}

/// A loss as a number and as a bar beside the largest.
fn loss(loss: Option<f32>, most: f32) -> String {
    let Some(loss) = loss else { return String::new() };
    let share = if most > 0.0 { 100.0 * loss / most } else { 0.0 };
    format!("<div class=\"cost\"><b>loss {loss:.3}</b><i><i style=\"width:{share:.0}%\"></i></i></div>")
}

/// Where in the stored picture the square lies.
fn cut(crop: Crop, pair: &Pair) -> String {
    let (width, height) = (pair.stored.width, pair.stored.height);
    let whole = Crop { x: 0.0, y: 0.0, width: width as f32, height: height as f32 };
    let words = match crop == whole {
        true => format!("all of {width}×{height}"),
        false => format!("{} of {width}×{height}", words::crop(crop, None)),
    };
    let stored = sheet::picture(pair.stored.stored.clone(), width, height);
    let small = stored.and_then(|stored| thumbnails::jpeg(&stored, THUMBNAIL)).filter(|_| crop != whole);
    let small = small.map(|small| lain(&small, whole, width, height));
    region(crop, Some((width, height)), small.as_deref(), &words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Cut;
    use crate::sample::{Augment, CaptionKind, Rgb, Sample, Stored};
    use crate::show::page::assert_self_contained;

    fn pair(loss: Option<f32>) -> Pair {
        let stored = Sample {
            key: "<key>".into(),
            image_id: 1,
            view: 1,
            stored: Stored::Raw(vec![7; 48]),
            width: 4,
            height: 4,
            source_width: 8,
            source_height: 8,
            crop: Crop { x: 0.0, y: 0.0, width: 8.0, height: 8.0 },
            augment: Some(Augment { flip: true, ..Augment::NONE }),
            captions: Vec::new(),
            meta: None,
            source_sha256: [0; 32],
        };
        Pair {
            picture: Ok(Rgb::new(2, 2, vec![9; 12])),
            cut: Some(Cut { x: 2, y: 0, side: 2 }),
            augment: Some(Augment { brightness: 1.25, ..Augment::NONE }),
            captions: vec![(CaptionKind::Original, "a <dog>".into())],
            loss,
            stored,
        }
    }

    fn page(pairs: Vec<Pair>) -> String {
        let seen = Seen { step: 3, epoch: 1, stage: "all".into(), logged: None, pairs };
        html("run", &seen, 2)
    }

    #[test]
    fn a_pair_is_shown_with_what_was_done_to_it_and_what_it_cost() {
        let page = page(vec![pair(Some(1.0)), pair(Some(4.0))]);
        assert_self_contained(&page);
        for part in [
            "<h1>run / step 3</h1>",
            "epoch 1, stage “all”: 2 pairs</p>",
            "<b>loss 1.000</b><i><i style=\"width:25%\">",
            "<li>a &lt;dog&gt;</li>",
            "1 · &lt;key&gt;",
            "<b>view 1</b> mirrored",
            "<b>step</b> brightness\u{a0}×1.25",
            "2×2 at\u{a0}(2,\u{a0}0) of 4×4",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn a_row_left_out_says_why_and_a_page_that_is_cut_says_of_how_many() {
        let mut bad = pair(None);
        (bad.picture, bad.cut) = (Err("it is cut".into()), None);
        let page = page(vec![bad]);
        assert!(page.contains("left out of the loss: it is cut") && page.contains("the first 1 of 2 pairs"));
        assert!(page.contains("run.log_pairs") && !page.contains("class=\"cost\""));
    }
}
