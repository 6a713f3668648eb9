//! The keys of a config, what is said of one that does not exist, and a run's own config.

#[cfg(feature = "train")]
mod resolve;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

#[cfg(feature = "train")]
pub use self::resolve::{preset, resolve};
use super::config::Config;

/// Every key, by table.
const KEYS: &[(&str, &[&str])] = &[
    (
        "run",
        &[
            "seed",
            "epochs",
            "steps",
            "checkpoint_every",
            "keep_last",
            "eval_every",
            "log_every",
            "log_pairs",
            "precision",
            "channels_last",
            "threads",
        ],
    ),
    ("model", &["image", "image_weights", "text", "text_weights", "init", "embed_dim", "pooling", "dropout"]),
    (
        "data",
        &[
            "batch",
            "micro_batch",
            "crop",
            "random_crop",
            "flip",
            "jitter",
            "shuffle",
            "workers",
            "prefetch",
            "max_tokens",
            "captions",
            "captions_per_image",
            "drop_last",
            "exclude",
            "cache_features",
            "on_bad_sample",
        ],
    ),
    ("loss", &["kind", "contrastive", "matching", "label_smoothing"]),
    (
        "optim",
        &[
            "lr_image",
            "lr_text",
            "lr_projection",
            "lr_scale",
            "weight_decay",
            "betas",
            "eps",
            "layer_decay",
            "warmup",
            "schedule",
            "clip_grad",
            "max_scale",
            "ema",
        ],
    ),
    ("stage", &["name", "epochs", "steps", "train", "lr_image", "lr_text", "lr_projection", "lr_scale"]),
];

/// A run's own config, as written into its folder.
///
/// # Errors
/// If it is missing or was not written by this version.
pub fn read(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: Table = text.parse().with_context(|| format!("{} is damaged", path.display()))?;
    check_keys(&table).with_context(|| format!("{}", path.display()))?;
    Value::Table(table).try_into().with_context(|| format!("{}", path.display()))
}

fn check_keys(table: &Table) -> Result<()> {
    for (section, value) in table {
        let Some((_, keys)) = KEYS.iter().find(|(name, _)| name == section) else {
            let names = KEYS.iter().map(|(name, _)| *name);
            bail!("there is no table `[{section}]`{}", suggestion(section, names));
        };
        let tables: Vec<&Table> = match value {
            Value::Table(table) => vec![table],
            Value::Array(tables) => tables.iter().filter_map(Value::as_table).collect(),
            _ => bail!("`{section}` is a table, not a value"),
        };
        for key in tables.into_iter().flat_map(Table::keys) {
            let dotted = format!("{section}.{key}");
            ensure!(
                keys.contains(&key.as_str()),
                "there is no key `{dotted}`{}",
                suggestion(key, keys.iter().copied())
            );
        }
    }
    Ok(())
}

fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|key| (strsim::jaro_winkler(word, key), key)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, key)) if likeness > 0.75 => format!("; did you mean `{key}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_schema_describes_every_key() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../schemas/train.v1.json")).unwrap();
        for (section, keys) in KEYS {
            let table = &schema["properties"][*section];
            let table = if *section == "stage" { &table["items"] } else { table };
            let mut described: Vec<&str> =
                table["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            let mut known = keys.to_vec();
            described.sort_unstable();
            known.sort_unstable();
            assert_eq!(described, known, "[{section}]");
        }
    }

    #[test]
    fn the_json_schemas_defaults_are_the_configs() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../schemas/train.v1.json")).unwrap();
        let config = serde_json::to_value(Config::default()).unwrap();
        for (section, keys) in KEYS.iter().filter(|(section, _)| *section != "stage") {
            for key in *keys {
                if let Some(default) = schema["properties"][*section]["properties"][*key].get("default") {
                    let ours = &config[*section][*key];
                    let same = ours == default || (ours.is_f64() && ours.as_f64() == default.as_f64());
                    assert!(same, "{section}.{key}: {ours} in the code, {default} in the schema");
                }
            }
        }
    }
}
