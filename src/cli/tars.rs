//! Patterns of tars → their paths.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};

/// The files of all patterns, in the patterns' order and within one by name.
///
/// # Errors
/// If a pattern is none, or no file matches it.
pub(super) fn matching(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut tars = Vec::new();
    for pattern in patterns {
        let before = tars.len();
        for pattern in expanded(pattern)? {
            tars.extend(files(&pattern)?);
        }
        ensure!(tars.len() > before, "--tars: no file matches {pattern}");
    }
    Ok(tars)
}

fn files(pattern: &str) -> Result<Vec<PathBuf>> {
    let whole = PathBuf::from(pattern);
    if whole.is_file() {
        return Ok(vec![whole]); // even with a `[` in its name
    }
    let paths = glob::glob(pattern).map_err(|error| anyhow!("--tars: {pattern}: {error}"))?;
    let paths = paths.collect::<Result<Vec<_>, _>>().with_context(|| format!("--tars: {pattern}"))?;
    Ok(paths.into_iter().filter(|path| !path.is_dir()).collect())
}

/// A pattern without its braces: `{00..10}` counts, `{a,b}` lists.
fn expanded(pattern: &str) -> Result<Vec<String>> {
    let Some((before, rest)) = pattern.split_once('{') else { return Ok(vec![pattern.to_owned()]) };
    let (inside, after) =
        rest.split_once('}').with_context(|| format!("--tars: {pattern}: `{{` is not closed"))?;
    let words: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => {
            let number = |text: &str| {
                text.parse::<u32>().with_context(|| format!("--tars: {pattern}: `{text}` is no number"))
            };
            let width = first.len();
            (number(first)?..=number(last)?).map(|at| format!("{at:0width$}")).collect()
        }
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let mut all = Vec::new();
    for after in expanded(after)? {
        all.extend(words.iter().map(|word| format!("{before}{word}{after}")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_count_and_list() {
        assert_eq!(expanded("a{08..10}.tar").unwrap(), ["a08.tar", "a09.tar", "a10.tar"]);
        assert_eq!(expanded("{a,b}/*.tar").unwrap(), ["a/*.tar", "b/*.tar"]);
        assert_eq!(expanded("*.tar").unwrap(), ["*.tar"]);
        assert!(expanded("{x..y}").is_err() && expanded("{1").is_err());
    }
}
