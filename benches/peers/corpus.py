"""Makes the images that every program is measured on. Runs inside the virtual environment.

    corpus.py SET N SCENES OUT

A picture is a crop of a bundled photograph blended with a rendered scene, plus sensor-like grain
that brings its JPEG (quality 92, 4:2:0) to a camera's size: about 92 KB at 640x480, 3 MB at 12 megapixels. Image i is a
function of i alone, so the same SET and N give the same bytes under the same library versions.

    OUT/images/000000000001.jpg ...
    OUT/captions.json    COCO captions, five an image: the scenes' own
    OUT/one.json         the same of the first image alone
    OUT/pairs.parquet    url (file://), caption: what img2dataset reads
"""

import json
import shutil
import sys
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

PHOTOS = Path(__file__).parents[2] / "tests/data/photos"
NAMES = ["astronaut", "chelsea", "coffee", "rocket", "hubble", "grass", "gravel"]
# set: width, height, strength of the grain in grey levels
SETS = {"photos": (640, 480, 3.0), "12mp": (4000, 3000, 4.0)}


def crop(photo: np.ndarray, width: int, height: int, draw: np.random.Generator) -> np.ndarray:
    """A random 4:3 part, 60 to 100 % of what fits, scaled to width x height."""
    rows, columns = photo.shape[:2]
    scale = min(columns / width, rows / height) * draw.uniform(0.6, 1.0)
    w, h = int(width * scale), int(height * scale)
    x, y = draw.integers(0, columns - w + 1), draw.integers(0, rows - h + 1)
    part = photo[y : y + h, x : x + w]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)


def picture(index: int, kind: str, scene: Path) -> bytes:
    width, height, grain = SETS[kind]
    draw = np.random.default_rng(index)
    name = NAMES[draw.integers(len(NAMES))]
    photo = simplejpeg.decode_jpeg((PHOTOS / f"{name}.jpg").read_bytes())
    drawn = cv2.resize(simplejpeg.decode_jpeg(scene.read_bytes()), (width, height))
    pixels = cv2.addWeighted(crop(photo, width, height, draw), 0.7, drawn, 0.3, 0)
    noise = draw.standard_normal((height, width, 1), dtype=np.float32) * grain
    pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return simplejpeg.encode_jpeg(pixels, quality=92, colorsubsampling="420")


def write(job: tuple[int, str, Path, Path]) -> int:
    index, kind, scene, out = job
    return out.write_bytes(picture(index, kind, scene))


def only_the_first(captions: dict) -> dict:
    image = captions["images"][0]
    told = [a for a in captions["annotations"] if a["image_id"] == image["id"]]
    return {"images": [image], "annotations": told}


def main(kind: str, count: int, scenes: Path, out: Path) -> None:
    cv2.setNumThreads(1)
    part = out.with_suffix(".part")  # a killed run leaves no half corpus under the final name
    shutil.rmtree(part, ignore_errors=True)
    (part / "images").mkdir(parents=True)
    captions = json.loads((scenes / "captions.json").read_text())
    width, height, _ = SETS[kind]
    for image in captions["images"]:
        image |= {"width": width, "height": height}
    names = [image["file_name"] for image in captions["images"]]
    jobs = [(i, kind, scenes / "images" / n, part / "images" / n) for i, n in enumerate(names)]
    with Pool(2) as pool:
        sizes = pool.map(write, jobs, chunksize=8)
    (part / "captions.json").write_text(json.dumps(captions))
    (part / "one.json").write_text(json.dumps(only_the_first(captions)))
    first = {a["image_id"]: a["caption"] for a in reversed(captions["annotations"])}
    urls = [(out / "images" / name).as_uri() for name in names]
    told = [first[image["id"]] for image in captions["images"]]
    pq.write_table(pa.table({"url": urls, "caption": told}), part / "pairs.parquet")
    part.rename(out)
    print(f"{out}: {count} images, {np.mean(sizes) / 1000:.1f} KB each")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]).resolve())
