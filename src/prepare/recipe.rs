//! Whatever shapes the bytes of a dataset, and how two of it differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shard::Manifest;
use crate::shard::manifest::TokenizerId;

/// Whatever shapes the bytes of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Program and version.
    pub tool: String,
    /// The exact options, inputs by the hash of their bytes.
    pub options: Value,
    /// Vocabulary.
    pub tokenizer: TokenizerId,
    /// Decoder, encoder and resizer with versions.
    pub codec: BTreeMap<String, String>,
}

impl Recipe {
    /// The recipe that a finished dataset was made by.
    pub fn of(manifest: Manifest) -> Self {
        let Manifest { tool, options, tokenizer, codec, .. } = manifest;
        Self { tool, options, tokenizer, codec }
    }

    /// How another recipe differs from this one: `--size: 256 there, 224 here`. Empty only where
    /// the two are equal.
    pub fn differences(&self, there: &Self) -> Vec<String> {
        let mut all = Vec::new();
        let mut compare = |what: &str, there: &Value, here: &Value| {
            if there != here {
                all.push(format!("{what}: {} there, {} here", said(there), said(here)));
            }
        };
        compare("program", &there.tool.as_str().into(), &self.tool.as_str().into());
        for (name, here) in
            self.options.as_object().into_iter().flatten().filter(|(name, _)| *name != "inputs")
        {
            // An option that only one of them has comes with another that differs.
            match there.options.get(name) {
                Some(there) if name == "wordnet" => compare("--wordnet", &hash(there), &hash(here)),
                Some(there) => compare(&flag(name), there, here),
                None => {}
            }
        }
        compare("--tokenizer", &short(&there.tokenizer.sha256), &short(&self.tokenizer.sha256));
        for (part, here) in &self.codec {
            let there = there.codec.get(part).map_or(Value::Null, |there| there.as_str().into());
            compare(part, &there, &here.as_str().into());
        }
        if there.options["inputs"] != self.options["inputs"] {
            all.push(inputs_differ(&there.options["inputs"], &self.options["inputs"]));
        }
        if all.is_empty() && self != there {
            all.push("other options are known there".to_owned());
        }
        all
    }
}

/// The flag of an option of the manifest.
fn flag(name: &str) -> String {
    match name {
        "source" => "source".to_owned(),
        name => format!("--{}", name.replace('_', "-")),
    }
}

fn inputs_differ(there: &Value, here: &Value) -> String {
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (there, here) = (all(there), all(here));
    let said = |input: Option<&Value>| match input {
        Some(input) => {
            let split = input["split"].as_str().map(|split| format!("{split}=")).unwrap_or_default();
            format!("{split}{}", said(&short(input["sha256"].as_str().unwrap_or_default())))
        }
        None => "none".to_owned(),
    };
    let place = (0..there.len().max(here.len())).find(|&place| there.get(place) != here.get(place));
    let (there, here) = (there.get(place.unwrap_or(0)), here.get(place.unwrap_or(0)));
    let flag = here.or(there).and_then(|input| input["flag"].as_str()).unwrap_or("--captions");
    format!("{flag}: a file with SHA-256 {} there, {} here", said(there), said(here))
}

/// Enough of a hash to tell two apart.
fn short(sha256: &str) -> Value {
    format!("{}…", sha256.get(..12).unwrap_or(sha256)).into()
}

/// The short form of a hash among the options.
fn hash(value: &Value) -> Value {
    short(value.as_str().unwrap_or_default())
}

/// A value as it is typed on the command line.
fn said(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(said).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recipe(options: Value) -> Recipe {
        let tokenizer = TokenizerId { sha256: "00".into(), vocab_size: 9, max_tokens: 64 };
        Recipe { tool: "pairmill 0".into(), options, tokenizer, codec: BTreeMap::new() }
    }

    #[test]
    fn a_difference_is_named_by_its_flag() {
        let there = recipe(json!({"size": 256, "crop_scale": [0.6, 1.0], "encoding": "jpeg", "quality": 90}));
        let here = recipe(json!({"size": 224, "crop_scale": [0.5, 1.0], "encoding": "raw"}));
        let expected = [
            "--size: 256 there, 224 here",
            "--crop-scale: 0.6,1.0 there, 0.5,1.0 here",
            "--encoding: jpeg there, raw here",
        ];
        assert_eq!(here.differences(&there), expected);
    }

    #[test]
    fn another_caption_file_is_a_difference() {
        let inputs = |hash: &str| json!({"inputs": [{"flag": "--captions", "split": "val", "sha256": hash.repeat(32)}]});
        let found = recipe(inputs("cd")).differences(&recipe(inputs("ab")));
        let expected = "--captions: a file with SHA-256 val=abababababab… there, val=cdcdcdcdcdcd… here";
        assert_eq!(found, [expected]);
    }
}
