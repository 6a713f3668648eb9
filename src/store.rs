//! Where bytes live. Today that is the local disk; a URL is refused by name, in one place, so that
//! object stores can be added here and nowhere else.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A folder or file that the user named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location(PathBuf);

impl Location {
    /// A place on the local disk.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path on the local disk.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The place `name` inside this one.
    pub fn join(&self, name: impl AsRef<Path>) -> Self {
        Self(self.0.join(name))
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("file", path)) => Ok(Self(path.into())),
            Some((scheme, _)) if !scheme.contains('/') => {
                Err(format!("{scheme}:// is not supported; copy the files here and name their folder"))
            }
            _ if text.is_empty() => Err("the path is empty".into()),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_refused_by_its_scheme() {
        let error = "s3://bucket/shards".parse::<Location>().unwrap_err();
        assert_eq!(error, "s3:// is not supported; copy the files here and name their folder");
    }

    #[test]
    fn a_path_is_a_location() {
        assert_eq!("a/b".parse::<Location>().unwrap().join("c").path(), Path::new("a/b/c"));
        assert_eq!("file:///tmp".parse::<Location>().unwrap().to_string(), "/tmp");
    }
}
