//! Pictures that a step can do without.

use std::sync::{Arc, Mutex};

use pairmill::load::{Cursor, Picture, start};

use super::{batcher, content};
use crate::dataset::{Recipe, SMALL};

#[test]
fn a_picture_that_a_step_can_do_without_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = [Recipe { views: 2, ..SMALL }.write(folder.path())];
    let asked: Arc<Mutex<Vec<Picture>>> = Arc::default();
    let asks = asked.clone();
    let odd = move |picture: Picture| {
        asks.lock().unwrap().push(picture);
        picture.row % 2 == 1
    };
    let sparing = batcher(&data, Some(16), 64).sparing(odd);
    let plain = batcher(&data, Some(16), 64);
    for epoch in 0..2 {
        for step in 0..plain.order().steps() {
            let (mut some, all) = (sparing.batch(epoch, step).unwrap(), plain.batch(epoch, step).unwrap());
            assert_eq!(some.numbers, plain.order().batch(epoch, step).collect::<Vec<_>>());
            let pictures = some.numbers.iter().zip(&some.views);
            let pictures = pictures.map(|(&row, &view)| Picture { epoch, step, row, view });
            assert!(asked.lock().unwrap().drain(..).eq(pictures));
            for (place, drawn) in some.cuts.iter().map(Option::is_some).enumerate() {
                assert_eq!(drawn, some.numbers[place] % 2 == 0);
                let picture = place * 16 * 16 * 3..(place + 1) * 16 * 16 * 3;
                if drawn {
                    assert_eq!(some.images[picture.clone()], all.images[picture]);
                } else {
                    some.images[picture.clone()].copy_from_slice(&all.images[picture]);
                }
            }
            assert_eq!(content(&some), content(&all), "all but pixels is there");
            assert!(all.cuts.iter().all(Option::is_some));
        }
    }
}

#[test]
fn a_loader_that_is_told_to_spare_all_pictures_reads_none() {
    let folder = tempfile::tempdir().unwrap();
    let data = [SMALL.write(folder.path())];
    let read = |spare: bool| {
        let mut batches = start(batcher(&data, None, 64).sparing(move |_| spare), Cursor::default(), 1, 1, 1);
        assert_eq!(batches.by_ref().map(Result::unwrap).count(), 5);
        batches.gauges().read_bytes
    };
    assert_eq!(read(true), 0);
    assert!(read(false) > 0);
}
