"""MosaicML Streaming: MDS shards, a StreamingDataset with shuffle in a DataLoader."""

from pathlib import Path

import numpy as np
from decode import pillow, whole_batch
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader
from work import BATCH, INSIDE, MAX_TOKENS, SIZE, main, raw_pixels, rows

IDS = f"ndarray:int32:{MAX_TOKENS}"


def write(stored: Path, out: Path) -> None:
    with MDSWriter(out=str(out / "jpeg"), columns={"image": "bytes", "ids": IDS}) as writer:
        for row in rows(stored, "jpeg"):
            writer.write({"image": row.image, "ids": row.ids})
    pixels = f"ndarray:uint8:{SIZE},{SIZE},3"
    with MDSWriter(out=str(out / "raw"), columns={"image": pixels, "ids": IDS}) as writer:
        for row in rows(stored, "raw"):
            writer.write({"image": raw_pixels(row), "ids": row.ids})


class Decoded(StreamingDataset):
    def __getitem__(self, at: int):
        sample = super().__getitem__(at)
        return pillow(sample["image"]), sample["ids"]


class Stored(StreamingDataset):
    def __getitem__(self, at: int):
        sample = super().__getitem__(at)
        return sample["image"], sample["ids"]


class Cropped(StreamingDataset):
    def __getitem__(self, at: int):
        sample = super().__getitem__(at)
        return np.ascontiguousarray(sample["image"][INSIDE, INSIDE]), sample["ids"]


def documented(stored: Path, out: Path, workers: int):
    return loader(Decoded, out / "jpeg", workers)


def tuned(stored: Path, out: Path, workers: int):
    return loader(Stored, out / "jpeg", workers, collate_fn=whole_batch)


def raw(stored: Path, out: Path, workers: int):
    return loader(Cropped, out / "raw", workers)


def loader(kind: type[StreamingDataset], folder: Path, workers: int, **options):
    clean_stale_shared_memory()  # of a run that was killed
    data = kind(local=str(folder), shuffle=True, batch_size=BATCH)
    options |= {"num_workers": workers, "persistent_workers": True}
    batches = DataLoader(data, batch_size=BATCH, **options)
    return lambda epoch: batches


if __name__ == "__main__":
    main(write, documented=documented, tuned=tuned, raw=raw)
