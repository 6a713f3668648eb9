"""What nothing in Python or Rust gets under: decoding alone, and copying alone.

    floor.py write|picture|gather|memcpy STORED WORKERS
    floor.py crop STORED WORKERS LIBTURBOJPEG.so    version 3

`picture` decodes all of a JPEG by libjpeg-turbo and copies its crop; `crop` decodes the crop's
region alone. JPEGs are in memory, one process a worker. `gather` copies crops from a mapped array
in a shuffled order and `memcpy` as many bytes in file order, one thread a worker. Batches go into
one buffer a worker; no tokens.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable
from multiprocessing import Barrier, Process
from pathlib import Path
from threading import Thread

import numpy as np
from decode import turbo_into
from work import BATCH, CROP, EDGE, EPOCHS, INSIDE, Seen, main, raw_pixels, rows

SLAB = (BATCH, CROP, CROP, 3)


def write(stored: Path, out: Path) -> None:
    """The array that is mapped, and the sums that every peer must come to."""
    taken = list(rows(stored, "raw"))
    np.save(out / "raw.npy", np.stack([raw_pixels(row) for row in taken]))
    seen = {"jpeg": Seen(), "raw": Seen()}
    place = np.empty((1, CROP, CROP, 3), np.uint8)
    for row in rows(stored, "jpeg"):
        turbo_into(row.image, place[0])
        seen["jpeg"].add(place, row.ids[None])
    for row in taken:
        seen["raw"].add(raw_pixels(row)[None, INSIDE, INSIDE], row.ids[None])
    sums = {encoding: found.sums() for encoding, found in seen.items()}
    (out / "expected.json").write_text(json.dumps(sums))


def together(kind: type, count: int, workers: int, job: Callable[[int], Callable]) -> None:
    """Times epochs that all workers begin at once; `job` gives each the work of its epoch."""

    def work(number: int) -> None:
        epoch = job(number)
        for _ in range(EPOCHS):
            line.wait()
            epoch()
            line.wait()

    line, rates = Barrier(workers + 1), []
    started = [kind(target=work, args=(number,)) for number in range(workers)]
    for worker in started:
        worker.start()
    for _ in range(EPOCHS):
        line.wait()
        start = time.perf_counter()
        line.wait()
        rates.append(count / (time.perf_counter() - start))
    for worker in started:
        worker.join()
    print(json.dumps({"epochs": rates}))


def decoding(stored: Path, workers: int, decoder: Callable[[], Callable]) -> None:
    jpegs = [row.image for row in rows(stored, "jpeg")]

    def job(number: int) -> Callable:
        into, slab = decoder(), np.zeros(SLAB, np.uint8)
        return lambda: [into(d, slab[i % BATCH]) for i, d in enumerate(jpegs[number::workers])]

    together(Process, len(jpegs), workers, job)


class Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "xywh"]


def cropping(library: str) -> Callable:
    """Decodes the crop's region alone, through the TurboJPEG interface."""
    turbo = ctypes.CDLL(library)
    turbo.tj3Init.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(turbo.tj3Init(1))  # 1: to decompress
    region = Region(EDGE, EDGE, CROP, CROP)

    def into(data: bytes, place: np.ndarray) -> None:
        size, to = ctypes.c_size_t(len(data)), ctypes.c_void_p(place.ctypes.data)
        turbo.tj3DecompressHeader(handle, data, size)
        failed = turbo.tj3SetCroppingRegion(handle, region)
        if failed or turbo.tj3Decompress8(handle, data, size, to, 3 * CROP, 0):  # 0: RGB
            raise RuntimeError("libjpeg-turbo did not decode")

    return into


def copying(out: Path, workers: int, job: Callable[[np.ndarray, int], Callable]) -> None:
    pixels = np.asarray(np.load(out / "raw.npy", mmap_mode="r"))
    together(Thread, len(pixels), workers, lambda number: job(pixels, number))


def gather(stored: Path, out: Path, workers: int) -> None:
    def job(pixels: np.ndarray, number: int) -> Callable:
        order = np.random.default_rng(0).permutation(len(pixels))[number::workers].tolist()
        slab = np.zeros(SLAB, np.uint8)

        def epoch() -> None:
            for i, at in enumerate(order):
                slab[i % BATCH] = pixels[at, INSIDE, INSIDE]

        return epoch

    copying(out, workers, job)


def memcpy(stored: Path, out: Path, workers: int) -> None:
    def job(pixels: np.ndarray, number: int) -> Callable:
        flat, bytes_each = pixels.reshape(-1), len(pixels) * CROP * CROP * 3 // workers
        mine, slab = flat[number * bytes_each :][:bytes_each], np.zeros(SLAB, np.uint8).reshape(-1)

        def epoch() -> None:
            for at in range(0, bytes_each, slab.size):
                part = mine[at : at + slab.size]
                slab[: part.size] = part

        return epoch

    copying(out, workers, job)


def picture(stored: Path, out: Path, workers: int) -> None:
    decoding(stored, workers, lambda: turbo_into)


def crop(stored: Path, out: Path, workers: int) -> None:
    decoding(stored, workers, lambda: cropping(sys.argv[4]))


if __name__ == "__main__":
    main(write, picture=picture, crop=crop, gather=gather, memcpy=memcpy)
