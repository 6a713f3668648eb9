//! What kept features depend on.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tch::{Device, nn};

use crate::files::hex;
use crate::train::config::Config;
use crate::train::weights::bytes_of;

/// All that features of a run depend on, but the weights.
#[derive(Default)]
pub struct Keys {
    common: Value,
    image: Value,
    text: Value,
}

impl Keys {
    /// Of a run on the rows of these datasets, with texts of at most so many tokens.
    pub fn new(config: &Config, fingerprints: &[String], max_tokens: usize, device: Device) -> Self {
        let model = &config.model;
        let common = json!({
            "program": env!("CARGO_PKG_VERSION"),
            "device": if device.is_cuda() { "cuda" } else { "cpu" },
            "precision": config.run.precision,
            "channels_last": config.run.channels_last,
            "data": fingerprints,
        });
        let image = json!({ "model": model.image, "crop": config.data.crop });
        let text = json!({ "model": model.text, "pooling": model.pooling, "max_tokens": max_tokens });
        Self { common, image, text }
    }

    /// Of the image tower with the weights that it has now.
    pub fn image(&self, store: &nn::VarStore) -> Value {
        json!({ "common": self.common, "image": self.image, "weights": digest(store, "image.") })
    }

    /// Of the text tower with the weights that it has now.
    pub fn text(&self, store: &nn::VarStore) -> Value {
        json!({ "common": self.common, "text": self.text, "weights": digest(store, "text.") })
    }
}

/// SHA-256 of the names, types, shapes and values of the variables under a prefix, statistics of
/// norms among them.
fn digest(store: &nn::VarStore, prefix: &str) -> String {
    let mut variables: Vec<_> =
        store.variables().into_iter().filter(|(name, _)| name.starts_with(prefix)).collect();
    variables.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut hasher = Sha256::new();
    for (name, tensor) in variables {
        hasher.update(format!("{name} {:?} {:?}\n", tensor.kind(), tensor.size()));
        hasher.update(bytes_of(&tensor));
    }
    hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{settings, trainer};

    const SMALL: [&str; 3] = [
        "model.image={layers=[1,1,1,1],width=2}",
        "model.text={vocab_size=20,hidden_size=8,num_hidden_layers=1,num_attention_heads=2,intermediate_size=8}",
        "model.embed_dim=4",
    ];

    /// Keys of both towers of a fresh model, with the weights `change` leaves.
    fn keys(set: &str, fingerprint: &str, change: fn(&nn::VarStore)) -> [Value; 2] {
        let sets: Vec<String> = SMALL.iter().chain([&set]).map(|&set| set.to_owned()).collect();
        let config = settings::resolve(None, None, &sets).unwrap();
        let (store, _clip) = trainer::build(&config, Device::Cpu).unwrap();
        change(&store);
        let keys = Keys::new(&config, &[fingerprint.to_owned()], 32, Device::Cpu);
        [keys.image(&store), keys.text(&store)]
    }

    fn add_one(store: &nn::VarStore, name: &str) {
        let mut variable = store.variables().remove(name).unwrap();
        let _ = tch::no_grad(|| variable.g_add_scalar_(1.0));
    }

    /// Whether the keys of the image and of the text tower are others than those of a plain model.
    fn differ(set: &str, fingerprint: &str, change: fn(&nn::VarStore)) -> [bool; 2] {
        let (plain, other) = (keys("data.crop=224", "a", |_| ()), keys(set, fingerprint, change));
        [plain[0] != other[0], plain[1] != other[1]]
    }

    #[test]
    fn a_key_says_all_that_features_depend_on_and_nothing_else() {
        let same = |_: &nn::VarStore| ();
        assert_eq!(differ("optim.lr_text=1", "a", same), [false, false]);
        assert_eq!(differ("data.crop=160", "a", same), [true, false]);
        assert_eq!(differ("model.pooling=cls", "a", same), [false, true]);
        assert_eq!(differ("run.precision=fp64", "a", same), [true, true]);
        assert_eq!(differ("data.crop=224", "b", same), [true, true]);
        assert_eq!(differ("data.crop=224", "a", |store| add_one(store, "logit_scale")), [false, false]);
        let statistic = |store: &nn::VarStore| add_one(store, "image.layer4.0.bn3.running_var");
        assert_eq!(differ("data.crop=224", "a", statistic), [true, false]);
        let bias = |store: &nn::VarStore| add_one(store, "text.embeddings.LayerNorm.bias");
        assert_eq!(differ("data.crop=224", "a", bias), [false, true]);
    }
}
