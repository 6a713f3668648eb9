//! One row's picture → its place in a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::error::{LoadError, Place};
use super::pairs::Row;
use crate::decode::{Cut, Scratch, decode_stored_into};
use crate::seed::{Draws, Purpose, hash64, seed_for};
use crate::shard::{Lines, Pixels, StoredRow};

/// Which square of a stored picture is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    side: usize,
    /// The place that is drawn; the centre where there is none.
    drawn: Option<u64>,
}

impl Window {
    /// The centred square; an odd margin leaves its extra pixel on the right or bottom.
    pub fn centre(side: usize) -> Self {
        Self { side, drawn: None }
    }

    /// A square anywhere in the picture, every place as likely: a function of seed, epoch and key.
    pub fn random(side: usize, seed: u64, epoch: u64, key: &str) -> Self {
        Self { side, drawn: Some(seed_for(seed, Purpose::Crop, epoch, hash64(key))) }
    }

    /// The square in a picture of `width`×`height` pixels, which has room for it.
    fn cut(self, width: usize, height: usize) -> Cut {
        let (across, down) = (width - self.side, height - self.side);
        let (x, y) = match self.drawn.map(Draws::new) {
            Some(mut draws) => {
                (draws.below(across as u64 + 1) as usize, draws.below(down as u64 + 1) as usize)
            }
            None => (across / 2, down / 2),
        };
        Cut { x, y, side: self.side }
    }
}

/// Draws pictures. Keeps its buffers, so one serves a batch.
#[derive(Default)]
pub struct Brush {
    bytes: Vec<u8>,
    scratch: Scratch,
    /// Bytes that were read.
    pub read: u64,
    /// Time spent on decoding.
    pub decoding: Duration,
}

impl Brush {
    /// Draws a square of one row's picture into `out`, `[side, side, 3]`, and says which it is.
    ///
    /// # Errors
    /// If the picture is damaged or has no room for the square, or its shard cannot be read.
    pub fn draw(&mut self, row: &Row, view: u32, window: Window, out: &mut [u8]) -> Result<Cut, LoadError> {
        let (pixels, stored, checked) = row.stored(view)?;
        let (width, height, side) = (stored.width as usize, stored.height as usize, window.side);
        if side > width || side > height {
            let why = format!("it is stored as {width}x{height}: a square of {side} does not fit");
            return Err(LoadError::Sample { place: row.place(view), why });
        }
        let cut = window.cut(width, height);
        let lines = Lines { from: (cut.y * width + cut.x) * 3, stride: width * 3, length: side * 3 };
        if let (Pixels::Raw { .. }, true) = (pixels, checked)
            && row.raw_lines(view, width * height * 3, lines, out)?
        {
            self.read += out.len() as u64;
            return Ok(cut);
        }
        row.picture(view, &mut self.bytes)?;
        self.read += self.bytes.len() as u64;
        at_place(
            || row.place(view),
            || match pixels {
                Pixels::Raw { .. } if self.bytes.len() != width * height * 3 => {
                    Err("its pixels have another size".into())
                }
                Pixels::Raw { .. } => {
                    cut.copy(&self.bytes[cut.y * width * 3..], width, out);
                    Ok(())
                }
                Pixels::Image => self.decode(stored, cut, out),
            },
        )
        .map(|()| cut)
    }

    fn decode(&mut self, stored: StoredRow, cut: Cut, out: &mut [u8]) -> Result<(), String> {
        let began = Instant::now();
        let size = (stored.width, stored.height);
        let decoded = decode_stored_into(&self.bytes, size, cut, &mut self.scratch, out);
        self.decoding += began.elapsed();
        decoded.map_err(|error| error.to_string())
    }
}

/// Errors and panics of work on one row, with its place.
fn at_place(place: impl Fn() -> Place, work: impl FnOnce() -> Result<(), String>) -> Result<(), LoadError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|why| LoadError::Sample { place: place(), why }),
        Err(panic) => Err(LoadError::panicked(Some(place()), &*panic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_name_the_row_that_was_worked_on() {
        let place = || Place { shard: "a.parquet".into(), row: 3, key: "k".into() };
        let message = |work: fn() -> Result<(), String>| at_place(place, work).unwrap_err().to_string();
        assert_eq!(message(|| Err("cut".into())), "row 3 of a.parquet, key k: cut");
        let panic = "row 3 of a.parquet, key k: a loader thread panicked: oh";
        assert_eq!(message(|| panic!("oh")), panic);
    }

    #[test]
    fn an_odd_margin_leaves_its_extra_pixel_on_the_right_and_bottom() {
        assert_eq!(Window::centre(2).cut(5, 4), Cut { x: 1, y: 1, side: 2 });
    }

    #[test]
    fn a_random_square_reaches_every_place_and_is_the_same_again() {
        let places =
            |key: &str| (0..200).map(|epoch| Window::random(4, 9, epoch, key).cut(6, 5)).collect::<Vec<_>>();
        let all = places("a");
        for (x, y) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)] {
            assert!(all.contains(&Cut { x, y, side: 4 }), "{x}, {y}");
        }
        assert!(all == places("a") && all != places("b"));
    }
}
