//! Further views of a sample.

mod hue;
pub mod image;
