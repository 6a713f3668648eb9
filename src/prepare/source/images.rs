//! The bytes of images: from folders, zips and tars by positioned reads of any thread, from the
//! cells of a Parquet table block by block.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use zip::ZipArchive;
use zip::result::ZipError;

use super::cells::{Cells, ImageColumn};
use super::{Place, Row, Source};
use crate::decode::{DecodeError, MAX_BYTES};
use crate::files::Positioned;
use crate::prepare::reject::Reject;
use crate::store::Location;

/// One byte more than is decoded: what is longer is rejected for its length, not read whole.
const MOST_BYTES: u64 = MAX_BYTES as u64 + 1;

/// Where a source's images are read from. Shared by all threads.
pub struct Images {
    stores: Vec<Store>,
    tars: Vec<PathBuf>,
    column: Option<ImageColumn>,
}

/// A place that has images by their names.
enum Store {
    Folder(PathBuf),
    Zip(Zip),
}

impl Images {
    /// Opens the zips and the table of a source; folders and tars are opened image by image.
    ///
    /// # Errors
    /// If a zip or the table cannot be read; the message names it by its flag.
    pub fn open(source: &Source) -> Result<Self> {
        let stores = source.images().iter().map(Store::open).collect::<Result<_>>()?;
        let (tars, column) = match source {
            Source::Webdataset(source) => (source.tars.clone(), None),
            Source::Table(table) => (Vec::new(), ImageColumn::of(table)?),
            Source::Coco(_) | Source::Flickr30k(_) => (Vec::new(), None),
        };
        Ok(Self { stores, tars, column })
    }

    /// A reader of the cells of some rows, given by their places in `rows`, ascending.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn cells(&self, rows: &[Row], places: &[usize]) -> Result<Cells> {
        let number = |place: &usize| match rows[*place].place {
            Place::Cell(row) => Some(row),
            Place::File | Place::Tar { .. } => None,
        };
        match &self.column {
            Some(column) => column.cells(places.iter().filter_map(number).collect()),
            None => Ok(Cells::none()),
        }
    }

    /// The bytes of a row's image; `cell` is what [`Cells::take`] gave for it.
    ///
    /// # Errors
    /// `Ok(Err(_))` where there is no such image or its name leaves its folder: a bad sample.
    /// `Err` where it is there and cannot be read: a bad run.
    pub fn read(&self, row: &Row, cell: Option<Vec<u8>>) -> Result<Result<Vec<u8>, Reject>> {
        match (row.place, cell) {
            (Place::Tar { tar, offset, length }, _) => {
                read_at(&self.tars[tar as usize], offset, length).map(Ok)
            }
            (Place::Cell(_), Some(bytes)) => Ok(Ok(bytes)),
            (Place::Cell(_), None) if row.file.is_empty() => {
                Ok(Err(Reject::Missing("for it: its image cell is empty".into())))
            }
            (Place::Cell(_) | Place::File, _) => self.by_name(row),
        }
    }

    fn by_name(&self, row: &Row) -> Result<Result<Vec<u8>, Reject>> {
        let outside = || Ok(Err(Reject::Missing(format!("{}: it would be outside of --images", row.path()))));
        let folder = row.folder.as_deref().unwrap_or_default();
        if !stays_inside(folder) {
            return outside();
        }
        let sub_folders = if folder.is_empty() { &[""][..] } else { &[folder, ""][..] };
        let mut inside = false;
        for store in &self.stores {
            let Some(file) = store.inside(&row.file) else { continue };
            inside = true;
            for sub_folder in sub_folders {
                if let Some(found) = store.read(&Path::new(sub_folder).join(file))? {
                    return Ok(found.map_err(Reject::Image));
                }
            }
        }
        if inside { Ok(Err(Reject::Missing(row.path()))) } else { outside() }
    }
}

impl Store {
    fn open(location: &Location) -> Result<Self> {
        let path = location.path();
        Ok(if path.is_file() { Self::Zip(Zip::open(path)?) } else { Self::Folder(path.to_owned()) })
    }

    /// A name relative to this store; `None` where it would leave it. An absolute one may lie inside.
    fn inside<'a>(&self, name: &'a str) -> Option<&'a Path> {
        let name = match self {
            Self::Folder(folder) => Path::new(name).strip_prefix(folder).unwrap_or(Path::new(name)),
            Self::Zip(_) => Path::new(name),
        };
        name.to_str().filter(|name| stays_inside(name)).map(Path::new)
    }

    /// The bytes of an image; `None` where there is none of that name.
    fn read(&self, name: &Path) -> Result<Option<Result<Vec<u8>, DecodeError>>> {
        match self {
            Self::Folder(folder) => Ok(read_file(&folder.join(name))?.map(Ok)),
            Self::Zip(zip) => zip.read(name),
        }
    }
}

/// A zip of images, its directory in memory.
struct Zip {
    archive: ZipArchive<Positioned>,
    path: PathBuf,
    /// Members by their names and by all that is left of these when leading folders are taken off.
    members: HashMap<Box<str>, Member>,
}

/// What a name finds.
#[derive(Clone, Copy)]
enum Member {
    Whole(usize),
    Ending(usize),
    /// Several folders have one of this name.
    Several,
}

impl Zip {
    fn open(path: &Path) -> Result<Self> {
        let reading = || format!("--images: cannot read {}", path.display());
        let file = Positioned::new(Arc::new(File::open(path).with_context(reading)?), 0);
        let archive = ZipArchive::new(file)
            .with_context(|| format!("--images: {} is neither a folder nor a whole zip", path.display()))?;
        let mut members = HashMap::new();
        for index in 0..archive.len() {
            let name = archive.name_for_index(index).transpose().with_context(reading)?.unwrap_or_default();
            if !name.ends_with('/') && !name.starts_with("__MACOSX/") {
                add_names(&mut members, &name, index);
            }
        }
        Ok(Self { archive, path: path.to_owned(), members })
    }

    fn read(&self, name: &Path) -> Result<Option<Result<Vec<u8>, DecodeError>>> {
        let parts = name.components().filter(|part| *part != Component::CurDir);
        let name = parts.collect::<PathBuf>();
        let Some(name) = name.to_str() else { return Ok(None) };
        let index = match self.members.get(name) {
            Some(&(Member::Whole(index) | Member::Ending(index))) => index,
            Some(Member::Several) | None => return Ok(None),
        };
        let reading = || format!("--images: cannot read {name} in {}", self.path.display());
        let mut archive = self.archive.clone(); // its directory is shared
        let member = match archive.by_index(index) {
            Ok(member) => member,
            Err(ZipError::Io(error)) => return Err(error).with_context(reading),
            Err(error) => return Ok(Some(Err(DecodeError::Corrupt(format!("in the zip: {error}"))))),
        };
        let mut bytes = Vec::with_capacity(member.size().min(1 << 26) as usize);
        match member.take(MOST_BYTES).read_to_end(&mut bytes) {
            Ok(_) => Ok(Some(Ok(bytes))),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput) => {
                Ok(Some(Err(DecodeError::Corrupt(format!("in the zip: {error}")))))
            }
            Err(error) => Err(error).with_context(reading),
        }
    }
}

fn add_names(members: &mut HashMap<Box<str>, Member>, name: &str, index: usize) {
    members.insert(name.into(), Member::Whole(index));
    for (slash, _) in name.match_indices('/') {
        match members.entry(name[slash + 1..].into()) {
            Entry::Vacant(entry) => drop(entry.insert(Member::Ending(index))),
            Entry::Occupied(mut entry) => {
                if matches!(entry.get(), Member::Ending(_)) {
                    entry.insert(Member::Several);
                }
            }
        }
    }
}

fn read_at(tar: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    let reading = || format!("--tars: cannot read {}", tar.display());
    let file = File::open(tar).with_context(reading)?;
    let end = file.metadata().with_context(reading)?.len();
    ensure!(offset + length <= end, "--tars: {} has become shorter while it was read", tar.display());
    let mut bytes = vec![0; length.min(MOST_BYTES) as usize];
    file.read_exact_at(&mut bytes, offset).with_context(reading)?;
    Ok(bytes)
}

fn stays_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// What an operating system says of a name that no file has, too long a name or one with a NUL included.
const NO_SUCH_FILE: [ErrorKind; 4] =
    [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::InvalidFilename, ErrorKind::InvalidInput];

/// The bytes of a file; `None` where there is no file of that name.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        // Looked at before it is opened: opening a pipe waits for somebody to write into it.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(metadata.len().min(MOST_BYTES) as usize + 1);
        File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    match read() {
        Err(error) if NO_SUCH_FILE.contains(&error.kind()) => Ok(None),
        read => read.with_context(|| format!("--images: cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_images_folder() {
        for name in ["../a.jpg", "/etc/passwd", "a/../../b.jpg"] {
            assert!(!stays_inside(name), "{name}");
        }
        assert!(stays_inside("train2014/a.jpg") && stays_inside("a..jpg"));
    }

    #[test]
    fn an_absolute_name_may_lie_in_the_folder() {
        let folder = Store::Folder("/data/photos".into());
        assert_eq!(folder.inside("/data/photos/a/b.jpg"), Some(Path::new("a/b.jpg")));
        assert_eq!(folder.inside("/data/photos/../b.jpg"), None);
        assert_eq!(folder.inside("/data/other/b.jpg"), None);
    }
}
