//! Rows through a tower, always so many at a time: what a row gives must not depend on which rows
//! stand beside it, to the last bit, or a run that was resumed would end elsewhere than one that was
//! not. Kernels are chosen by shape, so every pass has one of few shapes.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::load::Batch;
use crate::load::batch::TOKEN_STEP;

/// Features `[rows, width]` of some of the pictures in `images`, `size` bytes each. `forward` maps pictures
/// `[at_a_time, side, side, 3]` to `[at_a_time, width]`; those that fill a pass up are black.
pub fn pictures(
    images: &[u8],
    size: usize,
    rows: &[usize],
    at_a_time: usize,
    forward: impl Fn(&[u8]) -> Tensor,
) -> Tensor {
    in_passes(rows, at_a_time, |seats| {
        let mut pixels = vec![0; at_a_time * size];
        for (&row, seat) in seats.iter().zip(pixels.chunks_exact_mut(size)) {
            seat.copy_from_slice(&images[row * size..][..size]);
        }
        forward(&pixels)
    })
}

/// Features `[texts, width]` of some texts of a batch, each among texts of its own padded length.
/// `forward` maps ids `[at_a_time, length]`, the numbers of those that are no padding, and `length`
/// to `[at_a_time, width]`.
pub fn texts(
    batch: &Batch,
    texts: &[usize],
    (at_a_time, max_tokens): (usize, usize),
    forward: impl Fn(&[i32], &[i32], usize) -> Tensor,
) -> Tensor {
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, &text) in texts.iter().enumerate() {
        let length = (batch.lengths[text] as usize).next_multiple_of(TOKEN_STEP).min(max_tokens);
        by_length.entry(length).or_default().push(place);
    }
    if texts.is_empty() {
        by_length.insert(TOKEN_STEP.min(max_tokens), Vec::new());
    }
    let features = by_length.iter().map(|(&length, places)| {
        in_passes(places, at_a_time, |seats| {
            // A pad alone would be a text of no token, whose mean is none.
            let (mut ids, mut lengths) = (vec![0; at_a_time * length], vec![1; at_a_time]);
            for (seat, &place) in seats.iter().enumerate() {
                let (text, own) = (texts[place], batch.lengths[texts[place]]);
                let from = &batch.tokens[text * batch.max_len..][..own as usize];
                ids[seat * length..][..from.len()].copy_from_slice(from);
                lengths[seat] = own;
            }
            forward(&ids, &lengths, length)
        })
    });
    let features = Tensor::cat(&features.collect::<Vec<_>>(), 0);
    let order: Vec<i64> = by_length.values().flatten().map(|&place| place as i64).collect();
    features.index_select(0, &Tensor::from_slice(&order).argsort(0, false).to_device(features.device()))
}

/// Features of `rows`, of which `pass` gets at most `at_a_time`; one pass at least, so that the
/// width shows.
fn in_passes(rows: &[usize], at_a_time: usize, pass: impl Fn(&[usize]) -> Tensor) -> Tensor {
    let chunks: Vec<&[usize]> = if rows.is_empty() { vec![rows] } else { rows.chunks(at_a_time).collect() };
    let features = chunks.iter().map(|seats| pass(seats).narrow(0, 0, seats.len() as i64));
    Tensor::cat(&features.collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, nn};

    use super::*;
    use crate::seed::{Draws, Purpose, seed_for};
    use crate::train::model::{BertConfig, Clip, Layout, Logits, Mode, ModelConfig, Pooling, ResnetConfig};
    use crate::train::trainer::{padded, pixels};

    const SIDE: usize = 64;

    const SIZE: usize = SIDE * SIDE * 3;

    /// Pictures of noise.
    fn noise(rows: usize) -> Vec<u8> {
        let mut draws = Draws::new(seed_for(2, Purpose::Crop, 0, 0));
        (0..rows * SIZE).map(|_| draws.below(256) as u8).collect()
    }

    /// Texts of noise, of 2 to 30 tokens.
    fn batch(rows: usize) -> Batch {
        let mut draws = Draws::new(seed_for(1, Purpose::Crop, 0, 0));
        let mut batch = Batch { max_len: 32, ..Batch::default() };
        for _ in 0..rows {
            let length = 2 + draws.below(29) as usize;
            batch.lengths.push(length as i32);
            batch.tokens.extend((0..32).map(|at| if at < length { 1 + draws.below(90) as i32 } else { 0 }));
        }
        batch
    }

    fn model(kind: Kind) -> (nn::VarStore, Clip) {
        let mut store = nn::VarStore::new(Device::Cpu);
        if kind == Kind::Double {
            store.set_kind(Kind::Double);
        }
        tch::manual_seed(3);
        let text = BertConfig {
            vocab_size: 99,
            hidden_size: 128,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 256,
            ..BertConfig::default()
        };
        let image = ResnetConfig { layers: [1, 2, 2, 1], width: 32 };
        let clip = Clip::new(
            &store,
            &ModelConfig {
                image,
                text,
                embed_dim: 8,
                pooling: Pooling::Mean,
                logits: Logits::Softmax,
                matching: false,
            },
        );
        store.freeze();
        (store, clip)
    }

    fn images_of(clip: &Clip, kind: Kind, images: &[u8], rows: &[usize]) -> Tensor {
        pictures(images, SIZE, rows, 4, |images| {
            clip.image_features(&pixels(images, SIDE, Device::Cpu, kind, Layout::ChannelsFirst), Mode::Eval)
        })
    }

    fn texts_of(clip: &Clip, batch: &Batch, rows: &[usize]) -> Tensor {
        texts(batch, rows, (4, 30), |ids, lengths, length| {
            assert!(ids.len() == 4 * length && length <= 30 && (length % 8 == 0 || length == 30), "{length}");
            let (tokens, mask) = padded(ids, lengths, length, Device::Cpu);
            clip.text_features(&tokens, &mask, Mode::Eval)
        })
    }

    #[test]
    fn what_a_row_gives_does_not_depend_on_the_rows_beside_it_to_the_last_bit() {
        let (noise, batch) = (noise(13), batch(13));
        let all: Vec<usize> = (0..13).collect();
        for kind in [Kind::Float, Kind::Double] {
            let (_store, clip) = model(kind);
            let (images, texts) = (images_of(&clip, kind, &noise, &all), texts_of(&clip, &batch, &all));
            for rows in [&[12, 3, 7, 0, 9, 1][..], &[5], &[6, 5, 4], &[11, 10, 9, 8, 7]] {
                let places: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
                let places = Tensor::from_slice(&places);
                assert!(images_of(&clip, kind, &noise, rows).equal(&images.index_select(0, &places)));
                assert!(texts_of(&clip, &batch, rows).equal(&texts.index_select(0, &places)));
            }
        }
    }

    #[test]
    fn what_a_row_gives_is_what_the_whole_batch_gives() {
        let (noise, batch, all) = (noise(13), batch(13), (0..13).collect::<Vec<_>>());
        let (_store, clip) = model(Kind::Double);
        let images = pixels(&noise, SIDE, Device::Cpu, Kind::Double, Layout::ChannelsFirst);
        let (tokens, mask) = padded(&batch.tokens, &batch.lengths, 32, Device::Cpu);
        let whole =
            [clip.image_features(&images, Mode::Eval), clip.text_features(&tokens, &mask, Mode::Eval)];
        let parts = [images_of(&clip, Kind::Double, &noise, &all), texts_of(&clip, &batch, &all)];
        for (whole, parts) in whole.iter().zip(&parts) {
            assert!((whole - parts).abs().max().double_value(&[]) < 1e-12);
        }
    }

    #[test]
    fn no_row_has_the_width_of_every_row() {
        let (batch, (_store, clip)) = (batch(2), model(Kind::Float));
        assert_eq!(images_of(&clip, Kind::Float, &noise(2), &[]).size(), [0, 1024]);
        assert_eq!(texts_of(&clip, &batch, &[]).size(), [0, 128]);
    }
}
