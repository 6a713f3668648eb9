"""What `clip export` writes, held against what `clip embed` says: torchvision and transformers through
load.py, and torch.jit.load, give the same embeddings.

    python tests/parity/export.py --clip target/release/clip --run RUN --data SHARDS [--split train] [--rows 40]

Needs torch, torchvision, transformers, safetensors and pyarrow. Raw shards (prepare --encoding raw) are compared to
1e-5; from JPEG shards too, where torch's pictures are decoded by Pillow, whose decoder may differ by a level.
Exit code 0: all agree.
"""

import argparse
import importlib.util
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import pyarrow.dataset
import pyarrow.parquet
import torch


def main():
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        clip(args, "embed", "--data", args.data, "--split", args.split, "--out", folder / "emb.parquet")
        keys, pixels, texts, image, text = expected(args, folder / "emb.parquet")
        worst = 0.0
        for name, check in (("safetensors", check_safetensors), ("torchscript", check_torchscript)):
            clip(args, "export", "--format", name, "--out", folder / name)
            for what, found, wanted in check(folder / name, pixels, texts, image, text):
                apart = (found - wanted).abs().max().item()
                worst = max(worst, apart)
                print(f"{name:12} {what:40} {apart:.1e}")
    print(f"{len(keys)} images, {len(texts)} texts, at most {worst:.1e} apart")
    sys.exit(worst > args.tolerance)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="target/release/clip", help="the program")
    parser.add_argument("--run", required=True, help="a folder that train made")
    parser.add_argument("--data", required=True, help="a folder that prepare made")
    parser.add_argument("--split", default="train")
    parser.add_argument("--rows", type=int, default=40, help="images compared")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    return parser.parse_args()


def clip(args, command, *rest):
    words = [args.clip, command, "--run", args.run, "--quiet", *rest]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def expected(args, table):
    """Keys, u8 pictures, texts and our embeddings of the split's first rows."""
    rows = pyarrow.parquet.read_table(table).to_pylist()
    images = {row["key"]: row["embedding"] for row in rows if row["kind"] == "image"}
    shards = sorted(pathlib.Path(args.data, args.split).glob("v0-*.parquet"))
    stored = pyarrow.dataset.dataset(shards).head(args.rows).to_pylist()
    keys = [row["key"] for row in stored]
    texts = [row for row in rows if row["kind"] == "text" and row["key"] in set(keys)]
    pixels = numpy.stack([picture(row) for row in stored])
    return (
        keys,
        torch.from_numpy(pixels),
        [row["text"] for row in texts],
        torch.tensor([images[key] for key in keys]),
        torch.tensor([row["embedding"] for row in texts]),
    )


def picture(row):
    if row.get("pixels") is not None:
        return numpy.frombuffer(row["pixels"], numpy.uint8).reshape(row["height"], row["width"], 3)
    import PIL.Image

    return numpy.asarray(PIL.Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"))


def cropped(pixels, side):
    top, left = ((size - side) // 2 for size in pixels.shape[1:3])
    return pixels[:, top : top + side, left : left + side]


@torch.no_grad()
def check_safetensors(folder, pixels, texts, image, text):
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len((folder / "load.py").read_text().splitlines()) <= 30
    model = module.load()
    pixels = cropped(pixels, model.config["image"]["crop"])
    yield "image tower", model.image(pixels), image
    yield "text tower", model.text(texts), text
    yield "one text alone", model.text(texts[:1]), text[:1]
    import transformers

    bert = transformers.AutoModel.from_pretrained(folder / "text", add_pooling_layer=False)
    assert type(bert).__name__ == "BertModel", type(bert)


@torch.no_grad()
def check_torchscript(folder, pixels, texts, image, text):
    import transformers

    config = json.loads((folder / "config.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    towers = {name: torch.jit.load(folder / f"{name}.pt") for name in ("image", "text")}
    mean, std = (torch.tensor(config["image"][name]) for name in ("mean", "std"))
    pixels = ((cropped(pixels, config["image"]["crop"]) / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
    for batch in (1, 3, len(pixels)):
        yield f"image.pt, batch {batch}", towers["image"](pixels[:batch]), image[:batch]
    for batch in (1, 2, len(texts)):
        ids = tokenizer(texts[:batch], padding=True, truncation=True, return_tensors="pt")
        what = f"text.pt, batch {batch}, length {ids.input_ids.shape[1]}"
        yield what, towers["text"](ids.input_ids, ids.attention_mask), text[:batch]


main()
