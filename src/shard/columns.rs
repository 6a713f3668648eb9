//! Arrow columns → samples.

use anyhow::{Context, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float32Array, Int32Array, ListArray, RecordBatch, StringArray,
    StructArray, UInt32Array,
};
use arrow::datatypes::{Int32Type, Int64Type};

use super::reader::StoredRow;
use super::schema::Pixels;
use crate::sample::{Augment, Caption, CaptionKind, Crop, Sample, Stored, TokenIds};

/// The samples of a batch, each with the crc32c that the shard holds for it.
pub fn samples(batch: &RecordBatch, pixels: Pixels) -> Result<Vec<(Sample, u32)>> {
    let keys = strings(batch, "key")?;
    let ids = column(batch, "image_id")?.as_primitive_opt::<Int64Type>().context("image_id is no int64")?;
    let ints = |name: &str| ints(batch, name);
    let (views, widths, heights) = (ints("view")?, ints("width")?, ints("height")?);
    let (source_widths, source_heights) = (ints("source_width")?, ints("source_height")?);
    let crops: &StructArray = typed(column(batch, "crop")?, "crop")?;
    let augments: &StructArray = typed(column(batch, "augment")?, "augment")?;
    let metas = strings(batch, "meta")?;
    let sums: &UInt32Array = typed(column(batch, "crc32c")?, "crc32c")?;
    let stored = pictures(batch, pixels)?;
    let hashes = hashes(batch)?;
    let rows = captions(batch)?.into_iter().zip(stored).zip(hashes).enumerate();
    rows.map(|(row, ((captions, stored), source_sha256))| {
        let sample = Sample {
            key: keys.value(row).to_owned(),
            image_id: ids.value(row),
            view: views.value(row),
            stored,
            width: widths.value(row),
            height: heights.value(row),
            source_width: source_widths.value(row),
            source_height: source_heights.value(row),
            crop: crop(crops, row)?,
            augment: augments.is_valid(row).then(|| augment(augments, row)).transpose()?,
            captions,
            meta: metas.is_valid(row).then(|| metas.value(row).to_owned()),
            source_sha256,
        };
        Ok((sample, sums.value(row)))
    })
    .collect()
}

/// The captions of every row of a batch.
pub fn captions(batch: &RecordBatch) -> Result<Vec<Vec<Caption>>> {
    let lists = list(batch, "captions")?;
    let elements: &StructArray = typed(lists.values(), "captions")?;
    let part = |name: &str| elements.column_by_name(name).with_context(|| format!("captions lack `{name}`"));
    let texts: &StringArray = typed(part("text")?, "text")?;
    let kinds: &StringArray = typed(part("kind")?, "kind")?;
    let originals: &Int32Array = typed(part("of")?, "of")?;
    let tokens: &ListArray = typed(part("tokens")?, "tokens")?;
    let caption = |at: usize| -> Result<Caption> {
        let kind = kinds.value(at);
        Ok(Caption {
            text: texts.value(at).to_owned(),
            kind: CaptionKind::from_name(kind)
                .with_context(|| format!("no caption kind is called `{kind}`"))?,
            of: originals.value(at),
            tokens: TokenIds(tokens.value(at).as_primitive::<Int32Type>().values().to_vec()),
        })
    };
    let offsets = lists.value_offsets();
    offsets.windows(2).map(|ends| (ends[0] as usize..ends[1] as usize).map(caption).collect()).collect()
}

/// Column `source_sha256` of a batch.
pub fn hashes(batch: &RecordBatch) -> Result<Vec<[u8; 32]>> {
    let bytes: &BinaryArray = typed(column(batch, "source_sha256")?, "source_sha256")?;
    bytes
        .iter()
        .map(|hash| hash.unwrap_or_default().try_into().context("source_sha256 is not 32 bytes"))
        .collect()
}

/// Stored sizes and checksums of a batch.
pub fn stored(batch: &RecordBatch) -> Result<Vec<StoredRow>> {
    let (widths, heights) = (ints(batch, "width")?, ints(batch, "height")?);
    let sums: &UInt32Array = typed(column(batch, "crc32c")?, "crc32c")?;
    let row = |row: usize| StoredRow {
        width: widths.value(row) as u32,
        height: heights.value(row) as u32,
        crc32c: sums.value(row),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// An int32 column of a batch.
pub fn ints<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int32Array> {
    typed(column(batch, name)?, name)
}

/// A column of lists of a batch.
pub fn list<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ListArray> {
    typed(column(batch, name)?, name)
}

/// A text column of a batch.
pub fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    typed(column(batch, name)?, name)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).with_context(|| format!("column {name} is missing"))
}

/// An array as one of a type.
pub fn typed<'a, T: 'static>(array: &'a ArrayRef, name: &str) -> Result<&'a T> {
    array.as_any().downcast_ref().with_context(|| format!("column {name} has another type"))
}

/// The stored pictures of a batch.
pub fn pictures(batch: &RecordBatch, pixels: Pixels) -> Result<Vec<Stored>> {
    match pixels {
        Pixels::Raw { .. } => {
            let bytes: &BinaryArray = typed(column(batch, "pixels")?, "pixels")?;
            Ok((0..bytes.len()).map(|row| Stored::Raw(bytes.value(row).to_vec())).collect())
        }
        Pixels::Image => {
            let images: &StructArray = typed(column(batch, "image")?, "image")?;
            let bytes = images.column_by_name("bytes").context("image has no bytes")?;
            let bytes: &BinaryArray = typed(bytes, "image.bytes")?;
            Ok((0..bytes.len()).map(|row| Stored::file(bytes.value(row).to_vec())).collect())
        }
    }
}

fn crop(crops: &StructArray, row: usize) -> Result<Crop> {
    let part = |name: &str| float(crops, name, row);
    Ok(Crop { x: part("x")?, y: part("y")?, width: part("width")?, height: part("height")? })
}

fn augment(augments: &StructArray, row: usize) -> Result<Augment> {
    let part = |name: &str| float(augments, name, row);
    let flag = |name: &str| -> Result<bool> {
        let column = augments.column_by_name(name).with_context(|| format!("augment lacks `{name}`"))?;
        Ok(column.as_boolean_opt().with_context(|| format!("augment.{name} is no boolean"))?.value(row))
    };
    Ok(Augment {
        flip: flag("flip")?,
        brightness: part("brightness")?,
        contrast: part("contrast")?,
        saturation: part("saturation")?,
        hue: part("hue")?,
        grayscale: flag("grayscale")?,
    })
}

fn float(group: &StructArray, name: &str, row: usize) -> Result<f32> {
    let column = group.column_by_name(name).with_context(|| format!("field {name} is missing"))?;
    Ok(typed::<Float32Array>(column, name)?.value(row))
}
