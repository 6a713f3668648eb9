"""A stored JPEG to its crop: as pages of the peers show it, and the fastest way from Python."""

import io

import numpy as np
import simplejpeg
import torch
from PIL import Image
from work import CROP, EDGE, INSIDE, SIZE, Batch

scratch = np.empty((SIZE, SIZE, 3), np.uint8)


def pillow(data: bytes) -> np.ndarray:
    return pillow_crop(Image.open(io.BytesIO(data)))


def pillow_crop(image: Image.Image) -> np.ndarray:
    image = image.convert("RGB").crop((EDGE, EDGE, EDGE + CROP, EDGE + CROP))
    return np.array(image)


def turbo_into(data: bytes, place: np.ndarray) -> None:
    """libjpeg-turbo decodes into one buffer a process, and the crop is copied to its place."""
    simplejpeg.decode_jpeg(data, buffer=scratch)
    place[:] = scratch[INSIDE, INSIDE]


def whole_batch(samples: list[tuple[bytes, np.ndarray]]) -> Batch:
    """A worker's samples decoded straight into the shared memory that the main process gets."""
    shape = (len(samples), CROP, CROP, 3)
    storage = torch.UntypedStorage._new_shared(int(np.prod(shape)))
    images = torch.empty(0, dtype=torch.uint8).set_(storage, 0, shape)
    places = images.numpy()
    for place, (data, _) in zip(places, samples):
        turbo_into(data, place)
    return images, torch.from_numpy(np.stack([ids for _, ids in samples]))
