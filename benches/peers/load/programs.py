"""What is measured: every program's name, command and what its batches are checked for."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from install import PYTHON

HERE = Path(__file__).parent
WORKERS = 2
WRITERS = ["floor", "torch_files", "web_dataset", "mosaicml", "hugging_face", "lightning"]
Command = Callable[[Path], list[object]]  # the stored pictures


class Check(Enum):
    NOTHING = "nothing: it says no sums"
    COUNTED = "every picture once, its tokens; another decoder gives other pixels"
    EXACT = "every picture once, as libjpeg-turbo gives its pixels, with its tokens"


@dataclass(frozen=True)
class Program:
    name: str
    does: str  # what the table says of it
    command: Command
    encoding: str
    check: Check = Check.NOTHING
    cold: bool = False  # whether the shards are dropped from the page cache before
    beside: str = ""  # what it is compared with, in the table of pairmill against itself


def tables(binaries: dict[str, Path]) -> dict[str, list[Program]]:
    ours = next(iter(binaries.values()))
    library = ours / "libturbojpeg.so"
    return {
        "JPEG": [*(pairmill(name, at, "jpeg") for name, at in binaries.items()), *jpeg(library)],
        "raw": [pairmill("pairmill-raw", ours, "raw"), *raw()],
        "pairmill against itself": itself(ours),
    }


def jpeg(library: Path) -> list[Program]:
    """As each one's pages show it; `tuned` is the same reader with our decoding of batches."""
    batches = "libjpeg-turbo, whole batches"
    return [
        peer("webdataset", "web_dataset", "documented", "Pillow, WebLoader"),
        peer("webdataset-tuned", "web_dataset", "tuned", batches),
        peer("mosaicml", "mosaicml", "documented", "Pillow, StreamingDataset"),
        peer("mosaicml-tuned", "mosaicml", "tuned", batches),
        peer("torch-files", "torch_files", "documented", "Pillow, DataLoader over files"),
        peer("torch-files-tuned", "torch_files", "tuned", batches),
        peer("hf-datasets", "hugging_face", "documented", "Pillow, streamed Parquet"),
        peer("litdata", "lightning", "documented", "torchvision, StreamingDataLoader"),
        peer("ffcv", "ffcv_beton", "documented", "jpg mode", check=Check.COUNTED),
        floor("floor-picture", "picture", "libjpeg-turbo alone, whole pictures, from memory"),
        floor("floor-crop", "crop", "libjpeg-turbo alone, the crop's region, from memory", library),
    ]


def raw() -> list[Program]:
    return [
        peer("mosaicml-raw", "mosaicml", "raw", "ndarray of the stored size", "raw"),
        peer("litdata-raw", "lightning", "raw", "ndarray of the stored size", "raw"),
        peer("ffcv-raw", "ffcv_beton", "raw", "raw mode", "raw"),
        floor("gather", "gather", "numpy, a mapped array, two threads", encoding="raw"),
        floor(
            "memcpy", "memcpy", "numpy, as many bytes in file order, two threads", encoding="raw"
        ),
    ]


def peer(
    name: str,
    script: str,
    way: str,
    does: str,
    encoding: str = "jpeg",
    check: Check = Check.EXACT,
    more: tuple[object, ...] = (),
) -> Program:
    file = HERE / f"{script}.py"
    command = [PYTHON, file, way]
    return Program(name, does, lambda stored: [*command, stored, WORKERS, *more], encoding, check)


def floor(name: str, way: str, does: str, *more: object, encoding: str = "jpeg") -> Program:
    return peer(name, "floor", way, does, encoding, Check.NOTHING, more)


def pairmill(name: str, programs: Path, encoding: str) -> Program:
    return Program(name, "shards bench", bench(programs, encoding), encoding)


def itself(programs: Path) -> list[Program]:
    """Workers, and the first epoch from a cold page cache beside `dd` of the same files."""
    rows = []
    for encoding in ("jpeg", "raw"):
        one, cold, dd = f"{encoding}-workers-1", f"{encoding}-cold", f"{encoding}-dd"
        two = bench(programs, encoding)
        rows += [
            Program(one, f"{encoding}, 1 worker", bench(programs, encoding, workers=1), encoding),
            Program(f"{encoding}-workers-2", f"{encoding}, 2 workers", two, encoding, beside=one),
            Program(
                dd, f"{encoding}, dd of the shards, cold", reading(encoding), encoding, cold=True
            ),
            Program(
                cold,
                f"{encoding}, 2 workers, cold",
                bench(programs, encoding, epochs=1),
                encoding,
                cold=True,
                beside=dd,
            ),
        ]
    return rows


def bench(programs: Path, encoding: str, workers: int = WORKERS, epochs: int = 3) -> Command:
    options = ["--split", "train", "--batch", 256, "--workers", workers, "--epochs", epochs]
    options += ["--crop", 224, "--json"]
    return lambda stored: [programs / "shards", "bench", stored / encoding, *options]


def reading(encoding: str) -> Command:
    script = 'for file do dd if="$file" of=/dev/null bs=1M; done'
    return lambda stored: ["sh", "-c", script, "sh", *shards(stored, encoding)]


def shards(stored: Path, encoding: str) -> list[Path]:
    return sorted((stored / encoding / "train").glob("*.parquet"))
