"""Hugging Face datasets: Parquet of 1,000 rows a file, streamed, a shuffle buffer of 1,000."""

from pathlib import Path

import datasets
import numpy as np
from decode import pillow_crop
from torch.utils.data import DataLoader
from work import BATCH, main, rows

FEATURES = datasets.Features(
    {"image": datasets.Image(), "ids": datasets.List(datasets.Value("int32"))}
)


def write(stored: Path, out: Path) -> None:
    taken = list(rows(stored, "jpeg"))
    for at in range(0, len(taken), 1000):
        part = taken[at : at + 1000]
        images = [{"bytes": row.image, "path": None} for row in part]
        table = {"image": images, "ids": [row.ids for row in part]}
        data = datasets.Dataset.from_dict(table, features=FEATURES)
        data.to_parquet(str(out / f"{at // 1000:05}.parquet"))


def sample(row):
    return {"image": pillow_crop(row["image"]), "ids": np.asarray(row["ids"], np.int32)}


def documented(stored: Path, out: Path, workers: int):
    files = sorted(map(str, out.glob("*.parquet")))
    data = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    data = data.shuffle(seed=0, buffer_size=1000, max_buffer_input_shards=1).map(sample)
    batches = DataLoader(data, batch_size=BATCH, num_workers=workers, persistent_workers=True)

    def epoch(number: int):
        data.set_epoch(number)
        return ((batch["image"], batch["ids"]) for batch in batches)

    return epoch


if __name__ == "__main__":
    main(write, documented=documented)
