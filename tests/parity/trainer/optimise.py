"""AdamW's groups, the rates of a step, and how long the run is."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

RATES = ("lr_image", "lr_text", "lr_projection", "lr_scale")


@dataclass(frozen=True)
class Stage:
    name: str
    steps: int
    train: list[str]
    rates: dict[str, float]


def stages(config: dict, steps_per_epoch: int) -> list[Stage]:
    """Cut where `run.steps` or `run.epochs` ends. A matching head trains in all of them, and so
    does the scale, unless its rate is 0."""
    left = config["run"].get("steps") or config["run"].get("epochs", math.inf) * steps_per_epoch
    made = []
    for stage in config["stage"]:
        wanted = stage.get("steps") or stage["epochs"] * steps_per_epoch
        steps = int(min(wanted, left))
        rates = {key: stage.get(key, config["optim"].get(key)) for key in RATES}
        if rates["lr_scale"] is None:
            rates["lr_scale"] = rates["lr_projection"]
        scale = ["logit_scale", "logit_bias"] if rates["lr_scale"] else []
        left -= steps
        if steps:
            made.append(Stage(stage["name"], steps, [*stage["train"], "matching", *scale], rates))
    return made


def each_step(stages: list[Stage]) -> Iterator[Stage]:
    for stage in stages:
        for _ in range(stage.steps):
            yield stage


def factor(step: int, warmup: int, total: int, schedule: str) -> float:
    """What every base rate is multiplied by; `step` counts from 0."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / (total - warmup)
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1 - done if schedule == "linear" else 1.0


def rate_of(name: str) -> str:
    top = name.split(".")[0]
    known = {
        "image": "lr_image",
        "text": "lr_text",
        "logit_scale": "lr_scale",
        "logit_bias": "lr_scale",
    }
    return known.get(top, "lr_projection")


def decays(parameter: Tensor) -> bool:
    return parameter.ndim >= 2


def adamw(model: nn.Module, optim: dict, fused: bool) -> torch.optim.AdamW:
    """A group for each rate, with decay and without; what is frozen has no gradient, no state."""
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((rate_of(name), decays(parameter)), []).append(parameter)
    listed = [
        {"params": group, "rate": rate, "weight_decay": optim["weight_decay"] if decay else 0.0}
        for (rate, decay), group in groups.items()
    ]
    return torch.optim.AdamW(listed, betas=tuple(optim["betas"]), eps=optim["eps"], fused=fused)
