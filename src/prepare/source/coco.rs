//! MS COCO captions: `captions_train2017.json` and its like, or Karpathy's `dataset_coco.json`.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Fault, Karpathy, Listing, Row, Splits, read_text};
use crate::store::Location;

/// Images and their caption files.
#[derive(Clone, Debug)]
pub struct Coco {
    /// Folders and zips that images are looked for in, in order.
    pub images: Vec<Location>,
    /// Which captions.
    pub captions: Captions,
}

/// The two forms that COCO's captions come in.
#[derive(Clone, Debug)]
pub enum Captions {
    /// COCO's own files, each a split.
    Files(Vec<CaptionFile>),
    /// Karpathy's one file over all splits.
    Karpathy(Location),
}

/// One caption file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionFile {
    /// Split of its images; the default one where `None`.
    pub split: Option<String>,
    /// The JSON file.
    pub file: Location,
}

#[derive(Deserialize)]
struct CocoFile {
    images: Vec<CocoImage>,
    annotations: Vec<CocoAnnotation>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: i64,
    file_name: String,
}

#[derive(Deserialize)]
struct CocoAnnotation {
    image_id: i64,
    caption: String,
}

impl Coco {
    /// The images in the files' order; after a file's images those that it has only captions for.
    pub(super) fn read(&self, split: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        match &self.captions {
            Captions::Karpathy(file) => read_karpathy(file, &mut listing)?,
            Captions::Files(files) => {
                for file in files {
                    read_captions(file, file.split.as_deref().unwrap_or(split), &mut listing)?;
                }
            }
        }
        Ok(listing)
    }
}

fn read_captions(source: &CaptionFile, split: &str, listing: &mut Listing) -> Result<()> {
    let (text, input) = read_text("--captions", &source.file, source.split.as_deref())?;
    listing.inputs.push(input);
    let file: CocoFile = serde_json::from_str(&text)
        .with_context(|| format!("--captions: {} is not a COCO captions file", source.file))?;
    listing.rows.extend(rows(file, split));
    Ok(())
}

fn rows(file: CocoFile, split: &str) -> Vec<Row> {
    let split = split.into();
    let row = |id: i64, name: &str| Row::new(&split, &key(id), id, name);
    let mut rows: Vec<Row> = file.images.iter().map(|image| row(image.id, &image.file_name)).collect();
    let mut places: HashMap<i64, usize> = HashMap::with_capacity(rows.len());
    for (place, image) in file.images.iter().enumerate() {
        places.entry(image.id).or_insert(place); // the first of two equal ids gets the captions
    }
    for annotation in &file.annotations {
        let place = *places.entry(annotation.image_id).or_insert_with(|| {
            rows.push(Row { fault: Some(Fault::NotListed), ..row(annotation.image_id, "") });
            rows.len() - 1
        });
        rows[place].add_caption(&annotation.caption);
    }
    rows
}

fn read_karpathy(file: &Location, listing: &mut Listing) -> Result<()> {
    let (all, input) = Karpathy::read(file)?;
    listing.inputs.push(input);
    let mut splits = Splits::default();
    for image in all.images {
        let name = &image.filename;
        let id = image
            .cocoid
            .with_context(|| format!("--karpathy: {file}: {name} has no cocoid; is it dataset_coco.json?"))?;
        let mut row = Row::new(&splits.get(&image.split), &key(id), id, name);
        row.folder = image.filepath.filter(|folder| !folder.is_empty()).map(String::into_boxed_str);
        image.sentences.iter().for_each(|sentence| row.add_caption(&sentence.raw));
        listing.rows.push(row);
    }
    Ok(())
}

fn key(id: i64) -> String {
    format!("{id:012}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(json: &str) -> Vec<Row> {
        rows(serde_json::from_str(json).unwrap(), "train")
    }

    #[test]
    fn captions_keep_the_order_of_the_file() {
        let rows = read(
            r#"{"info": {}, "images": [{"id": 9, "file_name": "9.jpg", "height": 1}, {"id": 7, "file_name": "7.jpg"}],
            "annotations": [{"id": 5, "image_id": 7, "caption": "b "}, {"id": 1, "image_id": 9, "caption": "c"},
                            {"id": 3, "image_id": 7, "caption": "\n"}, {"id": 2, "image_id": 7, "caption": "a"}]}"#,
        );
        assert_eq!(&*rows[0].key, "000000000009");
        assert!(rows[0].captions.iter().eq(["c"]));
        assert!(rows[1].captions.iter().eq(["b", "a"]) && rows[1].empty_captions == 1);
    }

    #[test]
    fn captions_of_an_image_that_is_not_listed_are_not_lost() {
        let rows = read(
            r#"{"images": [], "annotations": [{"image_id": 4, "caption": "x"}, {"image_id": 4, "caption": "y"}]}"#,
        );
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].fault, rows[0].captions.len()), (Some(Fault::NotListed), 2));
    }

    #[test]
    fn an_id_listed_twice_is_two_rows_of_one_key() {
        let image = r#"{"id": 4, "file_name": "4.jpg"}"#;
        let rows = read(&format!(
            r#"{{"images": [{image}, {image}], "annotations": [{{"image_id": 4, "caption": "x"}}]}}"#
        ));
        assert_eq!(rows.iter().map(|row| row.captions.len()).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(rows[0].key, rows[1].key);
    }
}
