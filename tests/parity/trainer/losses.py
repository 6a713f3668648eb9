"""What is minimised. `likes` is cosine similarity: [images, texts]."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    logsigmoid,
    normalize,
)

from trainer.clip import Clip


@dataclass(frozen=True)
class Pairs:
    """Unnormalised projections, and which text is right for which image."""

    images: Tensor
    texts: Tensor
    right: Tensor  # [images, texts], bool: positives
    own: Tensor  # of each image, the text that it is paired with

    @property
    def likes(self) -> Tensor:
        return normalize(self.images, dim=-1) @ normalize(self.texts, dim=-1).T


def loss(model: Clip, pairs: Pairs, config: dict) -> Tensor:
    likes = pairs.likes
    total = config["contrastive"] * CONTRASTIVE[config["kind"]](model, likes, pairs, config)
    if config["matching"]:
        total = total + config["matching"] * matching(model, likes, pairs)
    return total


def infonce(model: Clip, likes: Tensor, pairs: Pairs, config: dict) -> Tensor:
    return both_ways(model.logit_scale.exp() * likes, (pairs.own, pairs.own), config)


def multi_positive(model: Clip, likes: Tensor, pairs: Pairs, config: dict) -> Tensor:
    shares = pairs.right.to(likes.dtype)
    targets = (shares / shares.sum(1, keepdim=True), shares.T / shares.T.sum(1, keepdim=True))
    return both_ways(model.logit_scale.exp() * likes, targets, config)


def both_ways(logits: Tensor, targets: tuple[Tensor, Tensor], config: dict) -> Tensor:
    smoothing = config["label_smoothing"]
    rows = cross_entropy(logits, targets[0], label_smoothing=smoothing)
    return (rows + cross_entropy(logits.T, targets[1], label_smoothing=smoothing)) / 2


def siglip(model: Clip, likes: Tensor, pairs: Pairs, config: dict) -> Tensor:
    logits = model.logit_scale.exp() * likes + model.logit_bias
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -logsigmoid(signs * logits).sum() / len(logits)


CONTRASTIVE = {"infonce": infonce, "multi_positive": multi_positive, "siglip": siglip}


def matching(model: Clip, likes: Tensor, pairs: Pairs) -> Tensor:
    """Three pairs an image: its own, its hardest wrong text, its text's hardest wrong image."""
    wrong = likes.detach().masked_fill(pairs.right, -torch.inf)
    hard_texts, hard_images = wrong.argmax(1), wrong.argmax(0)[pairs.own]
    u = pairs.images[torch.cat([torch.arange(len(likes)).repeat(2).to(hard_images), hard_images])]
    v = pairs.texts[torch.cat([pairs.own, hard_texts, pairs.own])]
    logits = model.matching(torch.cat([u, v, u * v, (u - v).abs()], 1))[:, 0]
    truth = (torch.arange(len(logits)) < len(likes)).to(logits)
    return binary_cross_entropy_with_logits(logits, truth)
