//! A safe face over libjpeg-turbo 3: JPEGs decoded whole or in part, at full size or scaled by the
//! decoder, and pictures encoded. Always with the accurate DCT, whose results are the same bytes on
//! every machine, with and without SIMD. A warning of the library is an error here.

#![warn(missing_docs)]

mod decode;
mod encode;
mod handle;

pub use decode::{Jpeg, Region, Scale, Spare};
pub use encode::encode;

/// Version of the library that is linked.
pub const VERSION: &str = env!("LIBJPEG_TURBO_VERSION");

/// Name and version of the library that is linked.
pub const NAME: &str = concat!("libjpeg-turbo ", env!("LIBJPEG_TURBO_VERSION"));

/// What the library says is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);
