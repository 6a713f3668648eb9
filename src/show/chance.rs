//! What retrieval by chance would reach.

use super::report::Recalls;

/// Recalls of a random order of `pool` candidates of which `right` are right answers; `None` if
/// there are none.
pub fn chance(pool: u64, right: u64) -> Option<Recalls> {
    if right == 0 || right > pool {
        return None;
    }
    let mut missed = 1.0;
    let mut found = Recalls { at_1: 1.0, at_5: 1.0, at_10: 1.0, median_rank: f64::NAN };
    for rank in 1..=pool {
        missed *= (pool - rank + 1).saturating_sub(right) as f64 / (pool - rank + 1) as f64;
        match rank {
            1 => found.at_1 = 1.0 - missed,
            5 => found.at_5 = 1.0 - missed,
            10 => found.at_10 = 1.0 - missed,
            _ => {}
        }
        if found.median_rank.is_nan() && missed <= 0.5 {
            found.median_rank = rank as f64;
        }
        if rank >= 10 && !found.median_rank.is_nan() {
            break;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_right_answer_among_a_thousand() {
        let found = chance(1000, 1).unwrap();
        let expected = [(found.at_1, 0.001), (found.at_5, 0.005), (found.at_10, 0.01)];
        assert!(expected.iter().all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
        assert!((found.median_rank - 500.0).abs() <= 1.0);
    }

    #[test]
    fn five_right_answers_are_found_sooner() {
        let found = chance(5000, 5).unwrap();
        assert!((found.at_1 - 0.001).abs() < 1e-12 && found.at_10 > 0.0099 && found.median_rank < 700.0);
    }

    #[test]
    fn a_pool_smaller_than_the_recall_is_always_found() {
        assert_eq!(chance(3, 1).unwrap().at_5, 1.0);
        assert_eq!(chance(0, 0), None);
    }
}
