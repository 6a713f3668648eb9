"""The work that every peer of the loader does, how its script is called, and what it must report.

    PEER.py write STORED WORKERS    the stored pictures in the peer's own format, once
    PEER.py WAY STORED WORKERS      EPOCHS epochs over them; one line of JSON, last on stdout

Stored 256x256 -> centre crop of 224, u8, rows shuffled, in batches of 256, with one caption's
token ids.
"""

import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# The workers are the parallelism: no library starts threads of its own beside them.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402

SIZE, CROP, BATCH, EPOCHS, MAX_TOKENS = 256, 224, 256, 3, 64
EDGE = (SIZE - CROP) // 2
INSIDE = slice(EDGE, EDGE + CROP)

Batch = tuple[np.ndarray, np.ndarray]  # [rows, 224, 224, 3] u8; [rows, tokens], padded with 0
Write = Callable[[Path, Path], None]  # stored, out
Epochs = Callable[[int], Iterable[Batch]]  # by their numbers
Way = Callable[[Path, Path, int], Epochs | None]  # stored, out, workers


@dataclass(frozen=True)
class Row:
    key: str
    image: bytes  # a JPEG, or 256x256x3 pixels
    ids: np.ndarray  # of the first caption, padded to MAX_TOKENS


def rows(stored: Path, encoding: str) -> Iterator[Row]:
    """What `prepare` wrote, through the ordinary Parquet reader."""
    import pyarrow.parquet as pq

    image = "pixels" if encoding == "raw" else "image.bytes"
    columns = ["key", image, "captions.list.element.tokens.list.element"]
    for file in sorted((stored / encoding / "train").glob("v0-*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(64, columns=columns):
            for row in batch.to_pylist():
                pixels = row["pixels"] if encoding == "raw" else row["image"]["bytes"]
                yield Row(row["key"], pixels, padded(row["captions"][0]["tokens"]))


def padded(ids: list[int]) -> np.ndarray:
    out = np.zeros(MAX_TOKENS, np.int32)
    out[: len(ids)] = ids
    return out


def raw_pixels(row: Row) -> np.ndarray:
    return np.frombuffer(row.image, np.uint8).reshape(SIZE, SIZE, 3)


def main(write: Write | None, **ways: Way) -> None:
    """Each script's last line. A peer keeps its files in a folder of its script's name."""
    way, stored, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    out = stored / Path(sys.argv[0]).stem
    if way != "write":
        if batches := ways[way](stored, out, workers):
            measure(batches)
    elif write:
        part = out.with_suffix(".part")  # a killed run leaves no half of it under the final name
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write(stored, part)
        part.rename(out)


def measure(batches: Epochs) -> None:
    seen, rates = Seen(), []
    for epoch in range(EPOCHS):
        count, start = 0, time.perf_counter()
        for images, ids in batches(epoch):
            count += len(images)
            if epoch == 0:  # this one warms up, and is checked
                seen.add(np.asarray(images), np.asarray(ids))
        rates.append(count / (time.perf_counter() - start))
        if count != seen.rows:
            sys.exit(f"epoch {epoch} gave {count} rows, the first {seen.rows}")
    print(json.dumps({"epochs": rates, **seen.sums()}), flush=True)


class Seen:
    """Sums that do not depend on the order in which rows came."""

    def __init__(self) -> None:
        self.rows, self.tokens, self.pairs = 0, 0, 0
        self.pictures: set[int] = set()

    def add(self, images: np.ndarray, ids: np.ndarray) -> None:
        if images.shape[1:] != (CROP, CROP, 3) or images.dtype != np.uint8:
            sys.exit(f"a batch is {images.shape} of {images.dtype}")
        self.rows += len(images)
        for picture, row in zip(images, ids, strict=True):
            pixels = zlib.crc32(np.ascontiguousarray(picture))
            real = np.trim_zeros(row, "b").astype(np.int32).tobytes()
            self.pictures.add(pixels)
            self.tokens += zlib.crc32(real)
            self.pairs += zlib.crc32(real, pixels)  # the ids are this picture's

    def sums(self) -> dict[str, int]:
        """Rows, different pictures, and checksums of token ids and of pictures with theirs."""
        pictures = len(self.pictures)
        return {"rows": self.rows, "pictures": pictures, "tokens": self.tokens, "pairs": self.pairs}
