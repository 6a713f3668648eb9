//! A run's folder: taken, or taken up again.

use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use super::config::Config;
use super::{settings, sources, tensorboard};
use crate::files::lock::STATE;
use crate::files::{remove_temporary, write_whole};

/// The config's name in a run's folder.
const FILE: &str = "config.toml";
/// Keys that change nothing of what a run computes or logs, and may be others when it goes on.
const FREE: [&str; 3] = ["data.workers", "data.prefetch", "run.keep_last"];

/// Writes the resolved config into a new run's folder, or checks that an old run's is the same but for keys that are
/// free to change.
///
/// # Errors
/// If the folder is not empty and is not to be resumed, or the configs differ (the first key that
/// does is named).
pub fn claim(run: &Path, config: &Config, resume: bool) -> Result<Config> {
    let path = run.join(FILE);
    remove_temporary(run)?;
    let began = began(run).with_context(|| run.display().to_string())?;
    if began && path.is_file() && resume {
        let old = settings::read(&path)?;
        if let Some(key) = difference(&old, config)? {
            bail!("{}: {key}; resume with the same config, or start a new --out", path.display());
        }
        if old != *config {
            write_whole(&path, toml::to_string(config)?.as_bytes())?;
        }
        return Ok(config.clone());
    }
    ensure!(
        !began || !resume,
        "--out: {} is not empty, and without its config.toml no run to go on with; name another folder",
        run.display()
    );
    ensure!(!began, "--out: {} is not empty; add --resume to go on, or name another folder", run.display());
    write_whole(&path, toml::to_string(config)?.as_bytes())?;
    Ok(config.clone())
}

/// Whether there is more in a folder than the lock of whoever asks, and what a run leaves that ended before its first step
/// was logged: as where its stages name what the model has not, or a row has none of the captions that are asked for. A
/// folder that is not there is empty.
fn began(run: &Path) -> io::Result<bool> {
    if !run.exists() {
        return Ok(false);
    }
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let nothing = match name.as_str() {
            STATE | sources::FILE => true,
            FILE => is_ours(&path),
            "checkpoints" => path.is_dir() && fs::read_dir(&path)?.next().is_none(),
            _ if name.ends_with(".jsonl") => entry.metadata()?.len() == 0,
            _ => tensorboard::is_ours(&name),
        };
        if !nothing {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a config is one that was written here, to the byte: nobody's own work.
fn is_ours(path: &Path) -> bool {
    let ours = settings::read(path).ok().and_then(|config| toml::to_string(&config).ok());
    ours.is_some_and(|ours| fs::read_to_string(path).is_ok_and(|found| found == ours))
}

/// The first key in which two configs differ and may not, with both values.
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
        _ if old == new || FREE.contains(&key) => None,
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
    fn what_a_kill_left_half_written_is_removed_and_a_folder_without_a_config_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let half = folder.path().join(".pairmill-a1B2c3.tmp");
        fs::write(&half, "").unwrap();
        claim(folder.path(), &config(&[]), false).unwrap();
        assert!(!half.exists());
        fs::write(folder.path().join("metrics.jsonl"), "{}\n").unwrap();
        fs::remove_file(folder.path().join(FILE)).unwrap();
        let error = claim(folder.path(), &config(&[]), true).unwrap_err().to_string();
        assert!(
            error.ends_with("without its config.toml no run to go on with; name another folder"),
            "{error}"
        );
    }

    #[test]
    fn another_config_is_refused_by_the_key_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        claim(&run, &config(&["run.steps=5"]), true).unwrap();
        fs::write(run.join("metrics.jsonl"), "{}\n").unwrap();
        claim(&run, &config(&["run.steps=5"]), true).unwrap();
        let error = claim(&run, &config(&["run.steps=6"]), true).unwrap_err().to_string();
        assert!(error.contains("run.steps is 5 there, 6 here"), "{error}");
        let free = config(&["run.steps=5", "data.workers=7", "run.keep_last=1"]);
        assert!(claim(&run, &free, true).unwrap() == free);
        assert_eq!(settings::read(&run.join(FILE)).unwrap(), free);
    }

    #[test]
    fn a_run_that_ended_before_it_began_gives_its_folder_away_but_nobodys_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        claim(&run, &config(&["run.steps=5"]), false).unwrap();
        let (taken, other) =
            (claim(&run, &config(&["run.steps=6"]), false).unwrap(), config(&["run.steps=6"]));
        assert!(taken == other && settings::read(&run.join(FILE)).unwrap() == other);
        let own = fs::read_to_string(run.join(FILE)).unwrap() + "# the best so far\n";
        fs::write(run.join(FILE), own).unwrap();
        assert!(claim(&run, &other, false).is_err());
    }
}
