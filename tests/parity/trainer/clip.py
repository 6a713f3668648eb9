"""Two towers, two projections, one scale; and which of it trains."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trainer.bert import Bert, BertConfig
from trainer.config import completed
from trainer.resnet import ResNet

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
DEVIATION = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)


class Clip(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        config = completed(config)
        model, kind = config["model"], config["loss"]["kind"]
        image, dim = model["image"], model["embed_dim"]
        resnet50 = {"layers": [3, 4, 6, 3], "width": 64}
        bert = BertConfig(**model["text"], dropout=model["dropout"])
        self.pooling = model["pooling"]
        self.memory_format = torch.contiguous_format
        self.image = ResNet(**(resnet50 if image == "resnet50" else image))
        self.text = Bert(bert)
        self.image_projection = nn.Linear(self.image.features, dim, bias=False)
        self.text_projection = nn.Linear(bert.hidden_size, dim, bias=False)
        first = 10 if kind == "siglip" else 1 / 0.07
        self.logit_scale = nn.Parameter(torch.tensor(math.log(first)))
        if kind == "siglip":
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))
        if config["loss"]["matching"]:
            layers = [nn.Linear(4 * dim, dim), nn.GELU(), nn.Linear(dim, 1)]
            self.matching = nn.Sequential(*layers)

    def images(self, pixels: Tensor) -> Tensor:
        """Unnormalised projections of u8 `[batch, side, side, 3]`."""
        like = self.image.conv1.weight
        xs = (pixels.to(like) / 255 - MEAN.to(like)) / DEVIATION.to(like)
        xs = xs.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)
        return self.image_projection(self.image(xs))

    def texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Unnormalised projections of `[batch, tokens]`; `mask` is true on real tokens."""
        states = self.text(ids, mask)
        pooled = states[:, 0] if self.pooling == "cls" else mean_over_tokens(states, mask)
        return self.text_projection(pooled)

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.images(pixels), self.texts(ids, mask)

    def train_only(self, prefixes: Iterable[str]) -> None:
        """Freezes all else. A frozen BatchNorm keeps its statistics."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(any(within(name, prefix) for prefix in prefixes))
        set_modes(self, True)


def within(name: str, prefix: str) -> bool:
    """Prefixes match whole dotted parts; `projection` means both."""
    if prefix == "projection":
        return name.split(".")[0] in ("image_projection", "text_projection")
    return name == prefix or name.startswith(prefix + ".")


def set_modes(module: nn.Module, above: bool) -> None:
    """Eval where all weights are frozen; what has none (dropout) goes with what it is in."""
    weights = [parameter.requires_grad for parameter in module.parameters()]
    module.training = any(weights) if weights else above
    for child in module.children():
        set_modes(child, module.training)


def mean_over_tokens(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(states.dtype)[..., None]
    return (states * weights).sum(1) / weights.sum(1)
