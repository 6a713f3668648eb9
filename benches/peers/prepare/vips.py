"""libvips: `thumbnail` with crop=centre (shrinks while it loads), written by pyarrow."""

import pyvips
from work import QUALITY, SIZE, write_parquet


def square(path: str) -> bytes:
    image = pyvips.Image.thumbnail(path, SIZE, height=SIZE, crop="centre")
    return image.jpegsave_buffer(Q=QUALITY, keep="none")


if __name__ == "__main__":
    write_parquet(square)
