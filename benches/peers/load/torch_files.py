"""PyTorch's DataLoader over a folder of JPEG files, and an array of token ids."""

from pathlib import Path

import numpy as np
from decode import pillow_crop, whole_batch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from work import BATCH, main, rows


def write(stored: Path, out: Path) -> None:
    ids = []
    for row in rows(stored, "jpeg"):
        (out / f"{row.key}.jpg").write_bytes(row.image)
        ids.append(row.ids)
    np.save(out / "ids.npy", np.stack(ids))


class Files(Dataset):
    """Pictures as their files' bytes."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(map(str, folder.glob("*.jpg")))
        self.ids = np.load(folder / "ids.npy")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int):
        return Path(self.paths[at]).read_bytes(), self.ids[at]


class Pictures(Files):
    def __getitem__(self, at: int):
        with Image.open(self.paths[at]) as image:
            return pillow_crop(image), self.ids[at]


def documented(stored: Path, out: Path, workers: int):
    return loader(Pictures(out), workers)


def tuned(stored: Path, out: Path, workers: int):
    return loader(Files(out), workers, collate_fn=whole_batch)


def loader(data: Files, workers: int, **options):
    options |= {"shuffle": True, "num_workers": workers, "persistent_workers": True}
    batches = DataLoader(data, batch_size=BATCH, **options)
    return lambda epoch: batches


if __name__ == "__main__":
    main(write, documented=documented, tuned=tuned)
