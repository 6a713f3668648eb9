//! The caption files: COCO's, and Karpathy's with splits.

use serde_json::{Value, json};

use crate::scene::{HEIGHT, Scene, WIDTH};
use crate::words::captions;

/// Picture `index`, counted from 0; its COCO id is one more.
pub fn file_name(index: usize) -> String {
    format!("{:012}.jpg", index + 1)
}

/// COCO captions: `images` and `annotations`.
pub fn coco(scenes: &[Scene]) -> Value {
    let images: Vec<Value> = (0..scenes.len())
        .map(|i| json!({"id": i + 1, "file_name": file_name(i), "width": WIDTH, "height": HEIGHT}))
        .collect();
    let told = scenes.iter().enumerate().flat_map(|(i, s)| captions(s).map(|c| (i + 1, c)));
    let annotations: Vec<Value> = told
        .enumerate()
        .map(|(id, (image, caption))| json!({"id": id + 1, "image_id": image, "caption": caption}))
        .collect();
    json!({
        "info": {"description": "scenes of coloured shapes"},
        "images": images,
        "annotations": annotations,
    })
}

/// Karpathy's form: a record an image, with its split and its sentences.
pub fn karpathy(scenes: &[Scene]) -> Value {
    let record = |(i, scene): (usize, &Scene)| {
        let sentences: Vec<Value> =
            captions(scene).iter().enumerate().map(|(n, raw)| sentence(raw, i * 5 + n, i)).collect();
        json!({
            "filepath": "",
            "filename": file_name(i),
            "cocoid": i + 1,
            "imgid": i,
            "split": split(i, scenes.len()),
            "sentids": (i * 5..i * 5 + 5).collect::<Vec<_>>(),
            "sentences": sentences,
        })
    };
    let images: Vec<Value> = scenes.iter().enumerate().map(record).collect();
    json!({"dataset": "scenes", "images": images})
}

fn sentence(raw: &str, sentid: usize, imgid: usize) -> Value {
    let tokens: Vec<&str> =
        raw.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    json!({"tokens": tokens, "raw": raw, "imgid": imgid, "sentid": sentid})
}

/// The last eighth (at most 500) tests, the sixteenth before it (at most 250) validates.
pub fn split(index: usize, n: usize) -> &'static str {
    let test = (n / 8).min(500);
    let val = (n / 16).min(250);
    if index >= n - test {
        "test"
    } else if index >= n - test - val {
        "val"
    } else {
        "train"
    }
}
