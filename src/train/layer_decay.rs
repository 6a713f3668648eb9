//! Rates that fall from a tower's top to its bottom.
//! <https://arxiv.org/abs/2003.10555> (ELECTRA), <https://arxiv.org/abs/2106.08254> (BEiT)

use anyhow::Result;

use super::config::Config;

/// What a parameter's rate is of its tower's.
///
/// The layer d layers below its tower's top has `decay`ᵈ of the rate. The layers are BERT's, and the ResNet's blocks (16
/// of a ResNet-50); below the lowest of them are the embeddings and the stem. The topmost layer, projections and
/// temperature have the whole rate.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDecay {
    decay: f64,
    blocks: [i64; 4],
    layers: i64,
}

impl LayerDecay {
    /// As a config says.
    ///
    /// # Errors
    /// If the text tower's config cannot be read.
    pub fn of(config: &Config) -> Result<Self> {
        let model = &config.model;
        Ok(Self {
            decay: config.optim.layer_decay.unwrap_or(1.0),
            blocks: model.image.config().layers,
            layers: model.text.config(None)?.num_hidden_layers,
        })
    }

    /// A parameter's share of its tower's rate.
    pub fn factor(&self, parameter: &str) -> f64 {
        self.decay.powi(self.depth(parameter) as i32)
    }

    /// Layers between a parameter's own and the top of its tower.
    fn depth(&self, parameter: &str) -> i64 {
        let parts: Vec<&str> = parameter.split('.').collect();
        let number = |part: &str| part.parse::<i64>().expect("layers are numbered");
        let blocks: i64 = self.blocks.iter().sum();
        match parts.as_slice() {
            ["text", "encoder", "layer", layer, ..] => self.layers - 1 - number(layer),
            ["text", ..] => self.layers,
            ["image", stage, block, ..] if stage.starts_with("layer") => {
                let lower = number(&stage["layer".len()..]) as usize - 1;
                blocks - 1 - self.blocks[..lower].iter().sum::<i64>() - number(block)
            }
            ["image", ..] => blocks,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::resolve;

    #[track_caller]
    fn check(decay: &LayerDecay, parameter: &str, depth: i32) {
        assert_eq!(decay.factor(parameter), 0.5f64.powi(depth), "{parameter}");
    }

    #[test]
    fn a_layers_rate_falls_with_its_depth_below_the_top() {
        let decay =
            LayerDecay::of(&resolve(None, None, &["optim.layer_decay=0.5".to_owned()]).unwrap()).unwrap();
        check(&decay, "text.encoder.layer.11.output.dense.weight", 0);
        check(&decay, "text.encoder.layer.0.attention.self.query.bias", 11);
        check(&decay, "text.embeddings.LayerNorm.weight", 12);
        check(&decay, "image.layer4.2.bn3.weight", 0);
        check(&decay, "image.layer4.0.downsample.0.weight", 2);
        check(&decay, "image.layer3.5.conv1.weight", 3);
        check(&decay, "image.layer1.0.conv1.weight", 15);
        check(&decay, "image.conv1.weight", 16);
        check(&decay, "image.bn1.bias", 16);
        for whole in ["image_projection.weight", "text_projection.weight", "logit_scale"] {
            check(&decay, whole, 0);
        }
    }

    #[test]
    fn without_it_all_layers_have_one_rate() {
        let decay = LayerDecay::of(&Config::default()).unwrap();
        assert_eq!(decay.factor("text.embeddings.word_embeddings.weight"), 1.0);
    }
}
