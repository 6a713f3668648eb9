//! What can go wrong between a shard and a batch.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;

use super::order::OrderError;

/// One row of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The shard's file.
    pub shard: PathBuf,
    /// Row in it, from 0.
    pub row: usize,
    /// The row's key.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of {}, key {}", self.row, self.shard.display(), self.key)
    }
}

/// Why a batch cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A shard cannot be read at all.
    #[error("{0}")]
    Shard(String),
    /// One row is damaged: a bad sample.
    #[error("{place}: {why}")]
    Sample {
        /// Where it is.
        place: Place,
        /// What is wrong with it.
        why: String,
    },
    /// A row has no caption of a kind that is used.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A bug.
    #[error("{}a loader thread panicked: {message}", .place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
    Panic {
        /// The row that was worked on, where it is known.
        place: Option<Place>,
        /// The panic's message.
        message: String,
    },
}

impl LoadError {
    /// A shard's error in all its words.
    pub(super) fn shard(error: anyhow::Error) -> Self {
        Self::Shard(format!("{error:#}"))
    }

    /// Whether one row's picture is at fault, and other rows may be fine.
    pub fn is_of_a_sample(&self) -> bool {
        matches!(self, Self::Sample { .. } | Self::Panic { place: Some(_), .. })
    }

    /// The error of a caught panic.
    pub(super) fn panicked(place: Option<Place>, payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panic { place, message: message.unwrap_or_else(|| "without a message".into()) }
    }
}
