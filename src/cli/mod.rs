//! Flags → checked config. `clap` stays in here; a `Config` that leaves holds only valid values.

pub mod prepare;
pub mod shards;
