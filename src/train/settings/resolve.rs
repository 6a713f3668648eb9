//! Preset, then file, then `--set`: how a config comes together.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use toml::{Table, Value};

use super::check_keys;
use crate::train::config::Config;
use crate::train::config::towers::{BertConfig, Image, ResnetConfig};
use crate::train::hub;

/// Keys whose strings are paths.
const PATHS: &[(&str, &str)] = &[
    ("model", "image_weights"),
    ("model", "text"),
    ("model", "text_weights"),
    ("model", "init"),
    ("data", "exclude"),
];

/// The text of a preset.
pub fn preset(name: &str) -> Option<&'static str> {
    Some(match name {
        "article" => include_str!("../presets/article.toml"),
        "progressive" => include_str!("../presets/progressive.toml"),
        "full" => include_str!("../presets/full.toml"),
        "tiny" => include_str!("../presets/tiny.toml"),
        _ => return None,
    })
}

/// Merges preset, file and `--set` values into a checked config.
///
/// # Errors
/// If a key is unknown (with the nearest known one), or a value is of another
/// type or out of range.
pub fn resolve(preset_name: Option<&str>, file: Option<&Path>, sets: &[String]) -> Result<Config> {
    let mut table = Table::new();
    if let Some(name) = preset_name {
        let text = preset(name).with_context(|| format!("--preset: there is no preset `{name}`"))?;
        merge(&mut table, text.parse().context("the preset is TOML")?);
    }
    if let Some(path) = file {
        merge(&mut table, read_file(path).with_context(|| format!("--config: {}", path.display()))?);
    }
    for set in sets {
        apply(&mut table, set).with_context(|| format!("--set {set}"))?;
    }
    check_keys(&table)?;
    let tower = |name: &str| table.get("model").and_then(|model| model.get(name));
    if let Some(Value::Table(text)) = tower("text") {
        BertConfig::from_table(text.clone()).context("model.text")?;
    }
    if let Some(image) = tower("image") {
        Image::from_value(image.clone()).context("model.image")?;
    }
    let config: Config = Value::Table(table).try_into().map_err(|error| plainly(&error))?;
    config.checked()
}

/// What serde says of a value of the wrong type, without Rust's names of the types.
fn plainly(error: &toml::de::Error) -> anyhow::Error {
    let said = error.to_string();
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default();
    let what = ["usize", "u64", "i64", "u32", "i32"].iter().fold(what.to_owned(), |what, kind| {
        what.replace(&format!("expected {kind}"), "expected a whole number")
    });
    let what = what.replace("expected f64", "expected a number").replace("a boolean", "true or false");
    match lines.next().and_then(|place| place.strip_prefix("in `")?.strip_suffix('`')) {
        Some(key) => anyhow!("{key}: {what}"),
        None => anyhow!("the config: {what}"),
    }
}

fn read_file(path: &Path) -> Result<Table> {
    ensure!(path.is_file(), "no such file");
    let mut table: Table = std::fs::read_to_string(path)?.parse().context("it is not TOML")?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for (section, key) in PATHS {
        let value =
            table.get_mut(*section).and_then(Value::as_table_mut).and_then(|table| table.get_mut(*key));
        if let Some(Value::String(relative)) = value {
            if hub::is_address(relative) {
                continue;
            }
            let joined: PathBuf = folder.join(&*relative);
            *relative = joined.to_string_lossy().into_owned();
        }
    }
    Ok(table)
}

/// Sets what `dotted.key=value` says; the value is TOML, else a plain string.
fn apply(table: &mut Table, set: &str) -> Result<()> {
    let (key, value) = set.split_once('=').context("it is not of the form dotted.key=value")?;
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    ensure!(parts.iter().all(|part| !part.is_empty()), "the key is empty");
    let last = parts.pop().expect("split gives one part at least");
    if parts.is_empty() {
        merge(table, Table::from_iter([(last.to_owned(), value)]));
        return Ok(());
    }
    let inner = parts.iter().enumerate().try_fold(table, |table, (depth, part)| {
        let path = || parts[..=depth].join(".");
        let entry = table.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        let default = entry.as_str() == Some("resnet50") || entry.as_table().is_some_and(Table::is_empty);
        if path() == "model.image" && default {
            *entry = Value::try_from(ResnetConfig::resnet50())?;
        }
        let kind = entry.type_str();
        entry.as_table_mut().with_context(|| format!("{} is a {kind}, which has no keys", path()))
    })?;
    inner.insert(last.to_owned(), value);
    Ok(())
}

/// Later values win; tables are merged key by key, but a `model.image` or `model.text` table and
/// `stage` lists are replaced as a whole.
fn merge(into: &mut Table, from: Table) {
    for (section, value) in from {
        match (into.get_mut(&section), value) {
            (Some(Value::Table(old)), Value::Table(new)) => old.extend(new),
            (_, value) => {
                into.insert(section, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn set(sets: &[&str]) -> Result<Config> {
        resolve(None, None, &sets.iter().map(|&set| set.to_owned()).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check_refused(setting: &str, message: &str) {
        assert_eq!(set(&[setting]).unwrap_err().to_string(), message);
    }

    #[test]
    fn every_preset_resolves() {
        for name in ["article", "progressive", "full", "tiny"] {
            resolve(Some(name), None, &[]).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }

    #[test]
    fn progressive_begins_with_the_last_text_layers_of_any_model() {
        let layers = |layers: i64| {
            let set = format!("model.text={{ num_hidden_layers = {layers} }}");
            let config = resolve(Some("progressive"), None, &[set]).unwrap();
            config.stage[1].train[2..].join(" ")
        };
        assert_eq!(layers(12), "text.encoder.layer.10 text.encoder.layer.11");
        assert_eq!(layers(6), "text.encoder.layer.4 text.encoder.layer.5");
    }

    #[test]
    fn a_set_value_is_toml_or_a_plain_string() {
        let config =
            set(&["data.batch=32", "data.shuffle=none", "optim.lr_image=1e-4", "run.precision=fp64"])
                .unwrap();
        assert_eq!((config.data.batch, config.data.shuffle.as_str()), (32, "none"));
        assert_eq!(config.optim.rates.lr_image, 1e-4);
    }

    #[test]
    fn a_key_of_a_tower_changes_that_key_alone() {
        let sets = ["model.text.num_hidden_layers=1", "model.text.hidden_size=64", "model.image.width=8"];
        let config = resolve(Some("tiny"), None, &sets.map(str::to_owned)).unwrap();
        let text = config.model.text.config(None).unwrap();
        assert_eq!((text.num_hidden_layers, text.hidden_size, text.intermediate_size), (1, 64, 512));
        assert_eq!(config.model.image.config(), ResnetConfig { layers: [1; 4], width: 8 });
        let full = set(&["model.image.width=8"]).unwrap().model.image.config();
        assert_eq!(full, ResnetConfig { layers: [3, 4, 6, 3], width: 8 });
        let weights = set(&["data.captions.original=3", "data.captions.synonym=1"]).unwrap().data.captions;
        assert_eq!(weights.unwrap().len(), 2);
        let path = set(&["model.text=bert", "model.text.hidden_size=8"]).unwrap_err();
        let expected = "--set model.text.hidden_size=8: model.text is a string, which has no keys";
        assert_eq!(format!("{path:#}"), expected);
    }

    #[test]
    fn a_value_of_another_type_names_its_key_and_says_what_it_may_be() {
        check_refused("data.batch=abc", "data.batch: invalid type: string \"abc\", expected a whole number");
        let image = set(&["model.image=resnet18"]).unwrap_err();
        let expected = "model.image: it is \"resnet18\"; it is \"resnet50\" or a table, as { layers = [3, 4, 6, 3], width = 64 }";
        assert_eq!(format!("{image:#}"), expected);
        let image = set(&["model.image={layers=[1,1,1,1],width=0}"]).unwrap_err();
        assert_eq!(format!("{image:#}"), "model.image: width is 0; it must be 1 to 1024");
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        check_refused("optim.lr_imgae=1", "there is no key `optim.lr_imgae`; did you mean `lr_image`?");
        check_refused("otpim.lr_image=1", "there is no table `[otpim]`; did you mean `optim`?");
    }

    #[test]
    fn a_value_out_of_range_names_its_key() {
        check_refused("data.batch=1", "data.batch is 1; a contrastive loss needs 2 or more");
        check_refused("data.micro_batch=65", "data.micro_batch is 65, more than data.batch, 64");
        check_refused("data.flip=1.5", "data.flip is 1.5; it is a probability");
        check_refused("data.jitter=[0,0,-0.1,0]", "data.jitter's saturation is -0.1; it must be 0 or more");
        check_refused("optim.layer_decay=0", "optim.layer_decay is 0; it must be in (0, 1]");
        check_refused("optim.ema=1", "optim.ema is 1; it is a decay between 0 and 1, or absent");
        check_refused("data.jitter=[0,0,0,0.6]", "data.jitter's hue is 0.6; it must be in [0, 0.5] turns");
    }

    #[test]
    fn losses_are_checked_against_each_other_and_what_feeds_them() {
        let captions = "data.captions_per_image is 2; more than 1 needs loss.kind = \"multi_positive\"";
        check_refused("data.captions_per_image=2", captions);
        set(&["data.captions_per_image=2", "loss.kind=multi_positive"]).unwrap();
        let smoothing = "loss.label_smoothing is 0.1; it smooths cross entropies, and siglip has none";
        let refused = |sets: &[&str]| set(sets).unwrap_err().to_string();
        assert_eq!(refused(&["loss.kind=siglip", "loss.label_smoothing=0.1"]), smoothing);
        let nothing = "loss.contrastive and loss.matching are both 0; there is nothing to learn from";
        check_refused("loss.contrastive=0", nothing);
        set(&["loss.contrastive=0", "loss.matching=1"]).unwrap();
    }

    #[test]
    fn a_file_replaces_the_presets_stages_and_its_paths_are_relative_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let text = "[model]\ninit = 'weights/all.safetensors'\n[[stage]]\nname = 'x'\nsteps = 3\ntrain = ['image']\n";
        std::fs::write(&path, text).unwrap();
        let config = resolve(Some("article"), Some(&path), &["optim.warmup=5".to_owned()]).unwrap();
        assert_eq!(config.stage.len(), 1);
        assert_eq!(config.model.init, Some(folder.path().join("weights/all.safetensors")));
        assert_eq!(config.optim.warmup, 5);
    }

    #[test]
    fn an_address_on_the_hub_is_relative_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "[model]\ninit = 'hf://somebody/towers'\n").unwrap();
        let config = resolve(None, Some(&path), &[]).unwrap();
        assert_eq!(config.model.init, Some("hf://somebody/towers".into()));
    }

    #[test]
    fn a_resolved_config_reads_back_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        let config = resolve(Some("tiny"), None, &["run.steps=7".to_owned()]).unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), config);
    }
}
