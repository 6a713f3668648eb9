//! Where a run stands in its data: all that resuming needs.

use serde::{Deserialize, Serialize};

/// The next step to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step within the epoch, from 0.
    pub step: u64,
}

impl Cursor {
    /// The cursor after `place` steps of epochs of `steps` steps.
    ///
    /// # Panics
    /// If an epoch has no step.
    pub fn at(place: u64, steps: u64) -> Self {
        Self { epoch: place / steps, step: place % steps }
    }

    /// Steps taken before this one since the first epoch began.
    pub fn place(self, steps: u64) -> u64 {
        self.epoch.saturating_mul(steps).saturating_add(self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_and_its_place_name_the_same_step() {
        for place in 0..20 {
            assert_eq!(Cursor::at(place, 7).place(7), place);
        }
        assert_eq!(Cursor::at(7, 7), Cursor { epoch: 1, step: 0 });
    }
}
