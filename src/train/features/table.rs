//! Which rows are kept, and where: 4 bytes a row and variant.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::Range;

/// Rows of a block: a variant that few rows have costs the blocks that those lie in.
const BLOCK: u64 = 1024;

/// What has features of its own: a row's picture in a view, or one of its captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Number of the row among all rows of the split.
    pub row: u64,
    /// View, or index of the caption in the row's list.
    pub variant: u32,
}

impl Item {
    fn block(self) -> (u32, u64) {
        (self.variant, self.row / BLOCK)
    }

    fn seat(self) -> usize {
        (self.row % BLOCK) as usize
    }
}

/// The place of every item that is kept, from 0 in the order of their coming.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Place + 1; 0 where there is none.
    blocks: HashMap<(u32, u64), Vec<u32>>,
    len: u32,
}

impl Table {
    /// Number of items.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Where an item is kept.
    pub fn get(&self, item: Item) -> Option<u32> {
        self.blocks.get(&item.block())?[item.seat()].checked_sub(1)
    }

    /// Gives an item the next place; one that has a place keeps it.
    ///
    /// # Panics
    /// If 2³² − 1 items are kept already.
    pub fn add(&mut self, item: Item) -> u32 {
        let block = self.blocks.entry(item.block()).or_insert_with(|| vec![0; BLOCK as usize]);
        let seat = &mut block[item.seat()];
        if *seat == 0 {
            self.len = self.len.checked_add(1).expect("no more than 2³² − 1 items are kept");
            *seat = self.len;
        }
        *seat - 1
    }

    /// Writes all blocks: variant, number of the block, places + 1; little-endian.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for ((variant, number), seats) in &self.blocks {
            out.write_all(&variant.to_le_bytes())?;
            out.write_all(&number.to_le_bytes())?;
            let bytes: Vec<u8> = seats.iter().flat_map(|seat| seat.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        Ok(())
    }

    /// What [`Table::write`] wrote; nothing where the bytes are no table.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        const HEAD: usize = 12;
        let blocks = bytes.chunks_exact(HEAD + 4 * BLOCK as usize);
        if !blocks.remainder().is_empty() {
            return None;
        }
        let mut table = Self::default();
        for block in blocks {
            let variant = u32::from_le_bytes(block[..4].try_into().ok()?);
            let number = u64::from_le_bytes(block[4..HEAD].try_into().ok()?);
            let seats = block[HEAD..].chunks_exact(4);
            let seats = seats.map(|seat| u32::from_le_bytes([seat[0], seat[1], seat[2], seat[3]]));
            let seats: Vec<u32> = seats.collect();
            table.len += seats.iter().filter(|&&seat| seat > 0).count() as u32;
            table.blocks.insert((variant, number), seats);
        }
        Some(table)
    }
}

/// What the loader sees of the kept rows: they serve these steps of the run and no others.
#[derive(Debug, Default)]
pub struct Shelf {
    /// Steps whose weights the features are of.
    pub steps: Range<u64>,
    /// What is kept.
    pub table: Table,
}

impl Shelf {
    /// Whether a step can do without the item itself.
    pub fn serves(&self, step: u64, item: Item) -> bool {
        self.steps.contains(&step) && self.table.get(item).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of several blocks, some of them with several variants.
    fn items() -> Vec<Item> {
        let rows = [0, 1, 1023, 1024, 5000, 1 << 40];
        rows.iter().flat_map(|&row| (0..=row % 3).map(move |v| Item { row, variant: v as u32 })).collect()
    }

    fn table() -> Table {
        let mut table = Table::default();
        for item in items() {
            table.add(item);
        }
        table
    }

    #[test]
    fn places_follow_the_order_of_coming_and_stay() {
        let mut table = table();
        for (place, item) in items().into_iter().enumerate() {
            assert_eq!((table.get(item), table.add(item)), (Some(place as u32), place as u32));
        }
        assert_eq!(table.len() as usize, items().len());
        let absent =
            [Item { row: 2, variant: 0 }, Item { row: 0, variant: 1 }, Item { row: 9999, variant: 0 }];
        assert_eq!(absent.map(|item| table.get(item)), [None; 3]);
    }

    #[test]
    fn a_table_reads_back_as_it_was_written_and_a_cut_one_does_not() {
        let mut bytes = Vec::new();
        table().write(&mut bytes).unwrap();
        assert_eq!(Table::read(&bytes), Some(table()));
        assert_eq!(Table::read(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Table::read(&[]), Some(Table::default()));
    }

    #[test]
    fn a_shelf_serves_the_steps_of_its_weights_alone() {
        let shelf = Shelf { steps: 3..5, table: table() };
        let item = items()[4];
        assert_eq!([2, 3, 4, 5].map(|step| shelf.serves(step, item)), [false, true, true, false]);
        assert!(!shelf.serves(3, Item { row: 7, variant: 0 }));
    }
}
