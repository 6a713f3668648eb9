//! Further views and captions of a sample.

mod hue;
pub mod image;
pub mod text;
