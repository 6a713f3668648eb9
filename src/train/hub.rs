//! `hf://owner/repo[@revision][/file]`: files of Hugging Face's hub, fetched once and kept where its own
//! tools keep them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};

const SCHEME: &str = "hf://";

/// Whether a path of the config is an address on the hub.
pub fn is_address(path: &str) -> bool {
    path.starts_with(SCHEME)
}

/// Where a path of the config lies on this machine. Of an address without a file the folder of
/// `file`, which is fetched; any other path is itself.
///
/// # Errors
/// If the address is none, or the file is neither in the cache nor to be had.
pub fn local(path: &Path, file: &str) -> Result<PathBuf> {
    let Some(text) = path.to_str().filter(|text| is_address(text)) else { return Ok(path.to_owned()) };
    let address = Address::parse(text)?;
    match &address.file {
        Some(file) => address.fetch(file),
        None => Ok(address.fetch(file)?.parent().context("a file has a folder")?.to_owned()),
    }
}

/// Fetches the first of `files` that the repository of an address has; any other path has been
/// looked at already.
///
/// # Errors
/// If the address is none.
pub fn fetch_first(path: &Path, files: &[&str]) -> Result<()> {
    let Some(text) = path.to_str().filter(|text| is_address(text)) else { return Ok(()) };
    let address = Address::parse(text)?;
    if !files.iter().any(|file| address.fetch(file).is_ok()) {
        eprintln!("{text}: none of {} is to be had", files.join(", "));
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Address {
    repo: String,
    revision: String,
    file: Option<String>,
}

impl Address {
    fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let mut parts = rest.splitn(3, '/');
        let (owner, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let file = parts.next().map(str::to_owned).filter(|file| !file.is_empty());
        let whole = [owner, name, revision].iter().all(|part| !part.is_empty());
        ensure!(
            whole,
            "{text}: an address on the hub is hf://owner/repo, hf://owner/repo@revision or one of the two with /file"
        );
        Ok(Self { repo: format!("{owner}/{name}"), revision: revision.to_owned(), file })
    }

    /// The path of a file in the cache, where it is put if it is not there.
    fn fetch(&self, file: &str) -> Result<PathBuf> {
        let repo = Repo::with_revision(self.repo.clone(), RepoType::Model, self.revision.clone());
        let cache = Cache::from_env();
        let cached = cache.repo(repo.clone());
        // A revision that is a commit has a folder of its own, but no name unless this program fetched it.
        let of_commit = cached.pointer_path(&self.revision).join(file);
        if let Some(path) = cached.get(file).or(of_commit.is_file().then_some(of_commit)) {
            return Ok(path);
        }
        let api = ApiBuilder::from_env().with_progress(std::io::stderr().is_terminal()).build();
        let fetched = api.and_then(|api| api.repo(repo).get(file));
        fetched.map_err(|error| self.missing(file, cache.path(), &error.to_string()))
    }

    fn missing(&self, file: &str, cache: &Path, why: &str) -> anyhow::Error {
        let (repo, revision) = (&self.repo, &self.revision);
        anyhow::anyhow!(
            "{file} of hf://{repo}@{revision} is not in {} and cannot be fetched ({why}); without a network, run \
             `hf download {repo} {file} --revision {revision}` where there is one and bring its cache here (HF_HOME names \
             the folder around `hub`), or name a local path instead",
            cache.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_owner_and_name_and_perhaps_revision_and_file() {
        let parsed = |text: &str| {
            let Address { repo, revision, file } = Address::parse(text).unwrap();
            (repo, revision, file.unwrap_or_default())
        };
        let expected = |repo: &str, revision: &str, file: &str| (repo.into(), revision.into(), file.into());
        assert_eq!(parsed("hf://a/b"), expected("a/b", "main", ""));
        assert_eq!(parsed("hf://a/b@v1/"), expected("a/b", "v1", ""));
        assert_eq!(parsed("hf://a/b@v1/c/d.safetensors"), expected("a/b", "v1", "c/d.safetensors"));
        for text in ["hf://a", "hf:///b", "hf://a/@v1", "hf://a/b@"] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text}: an address on the hub is hf://owner/repo")),
                "{error}"
            );
        }
    }

    #[test]
    fn any_other_path_is_itself() {
        assert_eq!(
            local(Path::new("weights/a.safetensors"), "x").unwrap(),
            Path::new("weights/a.safetensors")
        );
    }
}
