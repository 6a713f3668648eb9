//! One tower's kept features over the stages that it is frozen in.

use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::Result;
use serde_json::Value;
use tch::Tensor;

use super::room;
use super::store::{self, Layout, Store};
use super::table::{Item, Shelf};
use crate::files::human_bytes;
use crate::train::weights;

/// Features of one tower: kept in a file while it is frozen, and forgotten when it trains.
pub struct Tower {
    name: &'static str,
    folder: PathBuf,
    /// How many items there are, to foresee the file's size.
    items: u64,
    /// Steps that it is frozen in; stages that follow each other make one stretch.
    frozen: Vec<Range<u64>>,
    /// The stretch at hand.
    now: Option<Range<u64>>,
    key: Value,
    /// Absent before the first row, and where the disk takes none.
    store: Option<Store>,
    /// Whether rows are added.
    keeps: bool,
    shelf: Arc<RwLock<Shelf>>,
    notes: Vec<String>,
}

/// Features of a step's items.
pub struct Rows {
    /// `[items, width]`, on the CPU.
    pub features: Tensor,
    /// How many came from the file.
    pub kept: usize,
}

impl Tower {
    /// A tower that is frozen in these steps and has so many items; its files will lie in `folder`.
    pub fn new(name: &'static str, folder: &Path, items: u64, frozen: Vec<Range<u64>>) -> Self {
        Self {
            name,
            folder: folder.to_owned(),
            items,
            frozen,
            now: None,
            key: Value::Null,
            store: None,
            keeps: false,
            shelf: Arc::default(),
            notes: Vec::new(),
        }
    }

    /// What is kept, for the loader.
    pub fn shelf(&self) -> Arc<RwLock<Shelf>> {
        self.shelf.clone()
    }

    /// Whether it is frozen now.
    pub fn is_frozen(&self) -> bool {
        self.now.is_some()
    }

    /// What there is to say since the last time.
    pub fn take_notes(&mut self) -> Vec<String> {
        mem::take(&mut self.notes)
    }

    /// Goes on to a step: takes up what an earlier process kept under `key`, begins anew, or leaves
    /// off where the tower trains.
    pub fn enter(&mut self, step: u64, key: impl FnOnce() -> Value) {
        let now = self.frozen.iter().find(|steps| steps.contains(&step)).cloned();
        if self.now == now {
            return;
        }
        (self.store, self.keeps, self.now) = (None, now.is_some(), now);
        *self.shelf_mut() = Shelf::default();
        let Some(steps) = self.now.clone() else { return };
        self.key = key();
        let Some(found) = store::find(&self.folder, self.name, &self.key) else { return };
        match Store::open(&self.folder, self.name, &self.key, found.layout, Some(&found)) {
            Ok(store) => {
                self.notes.push(format!(
                    "{} features of the {} tower are kept already",
                    found.table.len(),
                    self.name
                ));
                self.store = Some(store);
                *self.shelf_mut() = Shelf { steps, table: found.table };
            }
            Err(error) => self.give_up(&error),
        }
    }

    /// The features of items. What is not kept is computed, where it is `wanted`, and kept from then
    /// on; what is not wanted is 0. `compute` gives `[items, width]` of the items with these numbers.
    ///
    /// # Errors
    /// If what was kept cannot be read.
    pub fn rows(
        &mut self,
        items: &[Item],
        wanted: impl Fn(usize) -> bool,
        compute: impl FnOnce(&[usize]) -> Tensor,
    ) -> Result<Rows> {
        let places: Vec<Option<u32>> = items.iter().map(|&item| self.shelf_ref().table.get(item)).collect();
        let missing = |number: &usize| places[*number].is_none() && wanted(*number);
        let missing: Vec<usize> = (0..items.len()).filter(missing).collect();
        let fresh = match &self.store {
            Some(_) if missing.is_empty() => None,
            _ => Some(Fresh::of(&compute(&missing))?),
        };
        if let (Some(fresh), None, true) = (&fresh, &self.store, self.keeps) {
            self.begin(fresh.layout);
        }
        let layout = fresh.as_ref().map(|fresh| fresh.layout).or(self.store.as_ref().map(Store::layout));
        let layout = layout.expect("they were computed, or are kept");
        let mut bytes = vec![0; items.len() * layout.bytes];
        let kept = self.read(&places, items, &mut bytes)?;
        for (row, &number) in fresh.iter().flat_map(Fresh::rows).zip(&missing) {
            bytes[number * layout.bytes..][..layout.bytes].copy_from_slice(row);
            self.keep(items[number], row);
        }
        let size = [items.len() as i64, layout.width as i64];
        let features = Tensor::f_from_data_size(&bytes, &size, weights::kind(layout.dtype)?)?;
        Ok(Rows { features, kept })
    }

    /// Reads what has a place into its part of `rows`; gives back how many that are.
    fn read(&self, places: &[Option<u32>], items: &[Item], rows: &mut [u8]) -> Result<usize> {
        let Some(store) = &self.store else { return Ok(0) };
        let mut kept = 0;
        let seats = rows.chunks_exact_mut(store.layout().bytes);
        for ((place, &item), seat) in places.iter().zip(items).zip(seats) {
            if let Some(place) = place {
                store.read(*place, item, seat)?;
                kept += 1;
            }
        }
        Ok(kept)
    }

    /// Makes the file, where the disk has room for all that may come.
    fn begin(&mut self, layout: Layout) {
        let each = layout.bytes as u64;
        match self.create(layout) {
            Ok(store) => {
                self.store = Some(store);
                self.shelf_mut().steps = self.now.clone().expect("it is frozen");
                self.notes.push(format!(
                    "the {} tower is frozen: its features are kept in {}, {} each, at most {}",
                    self.name,
                    self.folder.display(),
                    human_bytes(each),
                    human_bytes(each * self.items)
                ));
            }
            Err(error) => self.give_up(&error),
        }
    }

    fn create(&self, layout: Layout) -> Result<Store> {
        let store = Store::open(&self.folder, self.name, &self.key, layout, None)?;
        let room = room::check(&self.folder, layout.bytes as u64 * self.items);
        if room.is_err() {
            store::remove(&self.folder, self.name)?;
        }
        room.map(|()| store)
    }

    fn keep(&mut self, item: Item, row: &[u8]) {
        let Some(store) = self.store.as_ref().filter(|_| self.keeps) else { return };
        let place = {
            let shelf = self.shelf_ref();
            // An item may come twice in a step.
            if shelf.table.get(item).is_some() { return } else { shelf.table.len() }
        };
        match store.write(place, item, row) {
            Ok(()) => {
                self.shelf_mut().table.add(item);
            }
            Err(error) => self.give_up(&error),
        }
    }

    /// Adds no more: what is kept serves on, the rest is computed whenever it is needed.
    fn give_up(&mut self, error: &anyhow::Error) {
        self.keeps = false;
        self.notes.push(format!("no more features of the {} tower are kept: {error:#}", self.name));
    }

    /// After `done` steps, of which there is a checkpoint: a resumed run will find what is kept now.
    /// What no later step can use is removed.
    pub fn checkpoint(&mut self, done: u64) {
        let serves = self.now.as_ref().is_some_and(|steps| steps.contains(&done));
        let shelf = self.shelf.clone();
        let result = match &mut self.store {
            Some(store) if serves => store.commit(&read(&shelf).table),
            _ if serves => Ok(()),
            _ => store::remove(&self.folder, self.name),
        };
        if let Err(error) = result {
            self.notes.push(format!("the kept features of the {} tower: {error:#}", self.name));
        }
    }

    fn shelf_ref(&self) -> RwLockReadGuard<'_, Shelf> {
        read(&self.shelf)
    }

    fn shelf_mut(&self) -> RwLockWriteGuard<'_, Shelf> {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shelf is whole after every change, so a panic of another thread spoils none.
pub fn read(shelf: &RwLock<Shelf>) -> RwLockReadGuard<'_, Shelf> {
    shelf.read().unwrap_or_else(PoisonError::into_inner)
}

/// Features that were computed now, as bytes.
struct Fresh {
    layout: Layout,
    bytes: Vec<u8>,
}

impl Fresh {
    /// Of `[rows, width]`.
    fn of(features: &Tensor) -> Result<Self> {
        let width = features.size2()?.1 as usize;
        let bytes = width * features.kind().elt_size_in_bytes();
        let layout = Layout { dtype: weights::dtype(features.kind())?, width, bytes };
        Ok(Self { layout, bytes: weights::bytes_of(features) })
    }

    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.layout.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use serde_json::json;
    use tch::{Kind, Tensor};

    use super::*;

    /// A tower that is frozen in steps 0 to 9 and 20 to 29.
    fn tower(folder: &Path) -> Tower {
        let mut tower = Tower::new("image", folder, 100, vec![0..10, 20..30]);
        tower.enter(0, || json!("a"));
        tower
    }

    fn item(row: u64) -> Item {
        Item { row, variant: 1 }
    }

    /// The features of rows, `[row, row + weights]`, and the rows that were computed.
    fn step(tower: &mut Tower, rows: &[u64], weights: f32) -> (Vec<f32>, Vec<u64>) {
        let items: Vec<Item> = rows.iter().map(|&row| item(row)).collect();
        let computed = Cell::new(Vec::new());
        let found = tower.rows(
            &items,
            |number| rows[number] != 13,
            |missing| {
                computed.set(missing.iter().map(|&number| rows[number]).collect());
                let each =
                    missing.iter().flat_map(|&number| [rows[number] as f32, rows[number] as f32 + weights]);
                Tensor::from_slice(&each.collect::<Vec<_>>()).view([-1, 2])
            },
        );
        let features = found.unwrap().features.view(-1);
        (Vec::try_from(features).unwrap(), computed.into_inner())
    }

    #[test]
    fn what_was_computed_once_is_read_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut tower = tower(folder.path());
        assert_eq!(step(&mut tower, &[5, 6], 0.5), (vec![5.0, 5.5, 6.0, 6.5], vec![5, 6]));
        assert_eq!(step(&mut tower, &[6, 7, 5], 0.25), (vec![6.0, 6.5, 7.0, 7.25, 5.0, 5.5], vec![7]));
        assert_eq!(step(&mut tower, &[7, 6], 0.0), (vec![7.0, 7.25, 6.0, 6.5], vec![]));
        let shelf = tower.shelf();
        assert!(read(&shelf).serves(9, item(7)) && !read(&shelf).serves(20, item(7)));
    }

    #[test]
    fn what_is_not_wanted_is_zero_and_never_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut tower = tower(folder.path());
        for computed in [vec![1], vec![]] {
            assert_eq!(step(&mut tower, &[13, 1], 0.5), (vec![0.0, 0.0, 1.0, 1.5], computed));
        }
        assert!(!read(&tower.shelf()).serves(0, item(13)));
    }

    #[test]
    fn a_first_step_without_a_row_that_is_wanted_is_all_zero() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(step(&mut tower(folder.path()), &[13], 0.5), (vec![0.0, 0.0], vec![]));
    }

    #[test]
    fn an_item_that_comes_twice_in_a_step_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut tower = tower(folder.path());
        step(&mut tower, &[4, 4, 5], 0.5);
        assert_eq!(step(&mut tower, &[5, 4], 0.0), (vec![5.0, 5.5, 4.0, 4.5], vec![]));
        assert_eq!(read(&tower.shelf()).table.len(), 2);
    }

    #[test]
    fn other_weights_find_nothing_of_those_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut tower = tower(folder.path());
        step(&mut tower, &[5], 0.5);
        tower.enter(10, || unreachable!("it trains"));
        assert!(!tower.is_frozen());
        assert!(!read(&tower.shelf()).serves(9, item(5)));
        tower.enter(20, || json!("b"));
        assert_eq!(step(&mut tower, &[5], 0.25), (vec![5.0, 5.25], vec![5]));
    }

    #[test]
    fn another_process_finds_what_was_there_at_the_last_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = tower(folder.path());
        step(&mut first, &[5, 6], 0.5);
        first.checkpoint(3);
        step(&mut first, &[7], 0.5);
        drop(first); // a kill
        let mut second = tower(folder.path());
        assert!(read(&second.shelf()).serves(0, item(5)));
        assert_eq!(second.take_notes(), ["2 features of the image tower are kept already"]);
        assert_eq!(step(&mut second, &[5, 6, 7], 0.25), (vec![5.0, 5.5, 6.0, 6.5, 7.0, 7.25], vec![7]));
    }

    #[test]
    fn the_files_go_with_the_checkpoint_after_the_last_step_that_they_serve() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("features");
        let mut tower = tower(&inner);
        step(&mut tower, &[5], 0.5);
        tower.checkpoint(9);
        assert!(inner.join("image.index").is_file());
        tower.checkpoint(10);
        assert!(!inner.exists());
    }

    #[test]
    fn without_a_folder_every_step_computes_its_own_and_one_note_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("features");
        fs::write(&file, "").unwrap();
        let mut tower = tower(&file);
        for _ in 0..2 {
            assert_eq!(step(&mut tower, &[5], 0.5), (vec![5.0, 5.5], vec![5]));
        }
        let rows = file.join("image.rows");
        let begin =
            format!("no more features of the image tower are kept: cannot write {}: ", rows.display());
        let notes = tower.take_notes();
        assert!(notes.len() == 1 && notes[0].starts_with(&begin), "{notes:?}");
        assert!(!read(&tower.shelf()).serves(0, item(5)));
    }

    #[test]
    fn a_disk_that_takes_no_more_ends_the_keeping_and_not_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut tower = tower(folder.path());
        step(&mut tower, &[5], 0.5);
        tower.store.as_mut().unwrap().refuse_writes();
        tower.take_notes();
        for _ in 0..2 {
            assert_eq!(step(&mut tower, &[6, 5], 0.25), (vec![6.0, 6.25, 5.0, 5.5], vec![6]));
        }
        let notes = tower.take_notes();
        assert!(
            notes.len() == 1 && notes[0].starts_with("no more features of the image tower are kept"),
            "{notes:?}"
        );
    }

    #[test]
    fn features_keep_the_type_of_the_tower() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [Kind::Double, Kind::BFloat16] {
            let mut tower = tower(folder.path());
            tower.enter(10, || unreachable!());
            tower.enter(20, || json!(format!("{kind:?}")));
            for _ in 0..2 {
                let rows = tower.rows(
                    &[item(1)],
                    |_| true,
                    |_| Tensor::from_slice(&[0.1, 0.2]).view([1, 2]).to_kind(kind),
                );
                let features = rows.unwrap().features;
                assert!(features.equal(&Tensor::from_slice(&[0.1, 0.2]).view([1, 2]).to_kind(kind)));
            }
        }
    }
}
