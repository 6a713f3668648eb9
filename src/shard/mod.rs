//! The shard format: its schema, one file of it, and the manifest over many.
//! Knows no image codec and no tensor.

mod columns;
mod duplicates;
pub mod manifest;
mod mapped;
mod open_files;
pub(crate) mod page;
pub mod reader;
pub mod schema;
mod shared;
pub mod stats;
mod tables;
mod texts;
pub mod verify;
pub mod writer;

pub use manifest::{Dataset, Manifest, ShardEntry};
pub use mapped::Lines;
pub use open_files::OpenFiles;
pub use reader::{ShardReader, StoredRow, Texts};
pub use schema::Pixels;
pub use texts::{Lists, PackedTexts};
pub use writer::{ShardWriter, Written};
