"""What is measured: every program's name, command and outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from install import PYTHON

HERE = Path(__file__).parent
Command = Callable[[Path, Path, int], list[object]]  # corpus, out, jobs


@dataclass(frozen=True)
class Program:
    name: str
    does: str  # what the table says of it
    command: Command
    files: bool = True  # whether it writes images to check
    views: int = 1
    images: int | None = None  # how many it works on, when not the whole corpus


def peers() -> list[Program]:
    """Peers of `prepare`, each a script under prepare/ that says how it does the work."""
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
    file = HERE / "prepare" / f"{script}.py"
    return Program(name, does, lambda corpus, out, jobs: [PYTHON, file, corpus, out, jobs], files)


def pairmill(binaries: dict[str, Path]) -> list[Program]:
    return [Program(name, "Parquet", prepare(binary)) for name, binary in binaries.items()]


def variants(binary: Path) -> list[Program]:
    """The same program against itself: `jobs-2` is the one that the others are compared with."""
    return [
        Program("jobs-2", "as above: --jobs 2, one view, jpeg", prepare(binary)),
        Program("jobs-1", "--jobs 1", prepare(binary, jobs=1)),
        Program("views-4", "--views 4", prepare(binary, "--views", 4), views=4),
        Program("raw", "--encoding raw", prepare(binary, "--encoding", "raw")),
        Program("help", "--help", lambda *_: [binary, "--help"], files=False, images=1),
        Program("one-image", "a dataset of one image", prepare(binary, one=True), images=1),
    ]


def prepare(binary: Path, *options: object, jobs: int | None = None, one: bool = False) -> Command:
    def command(corpus: Path, out: Path, given: int) -> list[object]:
        captions = corpus / ("one.json" if one else "captions.json")
        inputs = ["--images", corpus / "images", "--captions", captions, "--out", out]
        return [binary, "coco", *inputs, "--jobs", jobs or given, "--quiet", *options]

    return command
