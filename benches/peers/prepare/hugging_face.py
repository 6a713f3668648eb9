"""Hugging Face datasets: `map` with num_proc, an Image column, then `to_parquet`."""

import datasets
from work import arguments, pairs, pillow_square, token_ids, tokenizer

FEATURES = datasets.Features(
    {
        "captions": datasets.List(datasets.Value("string")),
        "image": datasets.Image(),
        "tokens": datasets.List(datasets.List(datasets.Value("int32"))),
    }
)
words = None


def sample(row):
    global words  # one tokenizer a worker process
    words = words or tokenizer()
    image = {"bytes": pillow_square(row["path"]), "path": None}
    return {"image": image, "tokens": token_ids(words, row["captions"])}


if __name__ == "__main__":
    corpus, out, jobs = arguments()
    paths, captions = zip(*pairs(corpus))
    data = datasets.Dataset.from_dict({"path": list(paths), "captions": list(captions)})
    out.mkdir()
    data = data.map(
        sample,
        num_proc=jobs,
        features=FEATURES,
        remove_columns=["path"],
        cache_file_name=str(out / "map.arrow"),
    )
    data.to_parquet(str(out / "data.parquet"))
