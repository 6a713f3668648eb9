//! Model files: safetensors in and out, by the names of the variables.

mod tensor_file;
mod write;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, TensorInfo};
use tch::{Kind, Tensor, nn};

use self::tensor_file::size;

pub use self::tensor_file::TensorFile;
pub use self::write::{bytes_of, write_tensors};

/// How many names of one kind a message lists before it counts the rest.
const LISTED: usize = 8;

/// Loads the image tower from a safetensors file, or from a folder with `model.safetensors`: torchvision's names, with
/// or without `image.` before them.
///
/// # Errors
/// If the file cannot be read or its tensors are not exactly the tower's; all that differ are named, and nothing is
/// loaded.
pub fn load_image(vs: &nn::VarStore, path: &Path) -> Result<()> {
    load(vs, path, "image.", |name| name.strip_prefix("image.").unwrap_or(name).to_owned())
}

/// Loads the text tower from a safetensors file, or from a folder with `model.safetensors`: Hugging Face's BertModel
/// names, with or without `bert.` or `text.` before them, LayerNorms by `weight` and `bias` or `gamma` and `beta`.
///
/// # Errors
/// As [`load_image`].
pub fn load_text(vs: &nn::VarStore, path: &Path) -> Result<()> {
    load(vs, path, "text.", |name| {
        let name = name.strip_prefix("bert.").or_else(|| name.strip_prefix("text.")).unwrap_or(name);
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    })
}

/// Loads the whole model from a safetensors file under the names of the variable store.
///
/// # Errors
/// As [`load_image`].
pub fn load_all(vs: &nn::VarStore, path: &Path) -> Result<()> {
    load(vs, path, "", str::to_owned)
}

/// All tensors of a safetensors file, on the CPU.
///
/// # Errors
/// If the file cannot be read, is a pickle file, is cut or damaged, or holds a kind that libtorch lacks.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let file = open(path)?;
    let mut buffer = Vec::new();
    let mut read = |name: &str, info| {
        file.read(info, &mut buffer).with_context(|| format!("{name} in {}", path.display()))
    };
    file.tensors().into_iter().map(|(name, info)| Ok((name.clone(), read(&name, info)?))).collect()
}

/// A safetensors file, or that of a folder.
fn open(path: &Path) -> Result<TensorFile> {
    let file = if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() };
    refuse_pickle(&file)?;
    TensorFile::open(&file).with_context(|| match file.exists() {
        true => format!("{} is no whole safetensors file", file.display()),
        false => format!("cannot read {}", file.display()),
    })
}

/// Copies a file's tensors into the variables under `prefix`; `rename` gives a tensor's name below the prefix. One
/// tensor at a time is in memory beside the variables.
fn load(vs: &nn::VarStore, path: &Path, prefix: &str, rename: impl Fn(&str) -> String) -> Result<()> {
    let file = open(path)?;
    let mut found = BTreeMap::new();
    for (name, info) in file.tensors() {
        let renamed = rename(&name);
        ensure!(found.insert(renamed.clone(), info).is_none(), "{} holds {renamed} twice", path.display());
    }
    let variables = vs.variables().into_iter();
    let variables: BTreeMap<String, Tensor> = variables
        .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)))
        .collect();
    compare(&found, &variables).with_context(|| path.display().to_string())?;
    let mut buffer = Vec::new();
    for (name, mut variable) in variables {
        let read = file.read(found[&name], &mut buffer);
        let tensor = read.with_context(|| format!("{name} in {}", path.display()))?;
        tch::no_grad(|| variable.copy_(&tensor));
    }
    Ok(())
}

/// Whether a file has exactly the model's tensors, but for those that other programs add and this model has no use for.
fn compare(found: &BTreeMap<String, &TensorInfo>, variables: &BTreeMap<String, Tensor>) -> Result<()> {
    let missing = variables.keys().filter(|name| !found.contains_key(*name)).cloned().collect();
    let extra =
        found.keys().filter(|name| !variables.contains_key(*name) && !is_ignored(name)).cloned().collect();
    let misshapen = variables.iter().filter_map(|(name, variable)| {
        let (in_file, in_model) = (size(found.get(name)?), variable.size());
        (in_file != in_model).then(|| format!("{name} (in the file {in_file:?}, in the model {in_model:?})"))
    });
    let message = [("missing", missing), ("not of this model", extra), ("misshapen", misshapen.collect())]
        .into_iter()
        .filter(|(_, names): &(_, Vec<String>)| !names.is_empty())
        .map(|(kind, names)| format!("{kind}: {}", listed(&names)))
        .collect::<Vec<_>>()
        .join("; ");
    ensure!(message.is_empty(), "the file's tensors do not fit the model; {message}");
    Ok(())
}

/// What classifiers and heads leave in a file of a tower.
fn is_ignored(name: &str) -> bool {
    let name = ["image.", "text."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    name == "embeddings.position_ids"
        || name.ends_with("num_batches_tracked")
        || ["fc.", "pooler.", "cls."].iter().any(|head| name.starts_with(head))
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        let _ = write!(text, " and {} more", names.len() - LISTED);
    }
    text
}

fn refuse_pickle(file: &Path) -> Result<()> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !["pt", "pth", "bin", "pkl", "ckpt"].contains(&extension) {
        return Ok(());
    }
    let converted: PathBuf = file.with_extension("safetensors");
    bail!(
        "{} is a pickle file, which can run code when it is read; convert it once where you trust it: python -c \
         'import torch, safetensors.torch as s; s.save_file(torch.load(\"{}\", weights_only=True), \"{}\")'",
        file.display(),
        file.display(),
        converted.display()
    )
}

/// Kinds that are stored as they are.
const KINDS: [(Kind, Dtype); 8] = [
    (Kind::Float, Dtype::F32),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Double, Dtype::F64),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Uint8, Dtype::U8),
    (Kind::Bool, Dtype::BOOL),
];

/// The kind of tensors that are stored as `dtype`.
///
/// # Errors
/// If libtorch has none.
pub fn kind(dtype: Dtype) -> Result<Kind> {
    let found = KINDS.iter().find(|(_, other)| *other == dtype);
    found.map(|(kind, _)| *kind).with_context(|| format!("tensors of {dtype:?} are not supported"))
}

/// How tensors of a kind are stored.
///
/// # Errors
/// If the format has no place for them.
pub fn dtype(kind: Kind) -> Result<Dtype> {
    let found = KINDS.iter().find(|(other, _)| *other == kind);
    found.map(|(_, dtype)| *dtype).with_context(|| format!("tensors of {kind:?} are not supported"))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn store(names: &[(&str, &[i64])]) -> nn::VarStore {
        let vs = nn::VarStore::new(Device::Cpu);
        for (name, size) in names {
            let (folders, leaf) = name.rsplit_once('.').unwrap_or(("", name));
            let path = folders
                .split('.')
                .filter(|part| !part.is_empty())
                .fold(vs.root(), |path, part| path.sub(part));
            let _ = path.zeros(leaf, size);
        }
        vs
    }

    fn file(folder: &tempfile::TempDir, tensors: &[(&str, &[i64])]) -> PathBuf {
        let path = folder.path().join("model.safetensors");
        let ones = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        write_tensors(&path, &tensors.iter().map(|(name, size)| ((*name).to_owned(), ones(size))).collect())
            .unwrap();
        path
    }

    fn sum(vs: &nn::VarStore) -> f64 {
        vs.variables().values().map(|variable| variable.sum(Kind::Double).double_value(&[])).sum()
    }

    #[track_caller]
    fn check_refused(error: anyhow::Error, path: &Path, message: &str) {
        assert_eq!(format!("{error:#}"), format!("{}{message}", path.display()));
    }

    #[test]
    fn an_image_tower_loads_with_or_without_its_prefix_and_passes_its_classifier_over() {
        let folder = tempfile::tempdir().unwrap();
        for prefix in ["", "image."] {
            let named = |name: &str| format!("{prefix}{name}");
            let (weight, head, count) =
                (named("bn1.weight"), named("fc.weight"), named("bn1.num_batches_tracked"));
            let path = file(&folder, &[(&weight, &[3]), (&head, &[2, 2]), (&count, &[])]);
            let vs = store(&[("image.bn1.weight", &[3]), ("logit_scale", &[])]);
            load_image(&vs, &path).unwrap();
            assert_eq!(sum(&vs), 3.0);
        }
    }

    #[test]
    fn a_text_tower_loads_by_its_old_names_from_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let norm = "bert.embeddings.LayerNorm";
        let (gamma, beta) = (format!("{norm}.gamma"), format!("{norm}.beta"));
        let others: [(&str, &[i64]); 3] = [
            ("cls.predictions.bias", &[9]),
            ("bert.pooler.dense.bias", &[2]),
            ("bert.embeddings.position_ids", &[1, 4]),
        ];
        file(&folder, &[&[(gamma.as_str(), [2].as_slice()), (beta.as_str(), &[2])], &others[..]].concat());
        let vs =
            store(&[("text.embeddings.LayerNorm.weight", &[2]), ("text.embeddings.LayerNorm.bias", &[2])]);
        load_text(&vs, folder.path()).unwrap();
        assert_eq!(sum(&vs), 4.0);
    }

    #[test]
    fn whatever_does_not_fit_is_named_and_nothing_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, &[("a", &[3]), ("b", &[2]), ("image.fc.bias", &[1]), ("d", &[1])]);
        let vs = store(&[("a", &[3]), ("b", &[5]), ("c", &[1])]);
        let message = ": the file's tensors do not fit the model; missing: c; not of this model: d; \
                       misshapen: b (in the file [2], in the model [5])";
        check_refused(load_all(&vs, &path).unwrap_err(), &path, message);
        assert_eq!(sum(&vs), 0.0);
    }

    #[test]
    fn a_long_list_of_names_ends_in_a_count() {
        let names: Vec<String> = (0..11).map(|i| i.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7 and 3 more");
    }

    #[test]
    fn every_floating_kind_is_converted_to_the_stores() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.safetensors");
        for kind in [Kind::Half, Kind::BFloat16, Kind::Float, Kind::Double] {
            let mut vs = nn::VarStore::new(Device::Cpu);
            vs.set_kind(Kind::Double);
            let variable = vs.root().zeros("a", &[3]);
            let values = Tensor::from_slice(&[0.5, -2.0, 3.0]);
            write_tensors(&path, &BTreeMap::from([("a".to_owned(), values.to_kind(kind))])).unwrap();
            load_all(&vs, &path).unwrap();
            assert_eq!((variable.kind(), variable.detach() == values), (Kind::Double, true));
        }
    }

    #[test]
    fn a_pickle_file_is_refused_with_the_way_out() {
        let path = Path::new("resnet50.pth");
        let error = load_image(&store(&[]), path).unwrap_err().to_string();
        assert!(error.starts_with("resnet50.pth is a pickle file"), "{error}");
        assert!(error.contains("\"resnet50.safetensors\""), "{error}");
    }

    #[test]
    fn a_cut_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, &[("a", &[30])]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = load_all(&store(&[("a", &[30])]), &path).unwrap_err();
        assert!(format!("{error:#}").contains("is no whole safetensors file"), "{error:#}");
    }
}
