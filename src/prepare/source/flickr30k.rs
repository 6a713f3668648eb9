//! Flickr8k and Flickr30k captions, in the four forms that they are found in.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::row::id_of;
use super::{Karpathy, Listing, Row, Splits, is_split_name, read_text};
use crate::store::Location;

/// Images and their caption file.
#[derive(Clone, Debug)]
pub struct Flickr30k {
    /// Folders and zips that images are looked for in, in order.
    pub images: Vec<Location>,
    /// The caption file; its form is told by its content.
    pub captions: Location,
    /// Karpathy's file, for the splits alone. A split that it names wins over the caption file's.
    pub karpathy: Option<Location>,
}

/// The forms, told apart by the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `results_20130124.token`: `name#n<TAB>caption`
    Token,
    /// `results.csv`: `name| n| caption` after a header
    Bars,
    /// `captions.txt`: CSV of image and caption after a header
    Pairs,
    /// `flickr_annotations_30k.csv`: CSV with a JSON list of captions and a split
    Lists,
}

/// A caption, or several, of a named image. `line` counts from 1.
struct Entry {
    line: u64,
    file: String,
    split: Option<String>,
    captions: Vec<String>,
}

impl Flickr30k {
    pub(super) fn read(&self, split: &str) -> Result<Listing> {
        let (text, input) = read_text("--captions", &self.captions, None)?;
        let mut listing = Listing { rows: Vec::new(), inputs: vec![input] };
        let splits = self.karpathy.as_ref().map(|file| karpathy_splits(file, &mut listing)).transpose()?;
        let reading = || format!("--captions: {}", self.captions);
        let form = Form::of(&text).with_context(reading)?;
        let mut names = Splits::default();
        for entry in form.parse(&text).with_context(reading)? {
            let known = splits.as_ref().and_then(|splits| splits.get(&entry.file));
            let split = known.or(entry.split.as_ref()).map_or(split, String::as_str);
            listing.rows.push(entry.row(split, &mut names).with_context(reading)?);
        }
        Ok(listing)
    }
}

impl Entry {
    fn row(&self, split: &str, splits: &mut Splits) -> Result<Row> {
        let line = self.line;
        ensure!(is_split_name(split), "line {line}: `{split}` cannot be the name of a split");
        let stem = Path::new(&self.file).file_stem().and_then(|stem| stem.to_str());
        let key = stem.with_context(|| format!("line {line}: it names no image"))?;
        // `img_id` and `imgid` number the rows of one file: a hash is the same in all four forms.
        let mut row = Row::new(&splits.get(split), key, id_of(key), &self.file);
        self.captions.iter().for_each(|caption| row.add_caption(caption));
        Ok(row)
    }
}

impl Form {
    fn of(text: &str) -> Result<Self> {
        let first = text.lines().next().unwrap_or_default();
        let columns: Vec<&str> = first.split(',').map(|column| column.trim().trim_matches('"')).collect();
        Ok(match first.split_once('\t') {
            Some((name, _)) if name.contains('#') => Self::Token,
            _ if first.matches('|').count() >= 2 => Self::Bars,
            _ if columns.contains(&"raw") && columns.contains(&"filename") => Self::Lists,
            _ if columns == ["image", "caption"] => Self::Pairs,
            _ => bail!(
                "line 1 is not that of results_20130124.token, results.csv, captions.txt or \
                 flickr_annotations_30k.csv"
            ),
        })
    }

    /// The images in the order in which they are first named; captions of one image come together.
    fn parse(self, text: &str) -> Result<Vec<Entry>> {
        match self {
            Self::Token => grouped(numbered(text, 0).map(|(line, text)| (line, token(text)))),
            Self::Bars => grouped(numbered(text, 1).map(|(line, text)| (line, bars(text)))),
            Self::Pairs => grouped(records(text)?.into_iter().map(|(line, record)| (line, pair(&record)))),
            Self::Lists => lists(text),
        }
    }
}

/// Lines that are not blank, from the one after `header` lines on, with their numbers from 1.
fn numbered(text: &str, header: usize) -> impl Iterator<Item = (u64, &str)> {
    let lines = text.lines().enumerate().skip(header);
    lines.filter(|(_, line)| !line.trim().is_empty()).map(|(at, line)| (at as u64 + 1, line))
}

fn token(line: &str) -> Result<(String, String)> {
    let (name, caption) = line.split_once('\t').context("there is no tab before the caption")?;
    let (name, _) = name.rsplit_once('#').context("there is no `#` after the image's name")?;
    Ok((name.trim().to_owned(), caption.to_owned()))
}

fn bars(line: &str) -> Result<(String, String)> {
    let mut parts = line.splitn(3, '|');
    let (Some(name), Some(rest)) = (parts.next(), parts.next()) else { bail!("there is no `|`") };
    // One line of the published file lacks its second bar: `2199200615.jpg| 4   A dog runs …`
    let caption = match parts.next() {
        Some(caption) => caption,
        None => rest.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()),
    };
    Ok((name.trim().to_owned(), caption.to_owned()))
}

fn pair(record: &csv::StringRecord) -> Result<(String, String)> {
    let caption: Vec<&str> = record.iter().skip(1).collect();
    ensure!(!caption.is_empty(), "there is no comma after the image's name");
    // Commas of a caption that was not quoted are part of it.
    Ok((record[0].trim().to_owned(), caption.join(",")))
}

fn grouped(pairs: impl Iterator<Item = (u64, Result<(String, String)>)>) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (line, pair) in pairs {
        let (file, caption) = pair.with_context(|| format!("line {line}"))?;
        let place = *places.entry(file.clone()).or_insert_with(|| {
            entries.push(Entry { line, file, split: None, captions: Vec::new() });
            entries.len() - 1
        });
        entries[place].captions.push(caption);
    }
    Ok(entries)
}

fn lists(text: &str) -> Result<Vec<Entry>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let place = |name: &str| header.iter().position(|column| column.trim() == name);
    let need = |name: &str| place(name).with_context(|| format!("line 1: there is no column `{name}`"));
    let (raw, file, split) = (need("raw")?, need("filename")?, place("split"));
    reader.into_records().map(|record| list(&record?, raw, file, split)).collect()
}

fn list(record: &csv::StringRecord, raw: usize, file: usize, split: Option<usize>) -> Result<Entry> {
    let line = record.position().map_or(0, csv::Position::line);
    let captions = serde_json::from_str(&record[raw])
        .with_context(|| format!("line {line}: `raw` is not a JSON list of captions"))?;
    let split = split.map(|split| record[split].trim().to_owned()).filter(|split| !split.is_empty());
    Ok(Entry { line, file: record[file].trim().to_owned(), split, captions })
}

fn records(text: &str) -> Result<Vec<(u64, csv::StringRecord)>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let numbered = |record: csv::StringRecord| (record.position().map_or(0, csv::Position::line), record);
    reader.records().map(|record| Ok(numbered(record?))).collect()
}

fn karpathy_splits(file: &Location, listing: &mut Listing) -> Result<HashMap<String, String>> {
    let (all, input) = Karpathy::read(file)?;
    listing.inputs.push(input);
    Ok(all.images.into_iter().map(|image| (image.filename, image.split)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: Form, text: &str, expected: &[(&str, &[&str])]) {
        assert_eq!(Form::of(text).unwrap(), form);
        let entries = form.parse(text).unwrap();
        let found: Vec<_> = entries.into_iter().map(|entry| (entry.file, entry.captions)).collect();
        let owned = |(file, captions): &(&str, &[&str])| {
            (file.to_string(), captions.iter().map(|caption| caption.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(found, expected.iter().map(owned).collect::<Vec<_>>());
    }

    #[test]
    fn token_files_are_read() {
        check(
            Form::Token,
            "a.jpg#0\tx, y\na.jpg#1\tz\nb.jpg#0\tw\n",
            &[("a.jpg", &["x, y", "z"]), ("b.jpg", &["w"])],
        );
    }

    #[test]
    fn results_with_bars_are_read_even_the_line_that_lacks_one() {
        let text = "image_name| comment_number| comment\na.jpg| 0| x | y\na.jpg| 4   A dog runs\n";
        check(Form::Bars, text, &[("a.jpg", &[" x | y", "   A dog runs"])]);
    }

    #[test]
    fn pairs_in_csv_are_read() {
        check(
            Form::Pairs,
            "image,caption\na.jpg,\"x, \"\"y\"\"\"\na.jpg,z\n",
            &[("a.jpg", &["x, \"y\"", "z"])],
        );
    }

    #[test]
    fn lists_in_csv_are_read() {
        let text = "raw,sentids,split,filename,img_id\n\"[\"\"x\"\", \"\"y\"\"]\",\"[0, 1]\",test,a.jpg,0\n";
        check(Form::Lists, text, &[("a.jpg", &["x", "y"])]);
        assert_eq!(Form::Lists.parse(text).unwrap()[0].split.as_deref(), Some("test"));
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = Form::Token.parse("a.jpg#0\tx\n\nb.jpg#0 y\n").err().unwrap();
        assert_eq!(format!("{error:#}"), "line 3: there is no tab before the caption");
        let error = Form::of("hello\n").err().unwrap();
        assert!(error.to_string().starts_with("line 1 is not that of results_20130124.token"), "{error}");
    }
}
