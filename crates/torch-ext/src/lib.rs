//! What `tch` lacks of libtorch, behind a safe face: bf16 autocast, fused AdamW and its companions,
//! memory formats, ways to a device and back through pinned memory, the CUDA half loaded at run time, and an end that
//! leaves its globals alone.
//!
//! The C++ side is `ext.cpp`. Every exception is caught there and becomes an [`Error`] here.

#![warn(missing_docs)]

mod autocast;
mod cuda;
mod download;
mod ffi;
mod layout;
mod optim;
mod process;
mod upload;

pub use autocast::Autocast;
pub use cuda::{Memory, allow_tf32, load_cuda, memory};
pub use download::{Download, Event};
pub use layout::{channels_last, to_channels_last};
pub use optim::{Rule, Slot, clip_gradients, copy_all, drop_gradients, fused_adamw};
pub use process::exit_now;
pub use upload::{send, upload};

/// What libtorch says is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);
