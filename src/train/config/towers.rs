//! The sizes of the two towers.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

/// A block's output has this many times the planes of its 3×3 convolution.
pub const EXPANSION: i64 = 4;

/// The size of a Bottleneck ResNet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetConfig {
    /// Blocks in each of the four stages.
    pub layers: [i64; 4],
    /// Planes of the first convolution and of the first stage's bottlenecks.
    pub width: i64,
}

impl ResnetConfig {
    /// ResNet-50.
    pub fn resnet50() -> Self {
        Self { layers: [3, 4, 6, 3], width: 64 }
    }

    /// # Errors
    /// Names a size that no network has.
    pub fn checked(self) -> Result<Self> {
        ensure!((1..=1024).contains(&self.width), "width is {}; it must be 1 to 1024", self.width);
        let deep = self.layers.iter().all(|blocks| (1..=256).contains(blocks));
        ensure!(deep, "layers is {:?}; each of the four must be 1 to 256", self.layers);
        Ok(self)
    }

    /// Length of the pooled features: 2048 for ResNet-50.
    pub fn features(&self) -> i64 {
        self.width * 8 * EXPANSION
    }
}

/// `model.image`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Image {
    /// A known architecture.
    Named(Architecture),
    /// A bottleneck ResNet of another size.
    Resnet(ResnetConfig),
}

/// Named image encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// ResNet-50 (He et al. 2016), torchvision's variant.
    Resnet50,
}

impl Image {
    /// What a value of the key says.
    ///
    /// # Errors
    /// If it is no known architecture and no table of one.
    pub fn from_value(value: toml::Value) -> Result<Self> {
        let shapes = "it is \"resnet50\" or a table, as { layers = [3, 4, 6, 3], width = 64 }";
        match value {
            toml::Value::Table(table) => {
                let config: ResnetConfig = table
                    .try_into()
                    .map_err(|error: toml::de::Error| anyhow!("{}; {shapes}", error.message()))?;
                Ok(Self::Resnet(config.checked()?))
            }
            other => {
                let found = other.to_string();
                other.try_into().map_err(|_| anyhow!("it is {found}; {shapes}"))
            }
        }
    }

    /// Blocks and width.
    pub fn config(&self) -> ResnetConfig {
        match self {
            Self::Named(Architecture::Resnet50) => ResnetConfig::resnet50(),
            Self::Resnet(config) => config.clone(),
        }
    }
}

/// What stands between the two layers of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// x·Φ(x), exactly (not the tanh approximation).
    Gelu,
}

/// How a text's hidden states become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over real tokens, \[CLS\] and \[SEP\] included.
    #[default]
    Mean,
    /// The first token's, \[CLS\].
    Cls,
}

/// The keys of a BERT `config.json` that shape the model; the defaults are bert-base-uncased's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Rows of the token table.
    pub vocab_size: i64,
    /// Length of a hidden state.
    pub hidden_size: i64,
    /// Transformer layers.
    pub num_hidden_layers: i64,
    /// Heads of an attention; they divide `hidden_size`.
    pub num_attention_heads: i64,
    /// Length between the two layers of a feed-forward block.
    pub intermediate_size: i64,
    /// The longest text, in tokens.
    pub max_position_embeddings: i64,
    /// Rows of the segment table; only the first is used.
    pub type_vocab_size: i64,
    /// Added to the variance in a LayerNorm.
    pub layer_norm_eps: f64,
    /// Dropout of embeddings and of each block's output.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights.
    pub attention_probs_dropout_prob: f64,
    /// The feed-forward activation.
    pub hidden_act: Activation,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            hidden_act: Activation::Gelu,
        }
    }
}

impl BertConfig {
    /// The configuration in a `config.json`, or in the folder that holds one. Keys that do not shape the model are
    /// passed over.
    ///
    /// # Errors
    /// If there is no such file, or it does not describe a BERT that this module can be.
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::from_json(&text).with_context(|| format!("{} is no BERT configuration", file.display()))
    }

    fn from_json(text: &str) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        for (key, wanted) in [("model_type", "bert"), ("position_embedding_type", "absolute")] {
            match value.get(key).and_then(|found| found.as_str()) {
                Some(found) if found != wanted => bail!("{key} is {found:?}; only {wanted:?} is supported"),
                _ => {}
            }
        }
        ensure!(value.get("hidden_size").is_some(), "it does not say `hidden_size`");
        let config: Self = serde_json::from_value(value)?;
        config.checked()
    }

    /// The configuration in an inline table; an absent key has bert-base-uncased's value.
    ///
    /// # Errors
    /// If a key is unknown or a value impossible.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        let known = toml::Table::try_from(Self::default())?;
        if let Some(key) = table.keys().find(|key| !known.contains_key(*key)) {
            let keys: Vec<_> = known.keys().map(String::as_str).collect();
            bail!("unknown key {key:?} of a BERT configuration; the keys are {}", keys.join(", "));
        }
        let config: Self = table.try_into()?;
        config.checked()
    }

    /// The same with both dropouts set to `p`.
    pub fn with_dropout(self, p: f64) -> Self {
        Self { hidden_dropout_prob: p, attention_probs_dropout_prob: p, ..self }
    }

    fn checked(self) -> Result<Self> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        for (key, value) in sizes {
            ensure!(value > 0, "{key} is {value}; it must be positive");
            ensure!(value <= 1 << 20, "{key} is {value}; it must be at most {}", 1 << 20);
        }
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        ensure!(hidden % heads == 0, "hidden_size {hidden} does not divide into {heads} attention heads");
        for p in [self.hidden_dropout_prob, self.attention_probs_dropout_prob] {
            ensure!((0.0..1.0).contains(&p), "a dropout of {p} is not in [0, 1)");
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(table: &str, message: &str) {
        let error = BertConfig::from_table(table.parse().unwrap()).unwrap_err();
        assert!(format!("{error:#}").contains(message), "{error:#}");
    }

    #[test]
    fn a_hugging_face_file_may_say_more_than_shapes() {
        let config = BertConfig::from_json(
            r#"{"model_type":"bert","pad_token_id":0,"hidden_size":24,"hidden_act":"gelu"}"#,
        );
        assert_eq!(config.unwrap(), BertConfig { hidden_size: 24, ..BertConfig::default() });
    }

    #[test]
    fn another_model_or_file_is_refused() {
        let refused = |json: &str| BertConfig::from_json(json).unwrap_err().to_string();
        let expected = r#"model_type is "roberta"; only "bert" is supported"#;
        assert_eq!(refused(r#"{"model_type":"roberta"}"#), expected);
        assert_eq!(refused(r#"{"tokenizer_class":"BertTokenizer"}"#), "it does not say `hidden_size`");
    }

    #[test]
    fn an_inline_table_is_checked() {
        check_refused("hiden_size = 8", "unknown key \"hiden_size\"");
        check_refused("hidden_act = 'relu'", "unknown variant `relu`, expected `gelu`");
        check_refused("hidden_size = 10", "hidden_size 10 does not divide into 12 attention heads");
        check_refused("hidden_dropout_prob = 1.5", "a dropout of 1.5 is not in [0, 1)");
        check_refused("num_hidden_layers = 0", "num_hidden_layers is 0; it must be positive");
    }
}
