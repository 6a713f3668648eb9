//! Steps whose loss or gradient is not finite: they change nothing, and are counted.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

/// So many in a row end a run.
const TOO_MANY: u64 = 10;

/// How many steps were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skips {
    /// Over the whole run.
    pub total: u64,
    /// Up to the last step, without one between that was not.
    pub in_a_row: u64,
}

impl Skips {
    /// Notes a step.
    pub fn note(&mut self, skipped: bool) {
        self.total += u64::from(skipped);
        self.in_a_row = if skipped { self.in_a_row + 1 } else { 0 };
    }

    /// What a resumed run counts on from: where the row was too long, it tries as many again.
    pub fn tried_again(self) -> Self {
        if self.too_many() { Self { in_a_row: 0, ..self } } else { self }
    }

    /// Whether it is time to stop.
    pub fn too_many(&self) -> bool {
        self.in_a_row >= TOO_MANY
    }
}

/// 1 where loss or gradient norm is infinite or no number, else 0: a float32 on the loss's device, which is not waited
/// for.
pub fn not_finite(loss: &Tensor, grad_norm: &Tensor) -> Tensor {
    let finite = loss.isfinite().logical_and(&grad_norm.isfinite());
    finite.logical_not().to_kind(Kind::Float)
}

/// The running statistics that a forward pass moves: those of the batch norms that train.
#[derive(Debug, Default)]
pub struct Statistics(Vec<Tensor>);

impl Statistics {
    /// Those of a model as its parameters are set now.
    pub fn that_move(store: &nn::VarStore) -> Self {
        let variables = store.variables();
        let moves = |name: &str| {
            let norm = name.strip_suffix(".running_mean").or_else(|| name.strip_suffix(".running_var"));
            norm.is_some_and(|norm| variables[&format!("{norm}.weight")].requires_grad())
        };
        let moving = variables.iter().filter(|(name, _)| moves(name));
        Self(moving.map(|(_, tensor)| tensor.shallow_clone()).collect())
    }

    /// Their values, end to end.
    pub fn kept(&self) -> Option<Tensor> {
        (!self.0.is_empty()).then(|| Tensor::cat(&self.0, 0))
    }

    /// Brings back the values that [`Statistics::kept`] gave where `skipped` is 1; the device is not waited for.
    pub fn put_back_if(&self, skipped: &Tensor, kept: &Option<Tensor>) {
        let Some(kept) = kept else { return };
        let now = Tensor::cat(&self.0, 0);
        let right = kept.where_self(&skipped.to_kind(Kind::Bool), &now);
        let sizes: Vec<i64> = self.0.iter().map(|tensor| tensor.numel() as i64).collect();
        torch_ext::copy_all(&self.0, &right.split_with_sizes(sizes, 0))
            .expect("they are as many and as long");
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn a_finite_step_ends_a_row() {
        let mut skips = Skips::default();
        for skipped in [true, true, false, true] {
            skips.note(skipped);
        }
        assert_eq!(skips, Skips { total: 3, in_a_row: 1 });
        (0..9).for_each(|_| skips.note(true));
        assert!(skips.too_many());
    }

    #[test]
    fn loss_and_gradient_both_have_to_be_finite() {
        let check = |loss: f64, norm: f64, expected: f64| {
            let found = not_finite(&Tensor::from(loss), &Tensor::from(norm));
            assert_eq!((found.kind(), found.double_value(&[])), (Kind::Float, expected), "{loss} {norm}");
        };
        check(1.0, 2.0, 0.0);
        check(f64::INFINITY, 2.0, 1.0);
        check(f64::NAN, 2.0, 1.0);
        check(1.0, f64::NEG_INFINITY, 1.0);
        check(1.0, f64::NAN, 1.0);
    }

    #[test]
    fn only_the_statistics_of_norms_that_train_are_put_back() {
        let vs = nn::VarStore::new(Device::Cpu);
        let norm = |name: &str, trains: bool| {
            let path = vs.root().sub(name);
            let _ = path.ones("weight", &[2]).set_requires_grad(trains);
            [path.zeros_no_train("running_mean", &[2]), path.ones_no_train("running_var", &[2])]
        };
        let (trained, frozen) = (norm("trained", true), norm("frozen", false));
        let statistics = Statistics::that_move(&vs);
        let set = |value: f64| {
            trained.iter().chain(&frozen).for_each(|tensor| drop(tensor.shallow_clone().fill_(value)));
        };
        let kept = statistics.kept();
        set(f64::NAN);
        statistics.put_back_if(&Tensor::from(1.0f32), &kept);
        let firsts = |norm: &[Tensor; 2]| norm.each_ref().map(|tensor| tensor.double_value(&[1]));
        assert_eq!(firsts(&trained), [0.0, 1.0]);
        assert!(firsts(&frozen).iter().all(|value| value.is_nan()));
        set(7.0);
        statistics.put_back_if(&Tensor::from(0.0f32), &kept);
        assert_eq!(firsts(&trained), [7.0, 7.0]);
    }
}
