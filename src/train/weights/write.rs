//! Tensors into a safetensors file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use crc32c::crc32c_append;
use rustix::fs::{Advice, fadvise};
use safetensors::tensor::{Metadata, TensorInfo};
use tch::{Device, Tensor};

use super::dtype;
use crate::files::Pending;

/// How much of a tensor is copied at a time.
const CHUNK: usize = 4 << 20;
/// How much may lie in the page cache before the disk has it.
const UNSYNCED: usize = 64 << 20;

/// Writes tensors of any device and layout to a safetensors file, whole or not at all. The same values give the same
/// bytes. It takes little memory, and none of the page cache: a checkpoint pushes no shard out of it. Gives back the
/// CRC-32C of the file.
///
/// # Errors
/// If the file cannot be written or a tensor's kind has no place in the format.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<u32> {
    let mut file = Forgetful { pending: Pending::create(path)?, unsynced: 0, crc: 0 };
    let failed = || format!("cannot write {}", path.display());
    let order = in_order(tensors).with_context(failed)?;
    file.write(&header(&order).with_context(failed)?)?;
    let mut buffer = vec![0; CHUNK];
    for (_, _, tensor) in order {
        let values = tensor.detach().to_device(Device::Cpu).contiguous().view(-1);
        let (numel, size) = (values.numel(), values.kind().elt_size_in_bytes());
        for begin in (0..numel).step_by(CHUNK / size) {
            let numel = (CHUNK / size).min(numel - begin);
            let bytes = &mut buffer[..numel * size];
            values.narrow(0, begin as i64, numel as i64).copy_data_u8(bytes, numel);
            file.write(bytes)?;
        }
    }
    file.pending.commit()?;
    Ok(file.crc)
}

/// The values of a tensor of any device and layout, row by row, in the machine's byte order.
pub fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// A tensor's name, where it goes in the file, and itself.
type Placed<'a> = (&'a str, TensorInfo, &'a Tensor);

/// The largest elements first, so that each tensor is aligned; then by name.
fn in_order(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<Placed<'_>>> {
    let mut order = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let dtype = dtype(tensor.kind()).with_context(|| name.clone())?;
        let shape = tensor.size().iter().map(|&side| side as usize).collect();
        order.push((name.as_str(), TensorInfo { dtype, shape, data_offsets: (0, 0) }, tensor));
    }
    order.sort_by_key(|(_, info, _)| Reverse(info.dtype)); // stable, and the map is sorted by name
    let mut end = 0;
    for (_, info, tensor) in &mut order {
        info.data_offsets = (end, end + tensor.numel() * tensor.kind().elt_size_in_bytes());
        end = info.data_offsets.1;
    }
    Ok(order)
}

/// What stands before the values.
fn header(order: &[Placed]) -> Result<Vec<u8>> {
    // Readers of the format from other libraries want to know whose tensors these are.
    let ours = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let infos = order.iter().map(|(name, info, _)| ((*name).to_owned(), info.clone())).collect();
    let mut json = serde_json::to_vec(&Metadata::new(Some(ours), infos)?)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes(), &json[..]].concat())
}

/// A file whose bytes leave the page cache as soon as the disk has them.
struct Forgetful {
    pending: Pending,
    unsynced: usize,
    crc: u32,
}

impl Forgetful {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.write_all(bytes).with_context(|| self.pending.failed())?;
        self.crc = crc32c_append(self.crc, bytes);
        self.unsynced += bytes.len();
        if self.unsynced >= UNSYNCED {
            self.unsynced = 0;
            let file = self.pending.handle()?;
            file.sync_data().with_context(|| self.pending.failed())?;
            let _ = fadvise(&file, 0, None, Advice::DontNeed); // a wish: not every file system grants it
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;
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
            write_tensors(&path, &tensors.into_iter().collect()).unwrap();
            std::fs::read(&path).unwrap()
        };
        assert_eq!(saved(&turned), saved(&turned.contiguous()));
        assert_eq!(read_tensors(&path).unwrap()["b"], turned);
    }

    #[test]
    fn large_tensors_of_several_kinds_are_laid_out_as_the_formats_own_library_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let numbers = |count, kind| Tensor::arange(count, (kind, Device::Cpu));
        let tensors: BTreeMap<String, Tensor> = [
            ("a", numbers((UNSYNCED / 4 + 3) as i64, Kind::Float)), // more than goes to the disk, and is copied, at a time
            ("b", numbers(2 * (CHUNK / 8) as i64, Kind::Double)),   // as much as is copied at a time, twice
            ("c", numbers(5, Kind::Uint8)),
            ("d", numbers(0, Kind::Int64)),
            ("e", Tensor::from(2.5f32)),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into();
        let crc = write_tensors(&path, &tensors).unwrap();
        assert_eq!(crc, crate::files::crc32c_file(&path).unwrap());
        let bytes: Vec<(&String, Vec<u8>)> =
            tensors.iter().map(|(name, tensor)| (name, bytes_of(tensor))).collect();
        let views = bytes.iter().map(|(name, bytes)| {
            let tensor = &tensors[*name];
            let shape = tensor.size().iter().map(|&side| side as usize).collect();
            (name, TensorView::new(dtype(tensor.kind()).unwrap(), shape, bytes).unwrap())
        });
        let ours = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        assert!(safetensors::serialize(views, Some(ours)).unwrap() == std::fs::read(&path).unwrap());
    }
}
