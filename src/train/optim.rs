//! AdamW with decoupled decay, whose state can be saved.
//! <https://arxiv.org/abs/1711.05101>

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use tch::{Kind, Tensor, nn};
use torch_ext::{Rule, Slot};

/// What every parameter shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay, times the rate; never on tensors of fewer than two dimensions.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 }
    }
}

/// Running moments of one parameter's gradient. They begin when it is first trained.
#[derive(Debug)]
struct Moments {
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    /// A float32 on the parameter's device, as the fused kernels count.
    step: Tensor,
}

/// A parameter that trains, with its gradient.
struct Trained<'a> {
    name: &'a str,
    parameter: &'a Tensor,
    gradient: Tensor,
}

/// AdamW over the named parameters of a model, in PyTorch's fused kernels.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    parameters: BTreeMap<String, Tensor>,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// An optimiser of all parameters of `vs` that train or ever will: the frozen ones are passed over while they are.
    pub fn new(vs: &nn::VarStore, config: AdamWConfig) -> Self {
        let statistics = [".running_mean", ".running_var"];
        let mut parameters: BTreeMap<_, _> = vs.variables().into_iter().collect();
        parameters.retain(|name, _| !statistics.iter().any(|end| name.ends_with(end)));
        Self { config, parameters, moments: BTreeMap::new() }
    }

    /// Takes every gradient away.
    pub fn zero_grad(&mut self) {
        torch_ext::drop_gradients(self.parameters.values()).expect("parameters are defined");
    }

    /// The L2 norm of all trained parameters' gradients, 0-dimensional and on their device, before they are scaled down
    /// to at most `max_norm` together (0: they are left as they are).
    pub fn clip_grad(&mut self, max_norm: f64) -> Tensor {
        let gradients: Vec<Tensor> = trained(&self.parameters).map(|trained| trained.gradient).collect();
        if gradients.is_empty() {
            return Tensor::from(0.0f32);
        }
        torch_ext::clip_gradients(&gradients, max_norm).expect("gradients are floating-point tensors")
    }

    /// One update of every parameter that trains and has a gradient, each at the rate of its name.
    pub fn step(&mut self, rate: impl Fn(&str) -> f64) {
        self.step_unless(None, rate);
    }

    /// [`AdamW::step`], but where `skipped` (one float32 on the parameters' device) is 1, nothing changes. The device is
    /// not waited for.
    pub fn step_unless(&mut self, skipped: Option<&Tensor>, rate: impl Fn(&str) -> f64) {
        let trained: Vec<Trained> = trained(&self.parameters).collect();
        for Trained { name, parameter, .. } in &trained {
            if !self.moments.contains_key(*name) {
                self.moments.insert((*name).to_owned(), Moments::of(parameter));
            }
        }
        let mut groups: BTreeMap<(u64, bool), Vec<Slot>> = BTreeMap::new();
        for Trained { name, parameter, gradient } in &trained {
            let Moments { exp_avg, exp_avg_sq, step } = &self.moments[*name];
            let group = groups.entry((rate(name).to_bits(), parameter.dim() >= 2)).or_default();
            group.push(Slot { parameter, gradient, exp_avg, exp_avg_sq, step });
        }
        let AdamWConfig { betas, eps, weight_decay } = self.config;
        for ((rate, decays), slots) in groups {
            let weight_decay = if decays { weight_decay } else { 0.0 };
            let rule = Rule { lr: f64::from_bits(rate), betas, weight_decay, eps };
            torch_ext::fused_adamw(&slots, &rule, skipped).expect("moments are as their parameters");
        }
    }

    /// The state as tensors: `<parameter>.exp_avg`, `.exp_avg_sq` and `.step` (0-dimensional, i64), sorted by name.
    /// They share memory with the optimiser: copy what has to outlive the next step.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let tensors = self.moments.iter().flat_map(|(name, moments)| {
            [
                (format!("{name}.exp_avg"), moments.exp_avg.shallow_clone()),
                (format!("{name}.exp_avg_sq"), moments.exp_avg_sq.shallow_clone()),
                (format!("{name}.step"), moments.step.to_kind(Kind::Int64)),
            ]
        });
        tensors.collect()
    }

    /// Takes over a state that [`AdamW::state`] gave, in place of its own.
    ///
    /// # Errors
    /// If a tensor belongs to no parameter, is misshapen, or one of a parameter's three is absent; nothing is then
    /// taken over.
    pub fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut state: BTreeMap<String, Tensor> = state.into_iter().collect();
        let mut moments = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            if let Some(step) = state.remove(&format!("{name}.step")) {
                ensure!(step.numel() == 1, "{name}.step in the optimiser state is not one number");
                let mut moment = |end| take_moment(&mut state, &format!("{name}.{end}"), parameter);
                let (exp_avg, exp_avg_sq) = (moment("exp_avg")?, moment("exp_avg_sq")?);
                let step = count(step.int64_value(&[]), parameter);
                moments.insert(name.clone(), Moments { exp_avg, exp_avg_sq, step });
            }
        }
        if let Some(name) = state.keys().next() {
            bail!("{name} in the optimiser state belongs to no parameter of the model");
        }
        self.moments = moments;
        Ok(())
    }
}

/// Parameters that train and have a gradient.
fn trained(parameters: &BTreeMap<String, Tensor>) -> impl Iterator<Item = Trained<'_>> {
    parameters.iter().filter(|(_, parameter)| parameter.requires_grad()).filter_map(|(name, parameter)| {
        let gradient = parameter.grad();
        gradient.defined().then_some(Trained { name, parameter, gradient })
    })
}

impl Moments {
    fn of(parameter: &Tensor) -> Self {
        Self {
            exp_avg: parameter.zeros_like(),
            exp_avg_sq: parameter.zeros_like(),
            step: count(0, parameter),
        }
    }
}

/// So many updates, as the fused kernels count them.
fn count(updates: i64, parameter: &Tensor) -> Tensor {
    Tensor::full([], updates, (Kind::Float, parameter.device()))
}

fn take_moment(state: &mut BTreeMap<String, Tensor>, name: &str, parameter: &Tensor) -> Result<Tensor> {
    let found = state.remove(name).with_context(|| format!("{name} is absent from the optimiser state"))?;
    let (size, wanted) = (found.size(), parameter.size());
    ensure!(size == wanted, "{name} in the optimiser state is {size:?}, its parameter {wanted:?}");
    let mut moment = parameter.zeros_like();
    tch::no_grad(|| moment.copy_(&found));
    Ok(moment)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    struct Trial {
        adamw: AdamW,
        matrix: Tensor,
        vector: Tensor,
    }

    impl Trial {
        fn new() -> Self {
            let vs = nn::VarStore::new(Device::Cpu);
            let matrix = vs.root().ones("matrix", &[2, 2]);
            let vector = vs.root().ones("vector", &[2]);
            let _ = vs.root().sub("bn").ones_no_train("running_var", &[2]);
            Self {
                adamw: AdamW::new(&vs, AdamWConfig { weight_decay: 0.5, ..AdamWConfig::default() }),
                matrix,
                vector,
            }
        }

        fn step(&mut self, rate: impl Fn(&str) -> f64) {
            self.adamw.zero_grad();
            let mut loss = Tensor::zeros([], (Kind::Float, Device::Cpu));
            for parameter in
                [&self.matrix, &self.vector].into_iter().filter(|parameter| parameter.requires_grad())
            {
                loss += parameter.square().sum(Kind::Float);
            }
            loss.backward();
            self.adamw.step(rate);
        }
    }

    fn names(adamw: &AdamW) -> Vec<String> {
        adamw.state().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_frozen_parameter_stands_still_and_has_no_state() {
        let mut trial = Trial::new();
        trial.matrix = trial.matrix.set_requires_grad(false);
        trial.step(|_| 0.1);
        assert_eq!(trial.matrix.double_value(&[0, 0]), 1.0);
        assert_eq!(names(&trial.adamw), ["vector.exp_avg", "vector.exp_avg_sq", "vector.step"]);
    }

    #[test]
    fn only_tensors_of_two_dimensions_decay() {
        let mut trial = Trial::new();
        trial.step(|_| 0.1);
        assert!((trial.matrix.double_value(&[0, 0]) - (1.0 - 0.05 - 0.1)).abs() < 1e-6);
        assert!((trial.vector.double_value(&[0]) - (1.0 - 0.1)).abs() < 1e-6);
    }

    #[test]
    fn every_parameter_has_the_rate_of_its_name() {
        let mut trial = Trial::new();
        trial.step(|name| if name == "vector" { 0.0 } else { 0.1 });
        assert_eq!(trial.vector.double_value(&[0]), 1.0);
        assert!(trial.matrix.double_value(&[0, 0]) < 1.0);
    }

    #[test]
    fn a_restored_state_steps_on_to_the_same_bits() {
        let (mut first, mut second) = (Trial::new(), Trial::new());
        first.step(|_| 0.1);
        second.step(|_| 0.1);
        let mut adamw = Trial::new().adamw;
        let saved = second.adamw.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
        adamw.load_state(saved).unwrap();
        second.adamw.moments = adamw.moments;
        first.step(|_| 0.1);
        second.step(|_| 0.1);
        assert_eq!(first.matrix, second.matrix);
        assert_eq!(second.adamw.state()[2].1.int64_value(&[]), 2);
    }

    #[test]
    fn a_state_of_another_model_is_refused() {
        let mut trial = Trial::new();
        trial.step(|_| 0.1);
        let mut state = trial.adamw.state();
        state[0].0 = "other.exp_avg".to_owned();
        let error = trial.adamw.load_state(state).unwrap_err();
        assert_eq!(error.to_string(), "matrix.exp_avg is absent from the optimiser state");
        let error = trial.adamw.load_state(vec![("other.step".to_owned(), Tensor::from(1i64))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "other.step in the optimiser state belongs to no parameter of the model"
        );
    }

    #[test]
    fn gradients_are_scaled_down_together_and_their_norm_is_from_before() {
        let mut trial = Trial::new();
        trial.step(|_| 0.0);
        let norm = trial.adamw.clip_grad(1.0).double_value(&[]);
        assert!((norm - 24f64.sqrt()).abs() < 1e-5, "{norm}");
        assert!((trial.adamw.clip_grad(0.0).double_value(&[]) - 1.0).abs() < 1e-5);
    }
}
