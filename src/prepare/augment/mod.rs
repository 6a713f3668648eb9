//! Further views of a sample.

pub mod image;
