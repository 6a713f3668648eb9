"""FFCV: .beton files, Loader with OrderOption.RANDOM and os_cache, its centre-crop decoder."""

from pathlib import Path

import numpy as np
import simplejpeg
from ffcv.fields import NDArrayField, RGBImageField, rgb_image
from ffcv.fields.decoders import CenterCropRGBImageDecoder, NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.writer import DatasetWriter
from work import BATCH, CROP, MAX_TOKENS, SIZE, Row, main, raw_pixels, rows


class Rows:
    """The writer takes pixels and encodes them; `stored` is what it then gets for its own."""

    stored = np.empty(0, np.uint8)

    def __init__(self, taken: list[Row], encoding: str) -> None:
        self.taken, self.encoding = taken, encoding

    def __len__(self) -> int:
        return len(self.taken)

    def __getitem__(self, at: int):
        row = self.taken[at]
        if self.encoding == "raw":
            return raw_pixels(row), row.ids
        Rows.stored = np.frombuffer(row.image, np.uint8)
        return simplejpeg.decode_jpeg(row.image), row.ids


def write(stored: Path, out: Path) -> None:
    rgb_image.encode_jpeg = lambda pixels, quality: Rows.stored  # the bytes stay the same
    for encoding, mode in (("jpeg", "jpg"), ("raw", "raw")):
        ids = NDArrayField(np.dtype(np.int32), (MAX_TOKENS,))
        fields = {"image": RGBImageField(write_mode=mode), "ids": ids}
        data = Rows(list(rows(stored, encoding)), encoding)
        writer = DatasetWriter(str(out / f"{encoding}.beton"), fields, num_workers=1)
        writer.from_indexed_dataset(data)


def documented(stored: Path, out: Path, workers: int):
    return loader(out / "jpeg.beton", workers)


def raw(stored: Path, out: Path, workers: int):
    return loader(out / "raw.beton", workers)


def loader(file: Path, workers: int):
    crop = CenterCropRGBImageDecoder((CROP, CROP), ratio=CROP / SIZE)
    batches = Loader(
        str(file),
        batch_size=BATCH,
        num_workers=workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        pipelines={"image": [crop], "ids": [NDArrayDecoder()]},
    )
    return lambda epoch: batches


if __name__ == "__main__":
    main(write, documented=documented, raw=raw)
