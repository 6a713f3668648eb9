"""LitData: `optimize` with one worker a job, 64 MB chunks (the size its pages use)."""

from litdata import optimize
from work import arguments, pairs, pillow_square, token_ids, tokenizer

words = None


def sample(row):
    global words  # one tokenizer a worker process
    words = words or tokenizer()
    path, captions = row
    return {"image": pillow_square(path), "captions": captions, "tokens": token_ids(words, captions)}


if __name__ == "__main__":
    corpus, out, jobs = arguments()
    optimize(sample, pairs(corpus), output_dir=str(out), chunk_bytes="64MB", num_workers=jobs)
