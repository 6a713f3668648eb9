//! The row schema: `schemas/sample.v1.parquet-schema` is parsed here and nowhere repeated.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

/// Version of the row schema; a published one never changes.
pub const VERSION: u32 = 1;

/// The schema file as published.
pub const MESSAGE: &str = include_str!("../../schemas/sample.v1.parquet-schema");

/// Hugging Face `datasets` reads the declared features from the schema's metadata.
const HUGGING_FACE: &str = r#"{"info":{"features":{"image":{"_type":"Image"}}}}"#;

/// How the pictures of a shard are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// Column `image`: struct of compressed bytes and a path.
    Image,
    /// Column `pixels`: `[height, width, 3]` RGB of this one shape.
    Raw {
        /// Stored width and height in pixels.
        side: u32,
    },
}

/// The Arrow schema of a shard: every column of the schema file but the picture column not used.
pub fn arrow_schema(pixels: Pixels) -> SchemaRef {
    let message = parse_message_type(MESSAGE).expect("the schema file parses");
    let whole = parquet_to_arrow_schema(&SchemaDescriptor::new(Arc::new(message)), None)
        .expect("the schema file has an Arrow form");
    let unused = match pixels {
        Pixels::Image => "pixels",
        Pixels::Raw { .. } => "image",
    };
    let fields: Fields =
        whole.fields().iter().filter(|f| f.name() != unused).map(|f| shaped(f, pixels)).collect();
    let metadata = match pixels {
        Pixels::Image => HashMap::from([("huggingface".to_owned(), HUGGING_FACE.to_owned())]),
        Pixels::Raw { .. } => HashMap::new(),
    };
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn shaped(field: &Arc<Field>, pixels: Pixels) -> Arc<Field> {
    match pixels {
        Pixels::Raw { side } if field.name() == "pixels" => {
            let shape = HashMap::from([("shape".to_owned(), format!("[{side},{side},3]"))]);
            Arc::new(field.as_ref().clone().with_metadata(shape))
        }
        _ => field.clone(),
    }
}

/// The side in a raw shard's `shape` metadata; `None` for a shard with an `image` column.
pub fn raw_side(schema: &Schema) -> Option<u32> {
    let field = schema.field_with_name("pixels").ok()?;
    let shape: [u32; 3] = serde_json::from_str(field.metadata().get("shape")?).ok()?;
    (shape[0] == shape[1] && shape[2] == 3).then_some(shape[0])
}

/// Compares two schemas by names, types and nullability (metadata is free).
/// Gives back the first difference in words.
pub fn difference(found: &Schema, expected: &Schema) -> Option<String> {
    for field in expected.fields() {
        match found.field_with_name(field.name()) {
            Err(_) => return Some(format!("column {} is missing", field.name())),
            Ok(other) if other.data_type() != field.data_type() => {
                let (found, expected) = (other.data_type(), field.data_type());
                return Some(format!("column {} is {found}, not {expected}", field.name()));
            }
            Ok(other) if other.is_nullable() != field.is_nullable() => {
                return Some(format!("column {} has another nullability", field.name()));
            }
            Ok(_) => {}
        }
    }
    let extra = found.fields().iter().find(|field| expected.field_with_name(field.name()).is_err());
    extra.map(|field| format!("column {} is not part of the schema", field.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;

    #[test]
    fn the_image_struct_and_its_fields_are_nullable() {
        let schema = arrow_schema(Pixels::Image);
        let image = schema.field_with_name("image").unwrap();
        let DataType::Struct(fields) = image.data_type() else { panic!("{image}") };
        assert!(image.is_nullable() && fields.iter().all(|field| field.is_nullable()));
        assert_eq!(fields[0].data_type(), &DataType::Binary);
        assert!(schema.field_with_name("pixels").is_err());
    }

    #[test]
    fn a_raw_shard_says_its_shape() {
        let schema = arrow_schema(Pixels::Raw { side: 256 });
        assert_eq!(schema.field_with_name("pixels").unwrap().metadata()["shape"], "[256,256,3]");
        assert_eq!(raw_side(&schema), Some(256));
        assert!(schema.field_with_name("image").is_err());
    }

    #[test]
    fn a_difference_names_its_column() {
        let expected = arrow_schema(Pixels::Image);
        assert_eq!(difference(&expected, &expected), None);
        let raw = arrow_schema(Pixels::Raw { side: 8 });
        assert_eq!(difference(&raw, &expected).unwrap(), "column image is missing");
    }
}
