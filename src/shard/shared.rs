//! A file for the Parquet reader that threads share.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::files::Positioned;

/// A file that is read by offsets: `File` itself is read from one place that all threads move.
pub struct Shared(pub Arc<File>);

impl Length for Shared {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for Shared {
    type T = BufReader<Positioned>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(Positioned::new(self.0.clone(), start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len()) {
            let ends =
                format!("bytes {start} to {} are wanted of a file of {}", start + length as u64, self.len());
            return Err(ParquetError::EOF(ends));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}
