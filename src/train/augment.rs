//! Flip and colour jitter of what a step sees: what is drawn, and two ways to do it.

pub mod pixels;
#[cfg(feature = "train")]
pub mod tensors;

use super::config::Config;
use crate::sample::Augment;
use crate::seed::{Draws, Purpose, hash64, seed_for};

/// Weights of red, green and blue in gray, as torchvision has them.
const GRAY: [f64; 3] = [0.2989, 0.587, 0.114];

/// What may be done to the pictures of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    seed: u64,
    /// Probability.
    flip: f64,
    /// Greatest change of brightness, contrast and saturation as factors, and of hue in turns.
    jitter: [f64; 4],
}

impl Augmentation {
    /// `data.flip` and `data.jitter` of a config, where they ask for anything.
    pub fn of(config: &Config) -> Option<Self> {
        let (flip, jitter) = (config.data.flip, config.data.jitter);
        (flip > 0.0 || jitter != [0.0; 4]).then_some(Self { seed: config.run.seed, flip, jitter })
    }

    /// What is done to the picture of `key` in an epoch: a function of these and the run's seed alone.
    pub fn draw(&self, epoch: u64, key: &str) -> Augment {
        let mut draws = Draws::new(seed_for(self.seed, Purpose::Jitter, epoch, hash64(key)));
        let [brightness, contrast, saturation, hue] = self.jitter;
        let flip = draws.chance(self.flip);
        let mut factor = |change: f64| draws.between((1.0 - change).max(0.0), 1.0 + change) as f32;
        let (brightness, contrast, saturation) = (factor(brightness), factor(contrast), factor(saturation));
        let hue = draws.between(-hue, hue) as f32;
        Augment { flip, brightness, contrast, saturation, hue, grayscale: false }
    }

    /// What is done to the picture of each key.
    pub fn draw_all<'a>(&self, epoch: u64, keys: impl Iterator<Item = &'a str>) -> Vec<Augment> {
        keys.map(|key| self.draw(epoch, key)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const ALL: Augmentation = Augmentation { seed: 3, flip: 0.5, jitter: [0.4, 0.4, 0.4, 0.1] };

    pub fn drawn(augmentation: Augmentation, count: usize) -> Vec<Augment> {
        (0..count).map(|at| augmentation.draw(5, &format!("key {at}"))).collect()
    }

    #[test]
    fn a_draw_is_a_function_of_seed_epoch_and_key() {
        let other = Augmentation { seed: 4, ..ALL };
        assert_eq!(ALL.draw(1, "a"), ALL.draw(1, "a"));
        let others = [ALL.draw(2, "a"), ALL.draw(1, "b"), other.draw(1, "a")];
        assert!(!others.contains(&ALL.draw(1, "a")));
    }

    #[test]
    fn draws_stay_in_their_ranges_and_fill_them() {
        let wide = Augmentation { jitter: [1.5, 0.4, 0.4, 0.1], ..ALL };
        let draws = drawn(wide, 2000);
        let range = |of: fn(&Augment) -> f32| {
            let values = draws.iter().map(of);
            (values.clone().fold(f32::MAX, f32::min), values.fold(f32::MIN, f32::max))
        };
        let near = |(low, high): (f32, f32), least: f32, most: f32| {
            let slack = (most - least) / 50.0;
            least <= low && low < least + slack && most - slack < high && high <= most
        };
        assert!(near(range(|augment| augment.brightness), 0.0, 2.5), "never below 0");
        assert!(near(range(|augment| augment.contrast), 0.6, 1.4));
        assert!(near(range(|augment| augment.hue), -0.1, 0.1));
        let flips = draws.iter().filter(|augment| augment.flip).count();
        assert!((900..1100).contains(&flips), "{flips} of 2000");
    }
}
