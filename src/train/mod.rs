//! Shards → a fine-tuned CLIP, and what is done with one. Only this module knows `tch`, and of it only
//! what the feature `train` adds: what a run is told and which rows it sees is there without.

pub mod augment;
pub mod config;
pub mod feed;
pub mod pair_losses;
pub mod replay;
pub mod schedule;
pub mod settings;
mod sources;
pub mod stages;

#[cfg(feature = "train")]
mod bad_samples;
#[cfg(feature = "train")]
pub mod checkpoint;
#[cfg(feature = "train")]
mod claim;
#[cfg(feature = "train")]
pub mod device;
#[cfg(feature = "train")]
pub mod ema;
#[cfg(feature = "train")]
pub mod embed;
#[cfg(feature = "train")]
pub mod export;
#[cfg(feature = "train")]
mod features;
#[cfg(feature = "train")]
pub mod grad_cache;
#[cfg(feature = "train")]
pub mod hub;
#[cfg(feature = "train")]
pub mod index;
#[cfg(feature = "train")]
mod interrupt;
#[cfg(feature = "train")]
mod journal;
#[cfg(feature = "train")]
pub mod layer_decay;
#[cfg(feature = "train")]
pub mod loss;
#[cfg(feature = "train")]
pub mod metrics;
#[cfg(feature = "train")]
pub mod model;
#[cfg(feature = "train")]
pub mod optim;
#[cfg(feature = "train")]
pub mod recall;
#[cfg(feature = "train")]
mod run;
#[cfg(feature = "train")]
pub mod search;
#[cfg(feature = "train")]
mod skip;
#[cfg(feature = "train")]
mod tensorboard;
#[cfg(feature = "train")]
pub mod trained;
#[cfg(feature = "train")]
pub mod trainer;
#[cfg(feature = "train")]
mod vocabulary;
#[cfg(feature = "train")]
pub mod weights;
#[cfg(feature = "train")]
pub mod zero_shot;

#[cfg(feature = "train")]
pub use run::{Ending, Request, evaluated, run};
