"""The stored pictures, made once, and one run of one program over them."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from install import PYTHON
from load.programs import HERE, WORKERS, WRITERS, Check, Program, shards
from processes import last_line, run

LIMIT = 900  # seconds, of one run


@dataclass(frozen=True)
class Sample:
    """A run that failed has the end of what it said in `error`, and zeros."""

    rate: float = 0  # images/s: the mean of the epochs after the first, or of the only one
    epochs: list[float] = field(default_factory=list)
    memory: float = 0  # MB, at most, where the program says it
    bytes: int = 0  # of the shards
    error: str = ""

    def __str__(self) -> str:
        return self.error or f"{self.rate:.0f} images/s"


def ready(corpus: Path, binaries: dict[str, Path]) -> Path:
    """Shards of both encodings by `prepare`, then the same pictures in every peer's format."""
    stored = corpus.with_name(f"stored-{corpus.name}")
    prepare = next(iter(binaries.values())) / "prepare"
    for encoding in ("jpeg", "raw"):
        inputs = ["--images", corpus / "images", "--captions", corpus / "captions.json"]
        run(prepare, "coco", *inputs, "--out", stored / encoding, "--encoding", encoding, "--quiet")
    for script in [*WRITERS, "ffcv_beton"]:
        if not (stored / script).exists():
            print(f"writing for {script}", file=sys.stderr)
            run(PYTHON, HERE / f"{script}.py", "write", stored, WORKERS, check=script in WRITERS)
    for file in stored.rglob("*"):
        if file.is_file():
            file.read_bytes()  # the page cache is warm for everyone
    return stored


def timed(program: Program, stored: Path, count: int, check: bool) -> Sample:
    files = shards(stored, program.encoding)
    os.sync()
    if program.cold:
        drop_from_cache(files)
    command = [str(part) for part in program.command(stored)]
    start = time.perf_counter()
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Sample(error=str(error))
    seconds = time.perf_counter() - start
    if ran.returncode:
        return Sample(error=last_line(ran.stderr))
    own = json.loads(last_line(ran.stdout)) if ran.stdout else {"epochs": [count / seconds]}
    wrong = check and program.check != Check.NOTHING and difference(program, own, stored)
    if wrong:
        return Sample(error=wrong)
    epochs = own["epochs"]
    size = sum(file.stat().st_size for file in files)
    return Sample(mean(epochs[1:] or epochs), epochs, own.get("peak_rss_mb", 0), size)


def drop_from_cache(files: list[Path]) -> None:
    for file in files:
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def difference(program: Program, own: dict, stored: Path) -> str:
    """How the first epoch's batches are not what was asked for; empty when they are."""
    expected = json.loads((stored / "floor/expected.json").read_text())[program.encoding]
    if program.check == Check.COUNTED:
        expected.pop("pairs")
    wrong = [
        f"{name} {own[name]}, not {value}" for name, value in expected.items() if own[name] != value
    ]
    return "; ".join(wrong)
