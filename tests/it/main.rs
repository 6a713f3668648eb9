//! One crate of integration tests (each further one would link arrow and libtorch again), a module a boundary.

mod augment;
mod captions;
mod dataset;
mod decode;
mod dictionary;
mod export;
mod faults;
#[cfg(feature = "train")]
mod golden;
mod json_schema;
mod kill;
mod load;
mod order;
mod pixels;
mod prepare;
mod rejects;
mod resume;
mod retokenize;
mod schemas;
mod shard;
mod shards;
mod soak;
mod sources;
mod summary;
mod synonyms;
#[cfg(feature = "train")]
mod train;
mod views;
mod world;
