"""How far two runs are apart."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cases import Limits

RATES = ("lr_image", "lr_text", "lr_projection")
NO_GRADIENT = "attention.self.key.bias"  # its true gradient is zero, so what it does is rounding


@dataclass(frozen=True)
class Run:
    """What a trainer leaves: a line a step, and the weights at the end."""

    lines: list[dict]
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Difference:
    """The greatest relative differences over steps, or tensors; and what moved but is frozen."""

    steps: int
    loss: float
    grad_norm: float
    rates: float
    scale: float
    change: float
    moved: list[str]
    worst: str  # the tensor whose change differs most

    def misses(self, limits: Limits) -> list[str]:
        found = {
            "loss": self.loss > limits.loss,
            "grad_norm": self.grad_norm > limits.grad_norm,
            "rates": self.rates > limits.loss,
            "scale": self.scale > limits.loss,
            f"change of {self.worst}": limits.change is not None and self.change > limits.change,
            f"moved: {', '.join(self.moved[:2])}": bool(self.moved),
        }
        return [name for name, missed in found.items() if missed]


def difference(first: dict[str, Tensor], ours: Run, theirs: Run, frozen: set[str]) -> Difference:
    lines = list(zip(ours.lines, theirs.lines, strict=True))
    for mine, other in lines:
        for key in ("step", "epoch", "stage"):
            assert mine[key] == other[key], f"{key}: {mine[key]}, not {other[key]}"
    assert ours.weights.keys() == first.keys(), "the checkpoint has other keys than model.init"
    changes = {
        name: apart(ours.weights[name], theirs.weights[name], start)
        for name, start in first.items()
        if not name.endswith(NO_GRADIENT)
    }
    worst = max(changes, key=changes.__getitem__)
    return Difference(
        steps=len(lines),
        **{key: greatest(lines, key) for key in ("loss", "grad_norm", "scale")},
        rates=max(greatest(lines, rate) for rate in RATES),
        change=changes[worst],
        moved=[name for name in sorted(frozen) if not same(ours.weights[name], first[name])],
        worst=worst,
    )


def greatest(lines: list[tuple[dict, dict]], key: str) -> float:
    return max(relative(mine[key], other[key]) for mine, other in lines)


def relative(one: float | None, other: float) -> float:
    """A number that is not finite stands as null in the log."""
    if one is None or not math.isfinite(other):
        return math.inf
    return abs(one - other) / max(abs(one), abs(other)) if one != other else 0.0


def apart(one: Tensor, other: Tensor, start: Tensor) -> float:
    """The difference of two tensors as a share of the way that one of them went."""
    far, way = (one.double() - other.double()).norm(), (other.double() - start.double()).norm()
    return float(far / way) if far else 0.0


def same(one: Tensor, start: Tensor) -> bool:
    return torch.equal(one, start.to(one.dtype))
