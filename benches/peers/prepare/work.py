"""The work that every peer of `prepare` does, and how its script is called.

    PEER.py CORPUS OUT JOBS

640x480 JPEG -> centre square, 256 px -> JPEG quality 90; five captions -> token ids.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from multiprocessing import Pool
from pathlib import Path

# The workers are the parallelism: no library starts threads of its own beside them.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["VIPS_CONCURRENCY"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or img2dataset's processes ask the network

SIZE, QUALITY, MAX_TOKENS = 256, 90, 64
VOCABULARY = Path(__file__).parents[3] / "data/bert-base-uncased/vocab.txt"

ROWS = 500  # a row group, where a script writes Parquet itself

Pair = tuple[str, list[str]]  # path, captions


def arguments() -> tuple[Path, Path, int]:
    corpus, out, jobs = sys.argv[1:]
    return Path(corpus), Path(out), int(jobs)


def pairs(corpus: Path) -> list[Pair]:
    table = json.loads((corpus / "captions.json").read_text())
    captions: dict[int, list[str]] = {}
    for annotation in table["annotations"]:
        captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
    images = table["images"]
    return [(str(corpus / "images" / i["file_name"]), captions[i["id"]]) for i in images]


def parts(rows: list[Pair], jobs: int) -> list[list[Pair]]:
    """Contiguous runs of rows, one a worker."""
    edges = [len(rows) * job // jobs for job in range(jobs + 1)]
    return [rows[a:b] for a, b in zip(edges, edges[1:])]


def hide_torch() -> None:
    """For tools that import torch only when they find it: nothing here needs its seconds."""
    sys.modules["torch"] = None


def tokenizer():
    from tokenizers import BertWordPieceTokenizer

    words = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
    words.enable_truncation(MAX_TOKENS)
    return words


def token_ids(words, captions: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in words.encode_batch(captions)]


def pillow_square(path: str) -> bytes:
    """Pillow's way: `draft` decodes large JPEGs at 1/2, 1/4 or 1/8 as `thumbnail` does."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        image.draft("RGB", (2 * SIZE, 2 * SIZE))
        image = ImageOps.fit(image.convert("RGB"), (SIZE, SIZE), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def write_parquet(square: Callable[[str], bytes]) -> None:
    """The whole of a script whose own part is a path to its stored JPEG: one file a job."""
    corpus, out, jobs = arguments()
    out.mkdir()
    files = [out / f"{job:05}.parquet" for job in range(jobs)]
    with Pool(jobs) as pool:
        work = zip(files, parts(pairs(corpus), jobs))
        pool.starmap(parquet_file, [(square, file, rows) for file, rows in work])


def parquet_file(square: Callable[[str], bytes], file: Path, rows: list[Pair]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tokens = pa.list_(pa.list_(pa.int32()))
    types = {"key": pa.string(), "image": pa.binary(), "captions": pa.list_(pa.string())}
    schema, words = pa.schema({**types, "tokens": tokens}), tokenizer()
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for at in range(0, len(rows), ROWS):
            paths, captions = zip(*rows[at : at + ROWS])
            ids = iter(token_ids(words, [caption for told in captions for caption in told]))
            columns = {
                "key": [Path(path).stem for path in paths],
                "image": [square(path) for path in paths],
                "captions": captions,
                "tokens": [[next(ids) for _ in told] for told in captions],
            }
            writer.write_table(pa.table(columns, schema=schema))
