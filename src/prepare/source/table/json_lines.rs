//! JSON Lines: an object a line.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::BufRead;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::{Columns, Pair, Pairs, Table};

/// Reads a table and gives back the SHA-256 of its bytes.
pub fn read(table: &Table, pairs: &mut Pairs) -> Result<String> {
    let mut file = table.open()?;
    let mut reader = file.buffered();
    let (mut line, mut number) = (Vec::new(), 0);
    let mut names: BTreeSet<String> = BTreeSet::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        if read.with_context(|| format!("--table: cannot read {}", table.file))? == 0 {
            break;
        }
        number += 1;
        let text = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line).trim_ascii();
        if !text.is_empty() {
            let added = object(text, &mut names).and_then(|object| pairs.add(pair(&table.columns, &object)?));
            added.with_context(|| format!("--table: {}: line {number}", table.file))?;
        }
    }
    if pairs.count > 0 {
        // A line may leave a column out, but not every line.
        table.columns.check(&table.file, names.iter().map(String::as_str))?;
    }
    drop(reader);
    Ok(file.finish())
}

fn object(text: &[u8], names: &mut BTreeSet<String>) -> Result<Map<String, Value>> {
    let object: Map<String, Value> = serde_json::from_slice(text).context("it is no JSON object")?;
    for name in object.keys().filter(|name| !names.contains(*name)).cloned().collect::<Vec<_>>() {
        names.insert(name);
    }
    Ok(object)
}

fn pair<'a>(columns: &Columns, object: &'a Map<String, Value>) -> Result<Pair<'a>> {
    let word = |name: &Option<String>| name.as_deref().map(|name| word(name, object)).transpose();
    let mut captions = Vec::with_capacity(columns.captions.len());
    for name in &columns.captions {
        captions.extend(texts(name, object)?);
    }
    let kept = columns.keep.iter().map(|name| (name.clone(), object.get(name).cloned().unwrap_or_default()));
    let meta = (!columns.keep.is_empty()).then(|| Value::Object(kept.collect::<Map<_, _>>()).to_string());
    let (key, split) = (word(&columns.key)?.flatten(), word(&columns.split)?.flatten());
    Ok(Pair { key, split, file: file(&columns.image, object)?, cell: None, captions, meta })
}

fn word<'a>(name: &str, object: &'a Map<String, Value>) -> Result<Option<Cow<'a, str>>> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(Cow::Borrowed(text))),
        Some(Value::Number(number)) => Ok(Some(Cow::Owned(number.to_string()))),
        Some(other) => bail!("`{name}` is neither a text nor a number: {other}"),
    }
}

/// A path, or Hugging Face's `{"bytes": null, "path": "a.jpg"}`.
fn file<'a>(name: &str, object: &'a Map<String, Value>) -> Result<Option<Cow<'a, str>>> {
    let value = match object.get(name) {
        Some(Value::Object(parts)) if parts.get("bytes").is_none_or(Value::is_null) => parts.get("path"),
        value => value,
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) => Ok(Some(Cow::Borrowed(path))),
        Some(_) => bail!("--image-column: `{name}` is no path; bytes of images are read from Parquet only"),
    }
}

fn texts<'a>(name: &str, object: &'a Map<String, Value>) -> Result<Vec<Cow<'a, str>>> {
    let text = |value: &'a Value| match value {
        Value::Null => Ok(Cow::Borrowed("")),
        Value::String(text) => Ok(Cow::Borrowed(text.as_str())),
        other => bail!("--caption-column: `{name}` holds what is no text: {other}"),
    };
    match object.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(value) => Ok(vec![text(value)?]),
    }
}
