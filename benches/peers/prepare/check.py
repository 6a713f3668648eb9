"""Whether a peer of `prepare` wrote what was asked. Runs inside the virtual environment.

    check.py OUT N [VIEWS]

Recognises the format by its files; fails unless OUT holds N images of 256x256.
"""

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from work import SIZE


def images(out: Path) -> Iterator[bytes]:
    if (out / "index.json").exists():
        yield from streamed(out)
        return
    for tar in sorted(out.rglob("*.tar")):
        with tarfile.open(tar) as archive:
            yield from (archive.extractfile(m).read() for m in archive if m.name.endswith(".jpg"))
    if not any(out.rglob("*.tar")):  # img2dataset writes Parquet beside its tars
        for file in sorted(out.rglob("*.parquet")):
            if not file.name.startswith("_"):
                yield from stored(file)


def stored(file: Path) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    column = "image" if "image" in parquet.schema_arrow.names else "pixels"
    for batch in parquet.iter_batches(64, columns=[column]):
        for image in batch.column(0).to_pylist():
            yield image["bytes"] if isinstance(image, dict) else image


def streamed(out: Path) -> Iterator[bytes]:
    """MosaicML's shards or LitData's chunks, through their own readers."""
    if any(out.rglob("*.mds")):
        from streaming import LocalDataset as Dataset
    else:
        from litdata import StreamingDataset as Dataset
    data = Dataset(str(out))
    for i in range(len(data)):
        yield data[i]["image"]


def size(image: bytes) -> tuple[int, int]:
    if len(image) == 3 * SIZE * SIZE:
        return SIZE, SIZE
    with Image.open(io.BytesIO(image)) as decoded:
        decoded.load()
        return decoded.size


def main(out: Path, count: int) -> None:
    sizes = [size(image) for image in images(out)]
    wrong = {found for found in sizes if found != (SIZE, SIZE)}
    if len(sizes) != count or wrong:
        sys.exit(f"{out}: {len(sizes)} images of {count}, other sizes: {wrong or 'none'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
