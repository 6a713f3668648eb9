//! CSV and TSV.

use std::borrow::Cow;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use csv::StringRecord;
use serde_json::{Map, Value};

use super::{Columns, Pair, Pairs, Table};

/// Stands behind the file's last line: a quote that is never closed swallows it.
const END: &str = "\0end";

/// Places of the columns in a line.
struct Places {
    image: usize,
    captions: Vec<usize>,
    key: Option<usize>,
    split: Option<usize>,
    keep: Vec<(String, usize)>,
}

/// Reads a table and gives back the SHA-256 of its bytes.
pub fn read(table: &Table, separator: u8, pairs: &mut Pairs) -> Result<String> {
    let named = || format!("--table: {}", table.file);
    let mut file = table.open()?;
    let text = file.buffered().chain("\n".as_bytes()).chain(END.as_bytes());
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text);
    let header = reader.headers().with_context(named)?.clone();
    ensure!(header.get(0) != Some(END), "--table: {} is empty", table.file);
    let names = header.iter().map(|name| name.trim_start_matches('\u{feff}').trim());
    table.columns.check(&table.file, names.clone())?;
    let places = Places::of(&table.columns, &names.collect::<Vec<_>>());
    let (mut record, mut last) = (StringRecord::new(), 0);
    loop {
        let more = reader.read_record(&mut record).with_context(named)?;
        let line = record.position().map_or(0, csv::Position::line);
        ensure!(more, "--table: {}: line {last}: a quote that opens in it is never closed", table.file);
        if record.len() == 1 && &record[0] == END {
            drop(reader);
            return Ok(file.finish());
        }
        let (cells, columns) = (record.len(), header.len());
        if cells != columns {
            bail!("--table: {}: line {line}: {cells} cells where the header names {columns}", table.file);
        }
        let pair = places.pair(&record);
        let added = pair.and_then(|pair| pairs.add(pair));
        added.with_context(|| format!("--table: {}: line {line}", table.file))?;
        last = line;
    }
}

impl Places {
    /// The names are known to be there; the first of two equal ones counts.
    fn of(columns: &Columns, names: &[&str]) -> Self {
        let place = |name: &str| names.iter().position(|column| *column == name).unwrap_or_default();
        Self {
            image: place(&columns.image),
            captions: columns.captions.iter().map(|name| place(name)).collect(),
            key: columns.key.as_deref().map(place),
            split: columns.split.as_deref().map(place),
            keep: columns.keep.iter().map(|name| (name.clone(), place(name))).collect(),
        }
    }

    fn pair<'a>(&self, record: &'a StringRecord) -> Result<Pair<'a>> {
        let cell = |place: usize| Cow::Borrowed(&record[place]);
        let mut captions = Vec::with_capacity(self.captions.len());
        for &place in &self.captions {
            captions.extend(texts(&record[place])?);
        }
        let kept = self.keep.iter().map(|(name, place)| (name.clone(), Value::from(&record[*place])));
        let meta = (!self.keep.is_empty()).then(|| Value::Object(kept.collect::<Map<_, _>>()).to_string());
        let (key, split) = (self.key.map(cell), self.split.map(cell));
        Ok(Pair { key, split, file: Some(cell(self.image)), cell: None, captions, meta })
    }
}

/// The captions of a cell: those of a JSON list of texts, else the cell itself.
fn texts(cell: &str) -> Result<Vec<Cow<'_, str>>> {
    let trimmed = cell.trim();
    if !(trimmed.starts_with('[') && trimmed.ends_with(']')) {
        return Ok(vec![Cow::Borrowed(cell)]);
    }
    match serde_json::from_str::<Vec<Option<String>>>(trimmed) {
        Ok(list) => Ok(list.into_iter().map(|text| Cow::Owned(text.unwrap_or_default())).collect()),
        Err(_) if trimmed.starts_with("['") || trimmed.starts_with("[\"") => {
            bail!("--caption-column: it looks like a list of captions but is no JSON: {trimmed}")
        }
        Err(_) => Ok(vec![Cow::Borrowed(cell)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_caption_or_a_json_list_of_them() {
        assert_eq!(texts("a, b").unwrap(), ["a, b"]);
        assert_eq!(texts(r#" ["a", null, "b"]"#).unwrap(), ["a", "", "b"]);
        assert_eq!(texts("[a dog] runs [fast]").unwrap(), ["[a dog] runs [fast]"]);
        assert_eq!(texts("[]").unwrap(), Vec::<String>::new());
        let error = texts("['a', 'b']").unwrap_err().to_string();
        assert_eq!(error, "--caption-column: it looks like a list of captions but is no JSON: ['a', 'b']");
    }
}
