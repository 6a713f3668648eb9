//! An optimiser's work on many tensors at once, without waiting for their device.

use tch::Tensor;

use crate::ffi::{self, pointers};
use crate::{Error, ffi::Adamw};

/// A parameter, its gradient, and what AdamW keeps of it.
#[derive(Debug)]
pub struct Slot<'a> {
    /// Changed in place.
    pub parameter: &'a Tensor,
    /// Of the parameter's kind, device and size.
    pub gradient: &'a Tensor,
    /// First moment; it lies in memory as the parameter does (`zeros_like` does). Changed in place.
    pub exp_avg: &'a Tensor,
    /// Second moment, as the first.
    pub exp_avg_sq: &'a Tensor,
    /// Updates so far: one float32 on the parameter's device. Changed in place.
    pub step: &'a Tensor,
}

/// How AdamW moves parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Decoupled decay, times the rate.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One update of AdamW in PyTorch's fused kernels: one pass over the memory of each parameter. All
/// slots are of one device, and each of one kind.
///
/// Where `found_inf` (one float32 on the parameters' device) is 1, nothing changes, steps included.
/// <https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html>
///
/// # Errors
/// If a tensor is not as [`Slot`] says.
pub fn fused_adamw(slots: &[Slot], rule: &Rule, found_inf: Option<&Tensor>) -> Result<(), Error> {
    let all = |of: fn(&Slot) -> *const _| slots.iter().map(of).collect::<Vec<_>>();
    let parameters = all(|slot| slot.parameter.as_ptr());
    let gradients = all(|slot| slot.gradient.as_ptr());
    let exp_avgs = all(|slot| slot.exp_avg.as_ptr());
    let exp_avg_sqs = all(|slot| slot.exp_avg_sq.as_ptr());
    let steps = all(|slot| slot.step.as_ptr());
    let (beta1, beta2) = rule.betas;
    let rule = Adamw { lr: rule.lr, beta1, beta2, weight_decay: rule.weight_decay, eps: rule.eps };
    // SAFETY: five arrays of as many live tensors; the C++ side checks their sizes and strides.
    ffi::check(unsafe {
        ffi::te_fused_adamw(
            slots.len(),
            parameters.as_ptr(),
            gradients.as_ptr(),
            exp_avgs.as_ptr(),
            exp_avg_sqs.as_ptr(),
            steps.as_ptr(),
            rule,
            found_inf.map_or(std::ptr::null(), Tensor::as_ptr),
        )
    })
}

/// The L2 norm of all gradients together, 0-dimensional and on their device, before they are scaled
/// down in place to at most `max_norm` (0: they are left as they are).
///
/// # Errors
/// If there is no gradient, or one is no floating-point tensor.
pub fn clip_gradients(gradients: &[Tensor], max_norm: f64) -> Result<Tensor, Error> {
    let gradients = pointers(gradients);
    // SAFETY: an array of as many live tensors.
    ffi::output(|norm| unsafe { ffi::te_clip_gradients(gradients.len(), gradients.as_ptr(), max_norm, norm) })
}

/// Takes the gradients away, so that the next backward pass stores its own instead of adding to zeros.
///
/// # Errors
/// If a tensor is undefined.
pub fn drop_gradients<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Result<(), Error> {
    let parameters = pointers(parameters);
    // SAFETY: an array of as many live tensors.
    ffi::check(unsafe { ffi::te_drop_gradients(parameters.len(), parameters.as_ptr()) })
}

/// Copies each tensor's values into its counterpart.
///
/// # Errors
/// If they are not equally many, or two differ in size.
pub fn copy_all(to: &[Tensor], from: &[Tensor]) -> Result<(), Error> {
    if to.len() != from.len() {
        return Err(Error(format!("{} tensors cannot be copied into {}", from.len(), to.len())));
    }
    let (into, out_of) = (pointers(to), pointers(from));
    // SAFETY: two arrays of as many live tensors.
    ffi::check(unsafe { ffi::te_copy_all(into.len(), into.as_ptr(), out_of.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const RULE: Rule = Rule { lr: 0.1, betas: (0.9, 0.999), weight_decay: 0.5, eps: 1e-8 };

    /// A parameter of 19 ones in double precision and what belongs to it.
    fn tensors() -> [Tensor; 5] {
        let ones = || Tensor::ones([19], (Kind::Double, Device::Cpu));
        let step = Tensor::zeros([], (Kind::Float, Device::Cpu));
        [ones(), ones() * 0.25, ones() * 0.0, ones() * 0.0, step]
    }

    fn update(tensors: &[Tensor; 5], found_inf: Option<f32>) -> Result<(), Error> {
        let [parameter, gradient, exp_avg, exp_avg_sq, step] = tensors;
        let slot = Slot { parameter, gradient, exp_avg, exp_avg_sq, step };
        fused_adamw(&[slot], &RULE, found_inf.map(Tensor::from).as_ref())
    }

    #[test]
    fn an_update_is_the_papers() {
        let all = tensors();
        update(&all, None).unwrap();
        // First step: moments corrected to the gradient and its square, so the update is the rate.
        let expected = 1.0 - 0.1 * 0.5 - 0.1 * 0.25 / (0.25 + 1e-8);
        assert!((&all[0] - expected).abs().max().double_value(&[]) < 1e-15);
        assert!((&all[2] - 0.1 * 0.25).abs().max().double_value(&[]) < 1e-16);
        assert!((&all[3] - 0.001 * 0.0625).abs().max().double_value(&[]) < 1e-16);
        assert_eq!(all[4].double_value(&[]), 1.0);
    }

    #[test]
    fn a_found_infinity_leaves_everything_as_it_was() {
        let (mut all, before) = (tensors(), tensors());
        let _ = all[1].get(3).fill_(f64::NAN);
        update(&all, Some(1.0)).unwrap();
        all[1] = before[1].copy();
        assert_eq!(all, before);
        update(&all, Some(0.0)).unwrap();
        assert_eq!(all[4].double_value(&[]), 1.0);
    }

    #[test]
    fn a_gradient_that_lies_otherwise_counts_by_its_places() {
        let kind = (Kind::Double, Device::Cpu);
        let lying = |tensor: &Tensor| tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let gradient = Tensor::arange(24, kind).view([1, 2, 3, 4]) - 11.5;
        let updated = |parameter: Tensor, gradient: &Tensor| {
            let (exp_avg, exp_avg_sq) = (parameter.zeros_like(), parameter.zeros_like());
            let step = Tensor::zeros([], (Kind::Float, Device::Cpu));
            let slot = Slot {
                parameter: &parameter,
                gradient,
                exp_avg: &exp_avg,
                exp_avg_sq: &exp_avg_sq,
                step: &step,
            };
            fused_adamw(&[slot], &RULE, None).unwrap();
            (parameter, exp_avg)
        };
        let ones = Tensor::ones([1, 2, 3, 4], kind);
        let (plain, average) = updated(ones.copy(), &gradient);
        assert_eq!(updated(lying(&ones), &gradient), (plain.copy(), average.copy()));
        assert_eq!(updated(ones, &lying(&gradient)), (plain, average));
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused() {
        let check = |place: usize, wrong: Tensor, message: &str| {
            let mut all = tensors();
            all[place] = wrong;
            assert_eq!(update(&all, None).unwrap_err().to_string(), message);
        };
        let ones = |size: i64, kind| Tensor::ones([size], (kind, Device::Cpu));
        let moments = "the moments do not lie in memory as their parameter does";
        check(2, ones(18, Kind::Double), moments);
        check(3, ones(38, Kind::Double).slice(0, 0, 38, 2), moments);
        let gradient = "the gradient is not of its parameter's kind, device and size";
        check(1, ones(20, Kind::Double), gradient);
        check(1, Tensor::new(), gradient);
        check(4, ones(1, Kind::Int64), "the step is not one float on its parameter's device");
    }

    #[test]
    fn gradients_are_scaled_down_together() {
        let gradients = [Tensor::from_slice(&[3.0]), Tensor::from_slice(&[0.0, 4.0])];
        assert_eq!(clip_gradients(&gradients, 0.0).unwrap().double_value(&[]), 5.0);
        assert_eq!(gradients[0].double_value(&[0]), 3.0);
        assert_eq!(clip_gradients(&gradients, 1.0).unwrap().double_value(&[]), 5.0);
        assert!((gradients[1].double_value(&[1]) - 0.8).abs() < 1e-6);
        assert_eq!(clip_gradients(&[], 1.0).unwrap_err().to_string(), "there is no gradient");
    }

    #[test]
    fn a_dropped_gradient_is_gone() {
        let parameter = Tensor::from(2.0).set_requires_grad(true);
        parameter.square().backward();
        assert!(parameter.grad().defined());
        drop_gradients([&parameter]).unwrap();
        assert!(!parameter.grad().defined());
        parameter.square().backward();
        assert_eq!(parameter.grad().double_value(&[]), 4.0);
    }

    #[test]
    fn tensors_are_copied_each_into_its_own() {
        let to = [Tensor::from(0.0), Tensor::from_slice(&[0.0, 0.0])];
        let from = [Tensor::from(1.0), Tensor::from_slice(&[2.0, 3.0])];
        copy_all(&to, &from).unwrap();
        assert_eq!(to, from);
        assert_eq!(copy_all(&to, &[]).unwrap_err().to_string(), "0 tensors cannot be copied into 2");
    }
}
