//! A run's folder: taken, or taken up again.

use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use super::config::Config;
use super::settings;
use crate::files::lock::STATE;
use crate::files::write_whole;

/// Writes the resolved config into a new run's folder, or checks that an old run's is the same.
///
/// # Errors
/// If the folder is not empty and is not to be resumed, or the configs differ (the first key that
/// does is named).
pub fn claim(run: &Path, config: &Config, resume: bool) -> Result<Config> {
    let path = run.join("config.toml");
    if path.is_file() && resume {
        let old = settings::read(&path)?;
        if let Some(key) = difference(&old, config)? {
            bail!("{}: {key}; resume with the same config, or start a new --out", path.display());
        }
        return Ok(old);
    }
    let empty = is_empty(run).with_context(|| run.display().to_string())?;
    ensure!(empty, "--out: {} is not empty; add --resume to go on, or name another folder", run.display());
    write_whole(&path, toml::to_string(config)?.as_bytes())?;
    Ok(config.clone())
}

/// Whether there is nothing in a folder but the lock of whoever asks; a folder that is not there is empty too.
fn is_empty(run: &Path) -> io::Result<bool> {
    if !run.exists() {
        return Ok(true);
    }
    for entry in fs::read_dir(run)? {
        if entry?.file_name() != STATE {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first key in which two configs differ, with both values.
pub(super) fn difference(old: &Config, new: &Config) -> Result<Option<String>> {
    let (old, new) = (Table::try_from(old)?, Table::try_from(new)?);
    Ok(first(&Value::Table(old), &Value::Table(new), ""))
}

fn first(old: &Value, new: &Value, key: &str) -> Option<String> {
    match (old, new) {
        (Value::Table(old), Value::Table(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            let absent = Value::String("absent".to_owned());
            keys.into_iter().find_map(|name| {
                let dotted = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                first(old.get(name).unwrap_or(&absent), new.get(name).unwrap_or(&absent), &dotted)
            })
        }
        _ if old == new => None,
        _ => Some(format!("{key} is {old} there, {new} here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sets: &[&str]) -> Config {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        settings::resolve(Some("tiny"), None, &sets).unwrap()
    }

    #[test]
    fn a_folder_in_use_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let error = claim(folder.path(), &config(&[]), false).unwrap_err().to_string();
        assert!(error.ends_with("is not empty; add --resume to go on, or name another folder"), "{error}");
    }

    #[test]
    fn another_config_is_refused_by_the_key_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        claim(&run, &config(&["run.steps=5"]), true).unwrap();
        claim(&run, &config(&["run.steps=5"]), true).unwrap();
        let error = claim(&run, &config(&["run.steps=6"]), true).unwrap_err().to_string();
        assert!(error.contains("run.steps is 5 there, 6 here"), "{error}");
    }
}
