//! What is trained when: stages, and the parameters that their prefixes name.

use anyhow::{Result, bail, ensure};

use super::config::{Config, Rates, Stage};

/// The parts of the model that have a rate of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The image encoder.
    Image,
    /// The text encoder.
    Text,
    /// Both projections.
    Projection,
    /// The matching head.
    Matching,
    /// The temperature, and the bias beside it.
    Scale,
}

impl Part {
    /// The part that a parameter belongs to.
    ///
    /// # Panics
    /// If the name is not one of the model's.
    pub fn of(parameter: &str) -> Self {
        match parameter.split('.').next() {
            Some("image") => Self::Image,
            Some("text") => Self::Text,
            Some("image_projection" | "text_projection") => Self::Projection,
            Some("matching") => Self::Matching,
            Some("logit_scale" | "logit_bias") => Self::Scale,
            _ => panic!("{parameter} belongs to no part of the model"),
        }
    }
}

/// Whether `prefix` names `parameter`: whole dotted parts; `projection` is both projections.
pub fn matches(prefix: &str, parameter: &str) -> bool {
    if prefix == "projection" {
        return Part::of(parameter) == Part::Projection;
    }
    parameter.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// One stage with its place in the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// First step.
    pub begin: u64,
    /// Step after the last.
    pub end: u64,
    /// Prefixes of what is trained.
    pub train: Vec<String>,
    /// Base rates, the stage's over the run's.
    pub rates: Rates,
}

impl Span {
    /// Whether the stage trains `parameter`. The temperature and its bias train in every stage, unless their rate is 0,
    /// and so does the matching head: no weights file brings a trained one.
    pub fn trains(&self, parameter: &str) -> bool {
        match Part::of(parameter) {
            Part::Matching => true,
            Part::Scale => self.rates.scale() > 0.0,
            _ => self.train.iter().any(|prefix| matches(prefix, parameter)),
        }
    }

    /// The base rate of a part.
    pub fn rate(&self, part: Part) -> f64 {
        match part {
            Part::Image => self.rates.lr_image,
            Part::Text => self.rates.lr_text,
            Part::Projection | Part::Matching => self.rates.lr_projection,
            Part::Scale => self.rates.scale(),
        }
    }
}

/// The stages of a run, one after the other from step 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    spans: Vec<Span>,
}

impl Plan {
    /// The stages of a config laid end to end, cut at `run.steps` and `run.epochs`.
    ///
    /// # Errors
    /// If there is nothing to do.
    pub fn of(config: &Config, steps_per_epoch: u64) -> Result<Self> {
        let epochs = config.run.epochs.map(|epochs| epochs.saturating_mul(steps_per_epoch));
        let cap = [config.run.steps, epochs].into_iter().flatten().min();
        Self::new(&config.stage, &config.optim.rates, steps_per_epoch, cap)
    }

    /// Lays the stages end to end and cuts them at `cap` steps.
    ///
    /// # Errors
    /// If there is nothing to do.
    pub fn new(stages: &[Stage], rates: &Rates, steps_per_epoch: u64, cap: Option<u64>) -> Result<Self> {
        let (mut spans, mut begin) = (Vec::new(), 0_u64);
        let cap = cap.unwrap_or(u64::MAX);
        for stage in stages {
            let length = match (stage.steps, stage.epochs) {
                (Some(steps), None) => steps,
                (None, Some(epochs)) => epochs.saturating_mul(steps_per_epoch),
                (None, None) if cap < u64::MAX => cap,
                _ => bail!("stage `{}` needs either `epochs` or `steps`", stage.name),
            };
            let end = begin.saturating_add(length).min(cap);
            if end > begin {
                let (name, train) = (stage.name.clone(), stage.train.clone());
                spans.push(Span { name, begin, end, train, rates: rates.with(stage) });
            }
            begin = end;
        }
        ensure!(!spans.is_empty(), "the stages have no steps: set run.epochs, run.steps or the stages' own");
        Ok(Self { spans })
    }

    /// Steps of the whole run.
    pub fn total(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.end)
    }

    /// The stage of a step.
    ///
    /// # Panics
    /// If the run is over by then.
    pub fn at(&self, step: u64) -> &Span {
        self.spans.iter().find(|span| step < span.end).expect("the step is within the run")
    }

    /// The stages in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

/// A prefix whose text layer is counted from the last, `text.encoder.layer.-1`, counted from the first of
/// `layers`: a preset fits text models of any depth. Any other prefix as it is.
pub fn from_the_first(prefix: &str, layers: i64) -> String {
    const LAYER: &str = "text.encoder.layer.";
    let back = || prefix.strip_prefix(LAYER)?.strip_prefix('-')?.parse::<i64>().ok();
    match back() {
        Some(back) if (1..=layers).contains(&back) => format!("{LAYER}{}", layers - back),
        _ => prefix.to_owned(),
    }
}

/// Checks that what the stages train is there.
///
/// # Errors
/// If a prefix names none of the model's `parameters`.
pub fn check_prefixes(stages: &[Stage], parameters: &[String]) -> Result<()> {
    let prefixes = stages.iter().flat_map(|stage| stage.train.iter().map(|prefix| (&stage.name, prefix)));
    for (name, prefix) in prefixes {
        let known = parameters.iter().any(|parameter| matches(prefix, parameter));
        ensure!(
            known,
            "stage `{name}` trains `{prefix}`, which names nothing in the model; \
             there are image, text, projection, image.layer4, text.encoder.layer.0, …"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, steps: u64, train: &[&str]) -> Stage {
        let train = train.iter().map(|&prefix| prefix.to_owned()).collect();
        Stage { name: name.to_owned(), steps: Some(steps), train, ..Stage::default() }
    }

    fn parameters() -> Vec<String> {
        ["image.layer1.0.conv1.weight", "image.layer10.weight", "text_projection.weight", "logit_scale"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn a_prefix_matches_whole_parts_only() {
        assert!(matches("image.layer1", "image.layer1.0.conv1.weight"));
        assert!(!matches("image.layer1", "image.layer10.weight"));
        assert!(!matches("image", "image_projection.weight"));
        assert!(matches("projection", "image_projection.weight"));
    }

    #[test]
    fn stages_follow_each_other_and_the_cap_cuts_the_last() {
        let stages = [stage("a", 10, &["projection"]), stage("b", 10, &["image"])];
        let plan = Plan::new(&stages, &Rates::default(), 5, Some(15)).unwrap();
        assert_eq!(plan.total(), 15);
        assert_eq!((plan.at(9).name.as_str(), plan.at(10).name.as_str()), ("a", "b"));
    }

    #[test]
    fn the_temperature_trains_unless_its_rate_is_zero() {
        let plan = Plan::new(&[stage("a", 1, &[])], &Rates::default(), 5, None).unwrap();
        assert!(plan.at(0).trains("logit_scale") && plan.at(0).trains("logit_bias"));
        let fixed = Rates { lr_scale: Some(0.0), ..Rates::default() };
        let plan = Plan::new(&[stage("a", 1, &[])], &fixed, 5, None).unwrap();
        assert!(!plan.at(0).trains("logit_scale") && !plan.at(0).trains("logit_bias"));
    }

    #[test]
    fn the_matching_head_trains_in_every_stage_at_the_projections_rate() {
        let plan = Plan::new(&[stage("a", 1, &["image"])], &Rates::default(), 5, None).unwrap();
        let (span, part) = (plan.at(0), Part::of("matching.0.weight"));
        assert!(span.trains("matching.0.weight") && !span.trains("text_projection.weight"));
        assert_eq!(span.rate(part), span.rate(Part::Projection));
    }

    #[test]
    fn text_layers_may_be_counted_from_the_last() {
        let first = |prefix| from_the_first(prefix, 6);
        assert_eq!(first("text.encoder.layer.-1"), "text.encoder.layer.5");
        assert_eq!(first("text.encoder.layer.-6"), "text.encoder.layer.0");
        for same in ["text.encoder.layer.-7", "text.encoder.layer.-0", "text.encoder.layer.3", "image.layer4"]
        {
            assert_eq!(first(same), same);
        }
    }

    #[test]
    fn a_prefix_that_names_nothing_is_an_error() {
        let stages = [stage("a", 1, &["image.layer5"])];
        let error = check_prefixes(&stages, &parameters()).unwrap_err().to_string();
        assert!(error.starts_with("stage `a` trains `image.layer5`, which names nothing"), "{error}");
    }
}
