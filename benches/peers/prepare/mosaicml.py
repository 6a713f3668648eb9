"""MosaicML Streaming: one MDSWriter a process on a subfolder of its own, then `merge_index`."""

from multiprocessing import Pool

from streaming import MDSWriter
from streaming.base.util import merge_index
from work import arguments, pairs, parts, pillow_square, token_ids, tokenizer

COLUMNS = {"image": "bytes", "captions": "json", "tokens": "json"}


def write(job: tuple[str, list]) -> None:
    folder, rows = job
    words = tokenizer()
    with MDSWriter(out=folder, columns=COLUMNS) as writer:
        for path, captions in rows:
            tokens = token_ids(words, captions)
            writer.write({"image": pillow_square(path), "captions": captions, "tokens": tokens})


if __name__ == "__main__":
    corpus, out, jobs = arguments()
    work = parts(pairs(corpus), jobs)
    with Pool(jobs) as pool:
        pool.map(write, [(str(out / f"{i:05}"), rows) for i, rows in enumerate(work)])
    merge_index(str(out), keep_local=True)
