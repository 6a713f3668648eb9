//! One crate of integration tests (each further one would link arrow and libtorch again), a module a boundary.

mod augment;
mod decode;
#[cfg(feature = "train")]
mod golden;
mod load;
mod pixels;
mod prepare;
mod resume;
mod schemas;
mod shard;
mod shards;
#[cfg(feature = "train")]
mod train;
mod world;
