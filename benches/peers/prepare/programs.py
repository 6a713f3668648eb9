"""What is measured: every program's name, command and outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from install import PYTHON

HERE = Path(__file__).parent
JOBS = 2
Command = Callable[[Path, Path], list[object]]  # corpus, out


@dataclass(frozen=True)
class Program:
    name: str
    does: str  # what the table says of it
    command: Command
    files: bool = True  # whether it writes images to check
    views: int = 1
    images: int | None = None  # how many it works on, when not the whole corpus


def tables(binaries: dict[str, Path]) -> dict[str, list[Program]]:
    ours = next(iter(binaries.values()))
    compared = [*pairmill(binaries), *peers()]
    return {"compared": compared, "pairmill against itself": variants(ours)}


def peers() -> list[Program]:
    """Peers of `prepare`, each a script beside this one that says how it does the work."""
    return [
        peer("img2dataset", "img_2_dataset", "OpenCV, tars; no tokens"),
        peer("hf-datasets", "hugging_face", "map + to_parquet, Pillow"),
        peer("webdataset", "web_dataset", "ShardWriter, Pillow"),
        peer("litdata", "lightning", "optimize, Pillow"),
        peer("mosaicml", "mosaicml", "MDSWriter, Pillow"),
        peer("libvips", "vips", "thumbnail, pyarrow Parquet"),
        peer("hand-tuned", "hand_tuned", "libjpeg-turbo + OpenCV area + pyarrow"),
        peer("floor", "floor", "libjpeg-turbo decode + encode alone, from memory", files=False),
    ]


def peer(name: str, script: str, does: str, files: bool = True) -> Program:
    file = HERE / f"{script}.py"
    return Program(name, does, lambda corpus, out: [PYTHON, file, corpus, out, JOBS], files)


def pairmill(binaries: dict[str, Path]) -> list[Program]:
    return [Program(name, "Parquet", prepare(programs)) for name, programs in binaries.items()]


def variants(programs: Path) -> list[Program]:
    """The same program against itself: `jobs-2` is the one that the others are compared with."""
    return [
        Program("jobs-2", "as above: --jobs 2, one view, jpeg", prepare(programs)),
        Program("jobs-1", "--jobs 1", prepare(programs, jobs=1)),
        Program("views-4", "--views 4", prepare(programs, "--views", 4), views=4),
        Program("raw", "--encoding raw", prepare(programs, "--encoding", "raw")),
        Program(
            "help", "--help", lambda *_: [programs / "prepare", "--help"], files=False, images=1
        ),
        Program("one-image", "a dataset of one image", prepare(programs, one=True), images=1),
    ]


def prepare(programs: Path, *options: object, jobs: int = JOBS, one: bool = False) -> Command:
    def command(corpus: Path, out: Path) -> list[object]:
        captions = corpus / ("one.json" if one else "captions.json")
        inputs = ["--images", corpus / "images", "--captions", captions, "--out", out]
        return [programs / "prepare", "coco", *inputs, "--jobs", jobs, "--quiet", *options]

    return command
