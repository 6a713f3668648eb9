"""WebDataset: one ShardWriter a process; a sample is .jpg and .json."""

from multiprocessing import Pool
from pathlib import Path

from work import arguments, hide_torch, pairs, parts, pillow_square, token_ids, tokenizer

hide_torch()
from webdataset import ShardWriter  # noqa: E402


def write(job: tuple[str, list]) -> None:
    pattern, rows = job
    words = tokenizer()
    with ShardWriter(pattern, maxcount=1000, verbose=0) as writer:
        for path, captions in rows:
            told = {"captions": captions, "tokens": token_ids(words, captions)}
            writer.write({"__key__": Path(path).stem, "jpg": pillow_square(path), "json": told})


if __name__ == "__main__":
    corpus, out, jobs = arguments()
    out.mkdir()
    work = parts(pairs(corpus), jobs)
    with Pool(jobs) as pool:
        pool.map(write, [(str(out / f"{i}-%05d.tar"), rows) for i, rows in enumerate(work)])
