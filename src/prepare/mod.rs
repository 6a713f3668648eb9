//! From photos and captions to shards.

pub mod augment;
pub mod encode;
pub mod reject;
pub mod resize;
pub mod tokenize;
