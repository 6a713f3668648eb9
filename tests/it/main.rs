//! One crate of integration tests (each further one would link arrow and libtorch again), a module a boundary.

mod load;
mod shard;
mod shards;
