"""LitData: chunks of 64 MB, its JPEG type (torchvision decodes it), StreamingDataLoader."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from litdata import Jpeg, StreamingDataLoader, StreamingDataset, optimize
from work import BATCH, INSIDE, main, raw_pixels, rows


def write(stored: Path, out: Path) -> None:
    for encoding in ("jpeg", "raw"):
        folder = str(out / encoding)
        optimize(
            partial(samples, stored),
            [encoding],
            output_dir=folder,
            chunk_bytes="64MB",
            num_workers=1,
        )


def samples(stored: Path, encoding: str) -> Iterator[dict]:
    for row in rows(stored, encoding):
        image = Jpeg(bytes=row.image) if encoding == "jpeg" else raw_pixels(row)
        yield {"image": image, "ids": row.ids}


class Pictures(StreamingDataset):
    def __getitem__(self, at):
        sample = super().__getitem__(at)  # channels come first
        return sample["image"][:, INSIDE, INSIDE], sample["ids"]


class Cropped(StreamingDataset):
    def __getitem__(self, at):
        sample = super().__getitem__(at)
        return np.ascontiguousarray(sample["image"][INSIDE, INSIDE]), sample["ids"]


def documented(stored: Path, out: Path, workers: int):
    batches = loader(Pictures(str(out / "jpeg"), shuffle=True, batch_decode=False), workers)
    return lambda epoch: ((images.permute(0, 2, 3, 1), ids) for images, ids in batches)


def raw(stored: Path, out: Path, workers: int):
    batches = loader(Cropped(str(out / "raw"), shuffle=True, batch_decode=False), workers)
    return lambda epoch: batches


def loader(data: StreamingDataset, workers: int) -> StreamingDataLoader:
    options = {"num_workers": workers, "persistent_workers": True}
    return StreamingDataLoader(data, batch_size=BATCH, **options)


if __name__ == "__main__":
    main(write, documented=documented, raw=raw)
