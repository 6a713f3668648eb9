"""libvips: `thumbnail` with crop=centre (shrinks while it loads), written by pyarrow."""

from multiprocessing import Pool
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyvips
from hand_tuned import ROWS, SCHEMA
from work import QUALITY, SIZE, arguments, pairs, parts, token_ids, tokenizer


def square(path: str) -> bytes:
    image = pyvips.Image.thumbnail(path, SIZE, height=SIZE, crop="centre")
    return image.jpegsave_buffer(Q=QUALITY, keep="none")


def write(job: tuple[str, list]) -> None:
    file, rows = job
    words = tokenizer()
    with pq.ParquetWriter(file, SCHEMA, compression="none", use_dictionary=False) as writer:
        for at in range(0, len(rows), ROWS):
            paths, captions = zip(*rows[at : at + ROWS])
            columns = {
                "key": [Path(path).stem for path in paths],
                "image": [square(path) for path in paths],
                "captions": captions,
                "tokens": [token_ids(words, told) for told in captions],
            }
            writer.write_table(pa.table(columns, schema=SCHEMA))


if __name__ == "__main__":
    corpus, out, jobs = arguments()
    out.mkdir()
    work = parts(pairs(corpus), jobs)
    with Pool(jobs) as pool:
        pool.map(write, [(str(out / f"{i:05}.parquet"), rows) for i, rows in enumerate(work)])
