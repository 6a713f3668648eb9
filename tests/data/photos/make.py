#!/usr/bin/env python3
"""Writes the photographs of this folder and their captions in every form that `prepare` reads.

    python3 make.py        (needs scikit-image and Pillow; the files are committed, so tests never run it)

The captions were written by hand for this folder, looking at each photograph.
"""

import csv
import json
import re
from pathlib import Path

import skimage
from PIL import Image

HERE = Path(__file__).parent
SOURCE = Path(skimage.__file__).parent / "data"

# file, source, crop box in the source (or None), size, split, captions
PHOTOS = [
    ("astronaut.jpg", "astronaut.png", None, (512, 512), "train", [
        "A smiling astronaut in an orange space suit sits beside her helmet.",
        "A woman with short hair poses in front of a flag and a model of a space shuttle.",
        "An official portrait of a woman wearing an orange flight suit.",
        "A black and white helmet rests in front of a smiling woman in orange.",
        "Portrait of an astronaut, with a striped flag on the left and a model shuttle on the right.",
    ]),
    ("brick.png", "brick.png", None, (256, 256), "train", [
        "A wall or path of long, narrow bricks in black and white.",
        "Rows of dark bricks separated by thin lines of pale mortar.",
        "A gray picture of bricks laid in columns.",
        "Close view of neat brickwork with light joints.",
        "Many rectangular bricks fill the whole picture.",
    ]),
    ("camera.png", "camera.png", None, (384, 384), "train", [
        "A man in a dark coat looks through a camera on a tripod.",
        "A photographer films across a lawn, with a city skyline behind him.",
        "A black and white photo of a man bending over a camera.",
        "Someone in a long black coat stands on the grass beside a tripod.",
        "A man peers into a camera; tall buildings stand in the distance.",
    ]),
    ("chelsea.jpg", "chelsea.png", None, (451, 300), "train", [
        "A close-up of the face of a tabby cat with green eyes.",
        "A ginger striped cat looks past the camera.",
        "The cat has white whiskers, a pink nose and wide open eyes.",
        "Portrait of an orange tabby cat.",
        "A striped cat tilts its head and stares at something to the right.",
    ]),
    ("clock.png", "clock_motion.png", None, (400, 300), "train", [
        "A round wall clock blurred by the motion of the camera.",
        "A blurry white disc on a plain gray wall.",
        "An out-of-focus clock that nobody could tell the time from.",
        "A black and white picture of a clock, smeared sideways.",
        "Something round and pale hangs in the middle of a gray wall.",
    ]),
    ("coffee.jpg", "coffee.png", None, (600, 400), "val", [
        "A cup of coffee on a red saucer with a small spoon.",
        "An espresso in a white and brown cup stands on a wooden table.",
        "A metal spoon lies next to a cup of coffee.",
        "Hot coffee served in a cup, saucer and spoon on a worn table.",
        "Looking down at a red-brown saucer that holds a cup full of coffee.",
    ]),
    ("grass.jpg", "grass.png", None, (320, 320), "train", [
        "A patch of grass and dry stalks seen from above in black and white.",
        "Tangled blades of grass cover the ground.",
        "A gray photo of a lawn, very close.",
        "Messy grass with bits of straw and a few small leaves.",
        "Nothing but grass, from edge to edge.",
    ]),
    ("gravel.jpg", "gravel.png", None, (240, 320), "restval", [
        "Small stones lie close together on the ground.",
        "A black and white photo of gravel.",
        "Hundreds of little gray pebbles fill the frame.",
        "Crushed rock seen from straight above.",
        "A bed of rough gravel, some stones lighter than others.",
    ]),
    ("hubble.jpg", "hubble_deep_field.jpg", None, (640, 558), "train", [
        "Countless distant galaxies shine in a black sky.",
        "A deep picture of space full of tiny coloured lights.",
        "Spiral and oval galaxies, some orange and some blue, scattered over darkness.",
        "The \"deep field\" seen by a space telescope: galaxies everywhere.",
        "Red, white and blue specks of light on a black background.",
    ]),
    ("retina.jpg", "retina.jpg", None, (360, 360), "val", [
        "The inside of an eye, round and orange, with branching blood vessels.",
        "A medical photograph of a retina on a black background.",
        "Thin red veins spread from a bright spot at the left of an orange disc.",
        "A large orange circle with red lines like the branches of a tree.",
        "The back of a human eye with a darker patch near its centre.",
    ]),
    ("rocket.jpg", "rocket.jpg", (200, 0, 480, 427), (280, 427), "test", [
        "A white rocket stands upright on its launch pad at dusk.",
        "A tall rocket waits beside a thin tower under a dark blue sky.",
        "Bright lamps shine around the foot of a rocket in the evening.",
        "A rocket ready for launch, its nose pointing at the night sky.",
        "Star-shaped lights glow below a slender white rocket.",
    ]),
    ("text.png", "text.png", None, (448, 172), "test", [
        "Handwritten mathematics on lined paper, seen at a slant.",
        "A page of formulas with an integral sign, in black ink.",
        "A blurred close-up of a notebook with equations.",
        "Someone has written symbols and brackets between ruled lines.",
        "A gray, wide picture of handwriting that is mostly formulas.",
    ]),
]


def write_photo(file, source, box, size):
    image = Image.open(SOURCE / source)
    image = image.crop(box) if box else image
    if size[0] * image.height != size[1] * image.width and not box:
        image = centred(image, size)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if file.endswith(".jpg"):
        image.save(HERE / file, quality=88, optimize=True)
    else:
        image.save(HERE / file, optimize=True)


def centred(image, size):
    """The largest centred box of the wanted aspect."""
    scale = min(image.width / size[0], image.height / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    x, y = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((x, y, x + width, y + height))


def write_json(name, value):
    (HERE / name).write_text(json.dumps(value, indent=1) + "\n")


def write_coco():
    images, annotations = [], []
    for number, (file, _, _, (width, height), _, captions) in enumerate(PHOTOS, 1):
        images.append({"id": number, "file_name": file, "width": width, "height": height})
        annotations += [{"id": number * 10 + n, "image_id": number, "caption": c} for n, c in enumerate(captions)]
    write_json("captions.json", {"info": {"description": "photos"}, "images": images, "annotations": annotations})


def sentence(raw, sentid, imgid):
    tokens = re.findall(r"[a-z0-9]+", raw.lower())
    return {"tokens": tokens, "raw": raw, "imgid": imgid, "sentid": sentid}


def write_karpathy():
    images = []
    for imgid, (file, _, _, _, split, captions) in enumerate(PHOTOS):
        sentids = [imgid * 5 + n for n in range(5)]
        images.append({
            "filepath": "", "filename": file, "cocoid": imgid + 1, "imgid": imgid, "split": split,
            "sentids": sentids, "sentences": [sentence(c, s, imgid) for c, s in zip(captions, sentids)],
        })
    write_json("dataset.json", {"dataset": "photos", "images": images})


def write_flickr():
    rows = [(file, n, c) for file, *_, captions in PHOTOS for n, c in enumerate(captions)]
    (HERE / "results_20130124.token").write_text("".join(f"{f}#{n}\t{c}\n" for f, n, c in rows))
    (HERE / "results.csv").write_text(
        "image_name| comment_number| comment\n" + "".join(f"{f}| {n}| {c}\n" for f, n, c in rows))
    with open(HERE / "captions.txt", "w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["image", "caption"])
        table.writerows((f, c) for f, _, c in rows)
    with open(HERE / "flickr_annotations_30k.csv", "w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["raw", "sentids", "split", "filename", "img_id"])
        for imgid, (file, _, _, _, split, captions) in enumerate(PHOTOS):
            sentids = json.dumps([imgid * 5 + n for n in range(5)])
            flickr_split = "train" if split == "restval" else split  # Flickr30k has no restval
            table.writerow([json.dumps(captions), sentids, flickr_split, file, imgid])


def main():
    for file, source, box, size, _, captions in PHOTOS:
        assert len(captions) == 5
        write_photo(file, source, box, size)
    write_coco()
    write_karpathy()
    write_flickr()


main()
