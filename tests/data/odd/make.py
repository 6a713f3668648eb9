#!/usr/bin/env python3
"""Writes the odd and the bad images of this folder, their reference pixels, and expected.json.

    python3 make.py        (needs Pillow, nothing else; the files are committed, so tests never run it)

A reference is what a person would call the right pixels: Pillow's decode, turned upright by EXIF,
16-bit values divided by 257 and rounded, alpha laid over white, then RGB.
"""

import io
import json
import random
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageCms, ImageDraw, ImageFilter, ImageOps

HERE = Path(__file__).parent
WIDTH, HEIGHT = 64, 48
expected = []


# -- the picture ---------------------------------------------------------------------------------


def picture(width=WIDTH, height=HEIGHT):
    """No two of its eight turns look alike; blurred, so that chroma upsampling hardly shows."""
    big = Image.new("RGB", (width * 4, height * 4))
    big.putdata([
        (60 + 150 * x // (width * 4), 90 + 120 * y // (height * 4), 170 - 90 * x // (width * 4))
        for y in range(height * 4) for x in range(width * 4)
    ])
    draw = ImageDraw.Draw(big)
    w, h = width * 4, height * 4
    draw.ellipse((w * 0.08, h * 0.1, w * 0.4, h * 0.55), fill=(215, 50, 40))
    draw.rectangle((w * 0.6, h * 0.5, w * 0.95, h * 0.9), fill=(35, 60, 190))
    draw.polygon([(w * 0.7, h * 0.08), (w * 0.95, h * 0.4), (w * 0.5, h * 0.35)], fill=(240, 220, 60))
    return big.filter(ImageFilter.GaussianBlur(5)).resize((width, height), Image.Resampling.BOX)


def alpha_ramp(size=(WIDTH, HEIGHT)):
    width, height = size
    ramp = Image.new("L", size)
    ramp.putdata([min(255, 300 * (x + y) // (width + height)) for y in range(height) for x in range(width)])
    return ramp


# -- references ----------------------------------------------------------------------------------


def over_white(image):
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    return Image.merge("RGB", [
        # c·a + 255·(1 − a), rounded once
        Image.frombytes("L", rgba.size, bytes(
            (c * a + 255 * (255 - a) + 127) // 255 for c, a in zip(band.tobytes(), alpha.tobytes())))
        for band in rgba.split()[:3]
    ])


def decoded(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return over_white(image)
    return image.convert("RGB")


def good(name, data, tolerance, reference=None):
    """`tolerance`: the largest difference of a channel value that still counts as the same pixels."""
    (HERE / name).write_bytes(data)
    stem = name.replace(".", "-") + ".rgb.png"
    (reference or decoded(data)).save(HERE / stem, optimize=True)
    expected.append({"file": name, "kind": "ok", "reference": stem, "tolerance": tolerance})


def bad(name, data, kind):
    (HERE / name).write_bytes(data)
    expected.append({"file": name, "kind": kind})


# -- writers -------------------------------------------------------------------------------------


def saved(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def jpeg(image, **options):
    return saved(image, "JPEG", **{"quality": 92, "subsampling": "4:4:4", **options})


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, depth, colour, raw, interlace=0, extra=b""):
    """A PNG of rows that already carry their filter byte: for the kinds Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def wide(value, x, y):
    """An 8-bit value as 16 bits whose low byte is busy, so that rounding and truncating differ."""
    return min(65535, max(0, value * 257 + (x * 37 + y * 91) % 256 - 128))


def narrow(value):
    return (value + 128) // 257


def sixteen(image, colour, alpha=None):
    """A 16-bit PNG (and its 8-bit reference) made by hand; `colour` is the PNG colour type."""
    raw, flat = bytearray(), []
    for y in range(image.height):
        raw.append(0)
        for x in range(image.width):
            pixel = image.getpixel((x, y))
            values = [wide(v, x, y) for v in (pixel if isinstance(pixel, tuple) else (pixel,))]
            opaque = wide(alpha.getpixel((x, y)), x, y) if alpha else 65535
            raw += b"".join(struct.pack(">H", v) for v in values + ([opaque] if alpha else []))
            over = [(v * opaque + 65535 * (65535 - opaque) + 32767) // 65535 for v in values]
            flat.append(tuple(narrow(v) for v in (over if len(over) == 3 else over * 3)))
    reference = Image.new("RGB", image.size)
    reference.putdata(flat)
    return png(image.width, image.height, 16, colour, bytes(raw)), reference


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def adam7(image):
    raw = bytearray()
    for x0, y0, dx, dy in ADAM7:
        for y in range(y0, image.height, dy):
            row = b"".join(bytes(image.getpixel((x, y))) for x in range(x0, image.width, dx))
            if row:
                raw += b"\0" + row
    return png(image.width, image.height, 8, 2, bytes(raw), interlace=1)


def oriented(upright, orientation):
    """A JPEG whose stored pixels are turned so that `orientation` turns them upright."""
    turn = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}.get(orientation)
    stored = upright if turn is None else upright.transpose(turn)
    return jpeg(stored, exif=orientation_exif(orientation))


def cmyk(image):
    """Adobe's inverted CMYK with a black plate that is really used."""
    planes = [[], [], [], []]
    for r, g, b in (image.getpixel((x, y)) for y in range(image.height) for x in range(image.width)):
        k = (255 - max(r, g, b)) // 2
        for plane, v in zip(planes, (r, g, b)):
            plane.append(min(255, max(0, round(255 - 255 * v / (255 - k)))))
        planes[3].append(k)
    return Image.merge("CMYK", [Image.frombytes("L", image.size, bytes(p)) for p in planes])


def ycck(image):
    """The same as YCCK: Pillow writes the planes as they are, and Adobe's transform byte says what they mean."""
    c, m, y, k = cmyk(image).split()
    lum, cb, cr = Image.merge("RGB", (c, m, y)).convert("YCbCr").split()
    planes = [band.point(lambda v: 255 - v) for band in (lum, cb, cr)]  # the writer inverts all four
    data = bytearray(jpeg(Image.merge("CMYK", [*planes, k])))
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0, "expected transform 0 (CMYK)"
    data[adobe + 11] = 2
    for marker, first, stride in ((b"\xff\xc0", 10, 3), (b"\xff\xda", 5, 2)):
        at = data.index(marker)
        for n in range(4):  # component ids C M Y K → 1 2 3 4
            data[at + first + n * stride] = n + 1
    return bytes(data)


# -- the files -----------------------------------------------------------------------------------


def good_jpegs(base):
    good("plain.jpg", jpeg(base), 3)
    good("progressive.jpg", jpeg(base, progressive=True), 3)
    good("420.jpg", jpeg(base, subsampling="4:2:0"), 8)
    good("422.jpg", jpeg(base, subsampling="4:2:2"), 8)
    good("progressive-420.jpg", jpeg(base, subsampling="4:2:0", progressive=True), 8)
    good("39x7-444.jpg", jpeg(picture(39, 7)), 3)
    good("39x7-420.jpg", jpeg(picture(39, 7), subsampling="4:2:0"), 8)
    good("1x1.jpg", jpeg(base.crop((5, 5, 6, 6))), 3)
    good("gray.jpg", jpeg(base.convert("L"), subsampling=-1), 3)
    good("cmyk.jpg", jpeg(cmyk(base)), 4)
    good("ycck.jpg", ycck(base), 5)
    good("restarts.jpg", jpeg(base, restart_marker_blocks=3), 3)
    for orientation in range(1, 9):
        good(f"exif-{orientation}.jpg", oriented(base, orientation), 3)
    good("exif-6-420.jpg", jpeg(base, subsampling="4:2:0", exif=orientation_exif(6)), 8)
    good("trailing.jpg", jpeg(base) + b"bytes after the end of the image\n" * 5, 3)
    good("icc.jpg", jpeg(base, icc_profile=profile()), 3)


def profile():
    """sRGB, without the hour it was made at: a profile is read past, not applied."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + made[36:]


def orientation_exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def good_pngs(base):
    gray = base.convert("L")
    palette = base.quantize(32, dither=Image.Dither.NONE)
    rgba = base.copy()
    rgba.putalpha(alpha_ramp())
    gray_alpha = Image.merge("LA", (gray, alpha_ramp()))
    good("rgb.png", saved(base, "PNG"), 0)
    good("gray.png", saved(gray, "PNG"), 0)
    good("1-bit.png", saved(base.convert("1"), "PNG"), 0)
    good("palette.png", saved(palette, "PNG"), 0)
    good("palette-4-bit.png", saved(base.quantize(16, dither=Image.Dither.NONE), "PNG", bits=4), 0)
    good("palette-trns.png", saved(palette, "PNG", transparency=bytes(range(0, 256, 8))), 1)
    good("rgb-trns.png", saved(base, "PNG", transparency=base.getpixel((3, 3))), 0)
    good("rgba.png", saved(rgba, "PNG"), 1)
    good("gray-alpha.png", saved(gray_alpha, "PNG"), 1)
    good("interlaced.png", adam7(picture(39, 7)), 0, picture(39, 7))
    good("exif-6.png", saved(base.transpose(Image.Transpose.ROTATE_90), "PNG", exif=orientation_exif(6)), 0)
    good("16-bit-gray.png", *swap(sixteen(gray, 0)))
    good("16-bit-rgb.png", *swap(sixteen(base, 2)))
    good("16-bit-rgba.png", *swap(sixteen(base, 6, alpha_ramp())))
    good("png-in-a.jpg", saved(base, "PNG"), 0)  # a wrong extension: the bytes say what it is
    good("jpeg-in-a.png", jpeg(base), 3)


def swap(made):
    data, reference = made
    return data, 1, reference


def bad_files(base):
    whole = jpeg(base)
    scan = whole.index(b"\xff\xda")
    progressive = jpeg(base, progressive=True)
    whole_png = saved(base, "PNG")
    data = whole_png.index(b"IDAT") + 4
    bad("empty.jpg", b"", "empty")
    bad("text.jpg", b"This is not a picture, whatever its name says.\n", "not-an-image")
    bad("html.png", b"<!doctype html><title>404</title><p>Not found\n", "not-an-image")
    bad("noise.jpg", random.Random(7).randbytes(2000), "not-an-image")
    bad("truncated.jpg", whole[: (scan + len(whole)) // 2], "truncated")
    bad("truncated-progressive.jpg", progressive[: len(progressive) // 2], "truncated")
    bad("header-only.jpg", whole[:scan], "truncated")
    bad("soi-only.jpg", whole[:4], "truncated")
    bad("truncated.png", whole_png[: (data + len(whole_png)) // 2], "truncated")
    bad("header-only.png", whole_png[: data - 8], "truncated")
    middle = (data + len(whole_png)) // 2
    flipped = bytes(b ^ 0xFF for b in whole_png[middle: middle + 4])
    bad("corrupt.png", whole_png[:middle] + flipped + whole_png[middle + 4:], "corrupt")
    # A frame header that contradicts itself: three components in a segment with room for one.
    frame = whole.index(b"\xff\xc0")
    bad("corrupt.jpg", whole[: frame + 2] + b"\x00\x0b" + whole[frame + 4:], "corrupt")
    # A few hundred bytes that ask for 30 GB.
    bad("bomb.png", png(100_000, 100_000, 8, 2, bytes(60_000)), "too-large")


def main():
    base = picture()
    good_jpegs(base)
    good_pngs(base)
    bad_files(base)
    lines = ",\n".join("  " + json.dumps(entry) for entry in expected)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n")


main()
