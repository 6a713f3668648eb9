"""From samples to markdown, with the machine they were taken on."""

import os
import platform
import re
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

from programs import Program
from timing import Sample

Samples = dict[str, list[Sample]]


@dataclass(frozen=True)
class Facts:
    day: str
    cpu: str
    cores: int
    load: float
    set: str
    images: int
    rounds: int

    @staticmethod
    def now(kind: str, images: int, rounds: int) -> "Facts":
        cores, load = os.cpu_count() or 1, os.getloadavg()[0]
        return Facts(date.today().isoformat(), cpu_model(), cores, load, kind, images, rounds)

    def __str__(self) -> str:
        return (
            f"{self.day}; {self.cpu}, {self.cores} cores; load average before: {self.load:.2f}; "
            f"{self.images} images ({self.set}); medians of {self.rounds} interleaved rounds"
        )


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    found = info.exists() and re.search(r"model name\s*: (.*)", info.read_text())
    return found[1] if found else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Medians:
    rate: float  # images/s
    cpu: float  # ms an image
    seconds: float
    written: float  # MB


def medians(samples: list[Sample]) -> Medians | None:
    good = [s for s in samples if not s.error]
    if len(good) < len(samples) or not good:
        return None
    return Medians(
        median(s.images / s.seconds for s in good),
        median(1000 * s.cpu / s.images for s in good),
        median(s.seconds for s in good),
        median(s.written for s in good) / 1e6,
    )


def markdown(
    facts: Facts,
    compared: list[Program],
    itself: list[Program],
    samples: Samples,
    missing: list[str],
) -> str:
    lines = [f"{facts}.", ""]
    lines += ["| | images/s | pairmill is | CPU ms an image | of pairmill's | MB written |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    first = next((p.name for p in compared if p.name.startswith("pairmill")), "")
    ours = medians(samples.get(first, []))
    lines += [row(program, samples[program.name], ours) for program in compared]
    if itself:
        lines += ["", "pairmill against itself:", "", "| | images/s | rate | CPU ms | seconds |"]
        lines += ["|---|---:|---:|---:|---:|"]
        base = medians(samples.get("jobs-2", []))
        lines += [itself_row(program, samples[program.name], base) for program in itself]
    if missing:
        lines += ["", f"Could not be installed here: {', '.join(missing)}."]
    return "\n".join(lines)


def row(program: Program, samples: list[Sample], ours: Medians | None) -> str:
    label, found = f"{program.name} ({program.does})", medians(samples)
    if found is None:
        return f"| {label} | failed: {error(samples)} | | | | |"
    faster = f"{ours.rate / found.rate:.2f}×" if ours else ""
    costlier = f"{found.cpu / ours.cpu:.2f}×" if ours else ""
    numbers = f"{found.rate:,.0f} | {faster} | {found.cpu:.2f} | {costlier} | {found.written:.1f}"
    return f"| {label} | {numbers} |"


def itself_row(program: Program, samples: list[Sample], base: Medians | None) -> str:
    found = medians(samples)
    if found is None:
        return f"| {program.does} | failed: {error(samples)} | | | |"
    if program.images == 1:
        return f"| {program.does} | | | {found.cpu:.0f} | {found.seconds:.3f} |"
    ratio = f"{found.rate / base.rate:.2f}×" if base else ""
    numbers = f"{found.rate:,.0f} | {ratio} | {found.cpu:.2f} | {found.seconds:.2f}"
    return f"| {program.does} | {numbers} |"


def error(samples: list[Sample]) -> str:
    return next((s.error for s in samples if s.error), "no run").replace("|", "/")


def plain(facts: Facts, samples: Samples, missing: list[str]) -> dict:
    runs = {name: [asdict(sample) for sample in taken] for name, taken in samples.items()}
    return {"facts": asdict(facts), "samples": runs, "missing": missing}


def write(readme: Path, kind: str, text: str) -> None:
    """Puts the tables between the markers of their set."""
    begin, end = f"<!-- {kind}: begin -->", f"<!-- {kind}: end -->"
    before, rest = readme.read_text().split(begin)
    after = rest.split(end)[1]
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")
