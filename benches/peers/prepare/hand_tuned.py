"""By hand, the fastest parts there are: libjpeg-turbo (simplejpeg), OpenCV's area filter, pyarrow."""

from multiprocessing import Pool
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from work import QUALITY, SIZE, arguments, pairs, parts, token_ids, tokenizer

SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "image": pa.binary(),
        "captions": pa.list_(pa.string()),
        "tokens": pa.list_(pa.list_(pa.int32())),
    }
)
ROWS = 500  # a row group


def square(path: str) -> bytes:
    """Decoded at a scale that leaves twice the size, cut to the centre, resized, encoded."""
    data = Path(path).read_bytes()
    pixels = simplejpeg.decode_jpeg(data, min_height=2 * SIZE, min_width=2 * SIZE)
    height, width = pixels.shape[:2]
    side = min(width, height)
    x, y = (width - side) // 2, (height - side) // 2
    pixels = pixels[y : y + side, x : x + side]
    pixels = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorsubsampling="420")


def write(job: tuple[str, list]) -> None:
    file, rows = job
    cv2.setNumThreads(1)
    words = tokenizer()
    with pq.ParquetWriter(file, SCHEMA, compression="none", use_dictionary=False) as writer:
        for at in range(0, len(rows), ROWS):
            paths, captions = zip(*rows[at : at + ROWS])
            flat = token_ids(words, [c for told in captions for c in told])
            ids = iter(flat)
            columns = {
                "key": [Path(path).stem for path in paths],
                "image": [square(path) for path in paths],
                "captions": captions,
                "tokens": [[next(ids) for _ in told] for told in captions],
            }
            writer.write_table(pa.table(columns, schema=SCHEMA))


if __name__ == "__main__":
    corpus, out, jobs = arguments()
    out.mkdir()
    work = parts(pairs(corpus), jobs)
    with Pool(jobs) as pool:
        pool.map(write, [(str(out / f"{i:05}.parquet"), rows) for i, rows in enumerate(work)])
