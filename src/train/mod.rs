//! Shards → a fine-tuned CLIP, and what is done with one. Only this module knows `tch`.

pub mod augment;
mod bad_samples;
pub mod checkpoint;
mod claim;
pub mod config;
pub mod device;
pub mod ema;
pub mod embed;
pub mod export;
mod features;
pub mod feed;
pub mod grad_cache;
pub mod hub;
pub mod index;
mod journal;
pub mod layer_decay;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod optim;
pub mod recall;
mod run;
pub mod schedule;
pub mod search;
pub mod settings;
mod skip;
pub mod stages;
mod tensorboard;
pub mod trained;
pub mod trainer;
pub mod weights;
pub mod zero_shot;

pub use run::{Ending, Request, run};
