"""Raw shards to train on, drawn by numpy and milled by `prepare`."""

import struct
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet

WORDS = """a the small large red green blue yellow black white old young wooden silver round tall
dog cat horse bird boat train bus bicycle table chair clock kite river street field kitchen mountain
beach window door man woman child crowd stands sits runs jumps waits rides holds looks under over
beside behind near above with and of in on""".split()


def table(
    file: Path, rows: int, side: int, words: tuple[int, int], twins: bool, seed: int = 0
) -> None:
    """A row an image with two to five captions; with `twins`, every third image is one of four."""
    draw = numpy.random.default_rng(seed)
    shared = [picture(draw, side) for _ in range(4)]
    columns = {"key": [], "image": [], "caption": []}
    for number in range(rows):
        own = picture(draw, side)
        columns["key"].append(f"{number:06}")
        columns["image"].append(shared[draw.integers(4)] if twins and number % 3 == 0 else own)
        columns["caption"].append([caption(draw, words) for _ in range(draw.integers(2, 6))])
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def caption(draw: numpy.random.Generator, words: tuple[int, int]) -> str:
    return " ".join(draw.choice(WORDS, draw.integers(words[0], words[1] + 1)))


def picture(draw: numpy.random.Generator, side: int) -> bytes:
    """Blocks of colour with noise over them, as a BMP."""
    coarse = draw.integers(0, 256, (8, 8, 3))
    fine = numpy.kron(coarse, numpy.ones((side // 8, side // 8, 1))) + draw.normal(
        0, 20, (side, side, 3)
    )
    pixels = fine.clip(0, 255).astype(
        numpy.uint8
    )  # lines are multiples of four bytes, as BMP wants
    size = 54 + pixels.nbytes
    header = struct.pack("<2sIII", b"BM", size, 0, 54)
    return (
        header
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
        + pixels.tobytes()
    )
