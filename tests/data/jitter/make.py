#!/usr/bin/env python3
"""Writes what torchvision makes of a picture by each colour operation, and by all of them in order.

    python3 make.py        (needs torchvision, safetensors and Pillow; the files are committed, so tests never run it)

`expected.png` holds the results of `cases.json` one below the other; the source is
`../odd/plain-jpg.rgb.png`. `floats.safetensors` holds what the same operations make of floats in 0…1,
of the source's first 16 rows and columns: `expected`, `[cases, 3, 16, 16]`.
"""

import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as F

HERE = Path(__file__).parent
NONE = {"flip": False, "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "grayscale": False}
CASES = [
    {"flip": True},
    {"brightness": 0.6}, {"brightness": 1.4},
    {"contrast": 0.3}, {"contrast": 1.7},
    {"saturation": 0.0}, {"saturation": 0.4}, {"saturation": 1.8},
    {"hue": -0.5}, {"hue": -0.07}, {"hue": 0.25}, {"hue": 0.5},
    {"grayscale": True},
    {"flip": True, "brightness": 1.2, "contrast": 0.8, "saturation": 1.3, "hue": -0.1},
    {"brightness": 0.7, "contrast": 1.4, "saturation": 0.6, "hue": 0.05, "grayscale": True},
]


def augmented(image, case):
    """In pairmill's order; what changes nothing is left out, as torchvision's ColorJitter does."""
    image = F.hflip(image) if case["flip"] else image
    for name in ("brightness", "contrast", "saturation"):
        if case[name] != 1.0:
            image = getattr(F, f"adjust_{name}")(image, case[name])
    image = F.adjust_hue(image, case["hue"]) if case["hue"] else image
    return F.rgb_to_grayscale(image, 3) if case["grayscale"] else image


def main():
    source = Image.open(HERE.parent / "odd" / "plain-jpg.rgb.png").convert("RGB")
    cases = [NONE | case for case in CASES]
    sheet = Image.new("RGB", (source.width, source.height * len(cases)))
    for number, case in enumerate(cases):
        sheet.paste(augmented(source, case), (0, number * source.height))
    sheet.save(HERE / "expected.png", optimize=True)
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    corner = F.to_tensor(source.crop((0, 0, 16, 16)))
    save_file({"expected": torch.stack([augmented(corner, case) for case in cases])}, HERE / "floats.safetensors")
    (HERE / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
