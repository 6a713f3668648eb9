"""Raw shards, read with pyarrow, as the batches that an order names."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy
import pyarrow.parquet
import torch
from torch import Tensor

PAD, COLUMNS = 0, ["key", "view", "pixels", "height", "width", "captions", "source_sha256"]


@dataclass(frozen=True)
class Place:
    """A row of the order: a key in a view, with some of its captions."""

    key: str
    view: int
    captions: list[int]


@dataclass(frozen=True)
class Row:
    pixels: numpy.ndarray  # [height, width, 3], u8
    tokens: list[list[int]]
    source: bytes


@dataclass(frozen=True)
class Batch:
    pixels: Tensor  # [images, crop, crop, 3], u8
    ids: Tensor  # [texts, tokens]
    mask: Tensor  # true on real tokens
    right: Tensor  # [images, texts], bool
    own: Tensor  # of each image, its first text

    def to(self, device: str) -> "Batch":
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class Shards:
    def __init__(self, folder: Path, split: str = "train"):
        self.rows: dict[tuple[str, int], Row] = {}
        self.views = 0
        for file in sorted((folder / split).glob("v*-*.parquet")):
            for row in pyarrow.parquet.read_table(file, columns=COLUMNS).to_pylist():
                shape = (row["height"], row["width"], 3)
                pixels = numpy.frombuffer(row["pixels"], numpy.uint8).reshape(shape)
                tokens = [caption["tokens"] for caption in row["captions"]]
                self.rows[row["key"], row["view"]] = Row(pixels, tokens, row["source_sha256"])
                self.views = max(self.views, row["view"] + 1)

    def row(self, place: Place) -> Row:
        return self.rows[place.key, place.view]

    def tokens(self, place: Place) -> list[list[int]]:
        return [self.row(place).tokens[number] for number in place.captions]

    def batch(self, places: list[Place], crop: int, max_tokens: int | None) -> Batch:
        """Texts stand row by row."""
        rows = [self.row(place) for place in places]
        texts = [cut(ids, max_tokens) for place in places for ids in self.tokens(place)]
        each = len(texts) // len(rows)
        longest = max(map(len, texts))
        ids = torch.tensor([text + [PAD] * (longest - len(text)) for text in texts])
        lengths = torch.tensor([len(text) for text in texts])
        pixels = numpy.stack([centre(row.pixels, crop) for row in rows])
        right = [
            [one.source == other.source for other in rows for _ in range(each)] for one in rows
        ]
        return Batch(
            pixels=torch.from_numpy(pixels),
            ids=ids,
            mask=torch.arange(longest)[None] < lengths[:, None],
            right=torch.tensor(right),
            own=torch.arange(len(rows)) * each,
        )


def centre(pixels: numpy.ndarray, crop: int) -> numpy.ndarray:
    top, left = ((side - crop) // 2 for side in pixels.shape[:2])
    return pixels[top : top + crop, left : left + crop]


def cut(ids: list[int], most: int | None) -> list[int]:
    """The first `most - 1` and the last, [SEP]."""
    return ids if most is None or len(ids) <= most else ids[: most - 1] + ids[-1:]


def order(lines: Iterable[str]) -> list[list[Place]]:
    """The steps of an epoch, from what `shards order` prints."""
    rows = csv.DictReader(lines, delimiter="\t")
    return [
        [
            Place(row["key"], int(row["view"]), [int(n) for n in row["caption"].split(",")])
            for row in step
        ]
        for _, step in groupby(rows, key=lambda row: row["step"])
    ]
