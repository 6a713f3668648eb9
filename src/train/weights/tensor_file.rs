//! A safetensors file, read a tensor at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Metadata, TensorInfo};
use tch::Tensor;

/// A whole safetensors file whose header was read.
#[derive(Debug)]
pub struct TensorFile {
    file: File,
    header: Metadata,
    /// Where the tensors begin, in bytes.
    data: u64,
}

impl TensorFile {
    /// Reads a file's header, and whether the file is as long as that says: eight bytes of header length, the header,
    /// and the last tensor's end in it.
    ///
    /// # Errors
    /// If it cannot be read, is cut or is another file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).context("it is cut")?;
        let size = u64::from_le_bytes(size);
        ensure!(size <= length, "it is cut, or no safetensors file");
        let mut header = Vec::new();
        (&mut file).take(size).read_to_end(&mut header)?;
        let header: Metadata = serde_json::from_slice(&header).context("its header is damaged")?;
        let data = 8 + size;
        let whole = data + header.data_len() as u64;
        ensure!(length == whole, "it has {length} bytes instead of {whole}");
        Ok(Self { file, header, data })
    }

    /// Kind, size and place of each tensor, by name.
    pub fn tensors(&self) -> HashMap<String, &TensorInfo> {
        self.header.tensors()
    }

    /// A tensor on the CPU; its bytes go through `buffer`.
    ///
    /// # Errors
    /// If the disk fails or libtorch lacks its kind.
    pub fn read(&self, info: &TensorInfo, buffer: &mut Vec<u8>) -> Result<Tensor> {
        let (from, to) = info.data_offsets;
        buffer.resize(to - from, 0);
        self.file.read_exact_at(buffer, self.data + from as u64)?;
        Ok(Tensor::f_from_data_size(buffer, &size(info), super::kind(info.dtype)?)?)
    }
}

/// The size of a tensor as libtorch gives it.
pub fn size(info: &TensorInfo) -> Vec<i64> {
    info.shape.iter().map(|&side| side as i64).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::train::weights::write_tensors;

    #[test]
    fn a_file_that_is_not_whole_is_told_by_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensor = Tensor::from_slice(&[1f32, 2.0]);
        write_tensors(&path, &[("a".to_owned(), tensor)].into()).unwrap();
        TensorFile::open(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let check = |bytes: &[u8], message: &str| {
            fs::write(&path, bytes).unwrap();
            assert_eq!(TensorFile::open(&path).unwrap_err().to_string(), message);
        };
        let length = bytes.len();
        check(&bytes[..length - 1], &format!("it has {} bytes instead of {length}", length - 1));
        check(&bytes[..20], "it is cut, or no safetensors file");
        check(&bytes[..3], "it is cut");
        check(b"\x02\0\0\0\0\0\0\0{,", "its header is damaged");
    }
}
