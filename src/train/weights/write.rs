//! Tensors into a safetensors file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, View};
use tch::{Device, Tensor};

use super::dtype;
use crate::files;

/// Writes tensors of any device and layout to a safetensors file, whole or not at all. The same values give the same
/// bytes.
///
/// # Errors
/// If the file cannot be written or a tensor's kind has no place in the format.
pub fn write_tensors(path: &Path, tensors: BTreeMap<String, Tensor>) -> Result<()> {
    let views: Vec<_> =
        tensors.iter().map(|(name, tensor)| Ok((name, Stored::new(name, tensor)?))).collect::<Result<_>>()?;
    // Readers of the format from other libraries want to know whose tensors these are.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .with_context(|| format!("cannot write {}", path.display()))?;
    files::write_whole(path, &bytes)
}

/// The values of a tensor of any device and layout, row by row, in the machine's byte order.
pub fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// A tensor on its way into a file.
struct Stored<'a> {
    tensor: &'a Tensor,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl<'a> Stored<'a> {
    fn new(name: &str, tensor: &'a Tensor) -> Result<Self> {
        let dtype = dtype(tensor.kind()).with_context(|| name.to_owned())?;
        Ok(Self { tensor, shape: tensor.size().iter().map(|&side| side as usize).collect(), dtype })
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        bytes_of(self.tensor).into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::train::weights::read_tensors;

    #[test]
    fn a_tensor_of_any_layout_is_saved_by_its_values_and_always_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let turned = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]).transpose(0, 1);
        let saved = |tensor: &Tensor| {
            let tensors = [("b", tensor), ("a", &Tensor::from(2.5f32))];
            let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()));
            write_tensors(&path, tensors.into_iter().collect()).unwrap();
            std::fs::read(&path).unwrap()
        };
        assert_eq!(saved(&turned), saved(&turned.contiguous()));
        assert_eq!(read_tensors(&path).unwrap()["b"], turned);
    }
}
