//! Shards → a fine-tuned CLIP, and what is done with one. Only this module knows `tch`.

pub mod augment;
mod bad_samples;
pub mod checkpoint;
mod claim;
pub mod config;
pub mod device;
pub mod embed;
mod features;
pub mod feed;
mod journal;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod optim;
pub mod recall;
mod run;
pub mod schedule;
pub mod search;
pub mod settings;
pub mod stages;
pub mod trained;
pub mod trainer;
pub mod weights;

pub use run::{Ending, Request, run};
