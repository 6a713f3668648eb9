"""Mistakes that people make, planted in the PyTorch side: each has to be seen."""

from contextlib import AbstractContextManager
from unittest.mock import patch

from torch import nn
from torch.nn.functional import gelu

from trainer import bert, clip, optimise
from trainer.shards import Shards

TRUE_FACTOR, TRUE_ROW, TRUE_TOKENS = optimise.factor, Shards.row, Shards.tokens


def planted() -> dict[str, AbstractContextManager]:
    return {
        "tanh GELU": patch.object(bert, "gelu", lambda xs: gelu(xs, approximate="tanh")),
        "decay on biases": patch.object(optimise, "decays", lambda parameter: True),
        "warm-up off by one": patch.object(optimise, "factor", late),
        "pads in the mean": patch.object(
            clip, "mean_over_tokens", lambda states, mask: states.mean(1)
        ),
        "BatchNorm not frozen": patch.object(clip, "set_modes", all_in_training),
        "wrong caption": patch.object(Shards, "tokens", next_caption),
        "wrong view": patch.object(Shards, "row", next_view),
    }


def late(step: int, warmup: int, total: int, schedule: str) -> float:
    return step / warmup if step < warmup else TRUE_FACTOR(step, warmup, total, schedule)


def all_in_training(module: nn.Module, above: bool) -> None:
    module.train()


def next_caption(shards: Shards, place):
    count = len(shards.row(place).tokens)
    return TRUE_TOKENS(shards, moved(place, captions=[(n + 1) % count for n in place.captions]))


def next_view(shards: Shards, place):
    return TRUE_ROW(shards, moved(place, view=(place.view + 1) % shards.views))


def moved(place, **changes):
    return type(place)(**(vars(place) | changes))
