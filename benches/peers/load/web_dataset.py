"""WebDataset: tars of 1,000, a shuffle buffer of 1,000, WebLoader; a sample is .jpg and .npy."""

import io
from pathlib import Path

import numpy as np
import torch
import webdataset as wds
from decode import pillow_crop, whole_batch
from PIL import Image
from work import BATCH, main, rows


def write(stored: Path, out: Path) -> None:
    with wds.ShardWriter(str(out / "%05d.tar"), maxcount=1000, verbose=0) as writer:
        for row in rows(stored, "jpeg"):
            writer.write({"__key__": row.key, "jpg": row.image, "npy": row.ids})


def shuffled(out: Path) -> wds.WebDataset:
    tars = sorted(map(str, out.glob("*.tar")))
    return wds.WebDataset(tars, shardshuffle=len(tars)).shuffle(1000)


def documented(stored: Path, out: Path, workers: int):
    data = shuffled(out).decode("pil").to_tuple("jpg", "npy").map_tuple(tensor, torch.from_numpy)
    return loader(data.batched(BATCH), workers)


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(pillow_crop(image))


def tuned(stored: Path, out: Path, workers: int):
    data = shuffled(out).to_tuple("jpg", "npy").map_tuple(bytes, ids)
    return loader(data.batched(BATCH, collation_fn=whole_batch), workers)


def ids(npy: bytes) -> np.ndarray:
    return np.load(io.BytesIO(npy))


def loader(data: wds.WebDataset, workers: int):
    batches = wds.WebLoader(data, batch_size=None, num_workers=workers, persistent_workers=True)
    return lambda epoch: batches


if __name__ == "__main__":
    main(write, documented=documented, tuned=tuned)
