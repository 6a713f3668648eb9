//! The weights as safetensors: a file a tower, under the names that its library gives them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use tch::Tensor;

use super::{bert_config, pretty, write_text};
use crate::train::trained::Trained;
use crate::train::weights::write_tensors;

/// Joins the towers again with torchvision and transformers.
const LOADER: &str = include_str!("load.py");

pub(super) fn write(trained: &Trained, folder: &Path) -> Result<()> {
    let (mut image, mut text, mut rest) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (name, tensor) in trained.variables() {
        let (tower, name) = match (name.strip_prefix("image."), name.strip_prefix("text.")) {
            (Some(name), _) => (&mut image, name),
            (_, Some(name)) => (&mut text, name),
            _ => (&mut rest, name.as_str()),
        };
        tower.insert(name.to_owned(), tensor);
    }
    // torchvision's BatchNorms count their batches; a strict load wants to see the count.
    let norms: Vec<String> =
        image.keys().filter_map(|name| name.strip_suffix("running_mean")).map(str::to_owned).collect();
    image.extend(norms.into_iter().map(|norm| (norm + "num_batches_tracked", Tensor::from(0i64))));
    let save =
        |name: &str, tensors: BTreeMap<String, Tensor>| write_tensors(&folder.join(name), &tensors).map(drop);
    save("image.safetensors", image)?;
    save("text/model.safetensors", text)?;
    save("projections.safetensors", rest)?;
    let bert = trained.config.model.text.config(trained.config.model.dropout)?;
    write_text(&folder.join("text/config.json"), &pretty(&bert_config(&bert)?)?)?;
    write_text(&folder.join("load.py"), LOADER)
}
