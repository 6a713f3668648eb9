//! One crate of integration tests (each further one would link arrow and libtorch again), a module a boundary.

mod augment;
mod decode;
mod load;
mod shard;
mod shards;
