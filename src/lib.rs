//! Mill image–text pairs into Parquet shards; fine-tune CLIP from them.
//!
//! ```text
//! photos + captions ── prepare ──▶ shards ── load ──▶ batches ── train ──▶ run ── clip ──▶ recalls, search
//!                                    │                                      │
//!                                    └───────────────── show ───────────────┘
//! ```
//!
//! A module imports only what stands below it:
//! `cli → show → train → {prepare, load} → shard → store → {sample, seed, files, progress}`;
//! [`decode`] stands below `prepare` and `load`, [`export`] beside them.
#![warn(missing_docs)]

pub mod cli;
pub mod decode;
pub mod export;
pub mod files;
pub mod load;
pub mod prepare;
pub mod progress;
pub mod sample;
pub mod seed;
pub mod shard;
pub mod show;
pub mod store;
pub mod train;
