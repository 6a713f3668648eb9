//! What stands in OUT before a run: nothing, a half-done dataset or a finished one.

use anyhow::{Result, bail, ensure};

use super::folder::{is_shard, is_temporary, names_in, size};
use super::recipe::Recipe;
use super::state::State;
use crate::files::lock::STATE;
use crate::shard::manifest::{HUGGING_FACE, MANIFEST, REJECTS, SHARDS};
use crate::shard::{Dataset, Manifest};
use crate::store::Location;

/// What stands in OUT.
pub enum Found {
    /// A finished dataset of the same recipe; there is nothing to do.
    Finished(Box<Dataset>),
    /// A finished dataset of the same recipe, whose rejects are to be tried again.
    Rejected(Box<Dataset>, State),
    /// A dataset to begin or to go on with.
    Open(State),
}

/// What to do with a dataset that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Go on with it, or leave it if it is finished; another recipe's stops the run.
    Keep,
    /// The same, but try again what was rejected.
    RetryRejected,
    /// Begin anew in its place.
    Overwrite,
}

/// Looks at OUT and makes it ready: a finished dataset is checked by names and sizes, leftovers of
/// a run that was killed are swept away, another recipe's dataset is refused or removed.
///
/// # Errors
/// If OUT holds something else, is damaged, cannot be written or is being written.
pub fn open(out: &Location, recipe: &Recipe, existing: Existing) -> Result<Found> {
    let root = out.path();
    ensure!(!root.exists() || root.is_dir(), "--out: {out} is not a folder");
    if existing == Existing::Keep && !root.join(STATE).exists() {
        // Nobody is at work: what is finished or not ours is told without writing anything.
        match finished(out, recipe)? {
            Some(dataset) => return Ok(Found::Finished(dataset)),
            None => refuse_foreign(out)?,
        }
    }
    let state = State::take(out)?;
    if existing == Existing::Overwrite {
        state.begin(recipe)?;
    } else if let Some(dataset) = finished(out, recipe)? {
        state.close()?; // a run that was killed after its manifest leaves it
        let retry = existing == Existing::RetryRejected && !dataset.manifest.rejects.is_empty();
        return Ok(if retry { Found::Rejected(dataset, state) } else { Found::Finished(dataset) });
    } else if let Some(there) = state.plan()? {
        refuse_another(out, recipe, &there)?;
    } else {
        refuse_foreign(out)?;
        state.begin(recipe)?;
    }
    if existing == Existing::RetryRejected {
        state.forget_rejected()?;
    }
    state.sweep()?;
    Ok(Found::Open(state))
}

/// The dataset that is finished there, `None` where there is none; another recipe's is refused.
fn finished(out: &Location, recipe: &Recipe) -> Result<Option<Box<Dataset>>> {
    let Some(manifest) = Manifest::read(out.path())? else { return Ok(None) };
    refuse_another(out, recipe, &Recipe::of(manifest))?;
    let dataset = Dataset::open(out).map_err(|error| error.context("--out"))?;
    for entry in &dataset.shards {
        let path = dataset.root.join(&entry.path);
        let wrong = match size(&path) {
            Some(bytes) if bytes == entry.bytes => continue,
            Some(bytes) => format!("has {bytes} bytes, not {}", entry.bytes),
            None => "is missing".to_owned(),
        };
        bail!("--out: {} {wrong}; `--overwrite` makes the dataset anew", path.display());
    }
    Ok(Some(Box::new(dataset)))
}

fn refuse_another(out: &Location, here: &Recipe, there: &Recipe) -> Result<()> {
    let differences = here.differences(there);
    ensure!(
        differences.is_empty(),
        "--out: {out} was made with other options: {}; name another folder, or give --overwrite",
        differences.join("; ")
    );
    Ok(())
}

/// A folder with anything but our files is not ours to fill.
fn refuse_foreign(out: &Location) -> Result<()> {
    let ours = [MANIFEST, SHARDS, REJECTS, HUGGING_FACE, STATE];
    for name in names_in(out.path())? {
        let path = out.path().join(&name);
        let inside =
            || names_in(&path).is_ok_and(|names| names.iter().all(|n| is_shard(n) || is_temporary(n)));
        let known = ours.contains(&name.as_str()) || is_temporary(&name) || (path.is_dir() && inside());
        ensure!(
            known,
            "--out: {out} holds {name}, which is not part of a dataset; name another folder, or give --overwrite \
             (it removes a dataset's files only)"
        );
    }
    Ok(())
}
