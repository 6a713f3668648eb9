//! What `schemas/` says is what the code does.

use arrow::datatypes::{DataType, Field, Fields};
use pairmill::shard::Pixels;
use pairmill::shard::schema::arrow_schema;

/// The README's lines for a column and all that is in it.
fn described(prefix: &str, field: &Field, lines: &mut Vec<(String, String)>) {
    let name = format!("{prefix}{}", field.name());
    let null = if field.is_nullable() { ", nullable" } else { "" };
    let mut parts: Option<&Fields> = None;
    let kind = match field.data_type() {
        DataType::Utf8 => "string",
        DataType::Binary => "binary",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt32 => "uint32",
        DataType::Float32 => "float",
        DataType::Boolean => "boolean",
        DataType::Struct(fields) => {
            parts = Some(fields);
            "group"
        }
        DataType::List(element) => match element.data_type() {
            DataType::Struct(fields) => {
                parts = Some(fields);
                "list of groups"
            }
            DataType::Int32 => "list of int32",
            other => panic!("the README has no word for a list of {other}"),
        },
        other => panic!("the README has no word for {other}"),
    };
    lines.push((name.clone(), format!("{kind}{null}")));
    for part in parts.into_iter().flatten() {
        described(&format!("{name}."), part, lines);
    }
}

#[test]
fn the_readme_describes_every_column_with_its_type() {
    let (image, raw) = (arrow_schema(Pixels::Image), arrow_schema(Pixels::Raw { side: 1 }));
    let mut expected = Vec::new();
    for field in image.fields() {
        described("", field, &mut expected);
        if field.name() == "image" {
            described("", raw.field_with_name("pixels").unwrap(), &mut expected);
        }
    }
    let rows = include_str!("../../schemas/README.md").split("\n## Rows").nth(1).unwrap();
    let rows = rows.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let found: Vec<_> =
        cells.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())).collect();
    assert_eq!(found, expected);
}
