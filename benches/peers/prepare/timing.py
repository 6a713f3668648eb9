"""One run of one program: wall time, CPU time of it and its children, bytes written."""

import json
import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from install import PYTHON
from prepare.programs import HERE, Program
from processes import last_line

OUT = HERE.parent / ".out"


@dataclass(frozen=True)
class Sample:
    """A run that failed has the end of what it said in `error`, and zeros."""

    images: int = 0
    seconds: float = 0
    cpu: float = 0
    written: int = 0  # bytes
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return self.error
        return f"{self.images / self.seconds:.0f} images/s, {1000 * self.cpu / self.images:.2f} CPU ms"


def ready(corpus: Path, binaries: dict[str, Path]) -> Path:
    """What every program is given, once the page cache is warm for all of them."""
    for file in corpus.rglob("*.jpg"):
        file.read_bytes()
    return corpus


def timed(program: Program, corpus: Path, count: int, check: bool) -> Sample:
    out = OUT / program.name
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    command = [str(part) for part in program.command(corpus, out)]
    os.sync()  # nobody pays for writing back what an earlier program wrote
    before, start = cpu_of_children(), time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, cwd=out.parent)
    seconds, cpu = time.perf_counter() - start, cpu_of_children() - before
    images = program.images or count
    error = ran.returncode and last_line(ran.stderr)
    if not error and check and program.files:
        error = checked(out, images * program.views)
    if error:
        return Sample(error=error)
    if not program.files and ran.stdout.startswith('{"seconds"'):
        own = json.loads(ran.stdout)
        seconds, cpu = own["seconds"], own["cpu"]
    written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    shutil.rmtree(out.parent)
    return Sample(images, seconds, cpu, written)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def checked(out: Path, count: int) -> str:
    """Why the output is not what was asked for; empty when it is."""
    command = [str(part) for part in (PYTHON, HERE / "check.py", out, count)]
    ran = subprocess.run(command, capture_output=True, text=True)
    return last_line(ran.stderr) if ran.returncode else ""
