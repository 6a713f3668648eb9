//! Why a sample is left out: data, not an error of the run.

use crate::decode::DecodeError;

/// Why a sample is left out. Its `Display` is the message of the rejects table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The source names a file that is not there.
    #[error("no file {0}")]
    Missing(String),
    /// The file is there but gives no picture.
    #[error(transparent)]
    Image(#[from] DecodeError),
    /// The source's shorter side has too few pixels.
    #[error("{width}x{height} pixels: a side is shorter than {least}")]
    TooSmall {
        /// Source width in pixels.
        width: u32,
        /// Source height in pixels.
        height: u32,
        /// Fewest pixels of a side.
        least: u32,
    },
    /// The sides are too unlike.
    #[error("{0}")]
    Aspect(String),
    /// No caption, or none but empty ones.
    #[error("no caption")]
    NoCaption,
    /// Another sample, of this key, came first.
    #[error("the same as {0}")]
    Duplicate(String),
}

impl Reject {
    /// The stable name by which rejects are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Image(error) => error.kind(),
            Self::TooSmall { .. } => "too-small",
            Self::Aspect(_) => "aspect",
            Self::NoCaption => "no-caption",
            Self::Duplicate(_) => "duplicate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_cannot_be_read_keeps_its_kind_and_message() {
        let reject = Reject::from(DecodeError::Empty);
        assert_eq!((reject.kind(), reject.to_string()), ("empty", "the file is empty".to_owned()));
    }

    #[test]
    fn a_missing_file_is_named() {
        assert_eq!(Reject::Missing("a/b.jpg".to_owned()).to_string(), "no file a/b.jpg");
    }
}
