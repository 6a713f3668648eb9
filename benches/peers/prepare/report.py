"""The samples of `prepare` as tables."""

from dataclasses import dataclass
from statistics import median

from prepare.programs import Program
from prepare.timing import Sample

Samples = dict[str, list[Sample]]


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


def lines(tables: dict[str, list[Program]], samples: Samples, count: int) -> list[str]:
    compared, itself = tables["compared"], tables["pairmill against itself"]
    text = ["| | images/s | pairmill is | CPU ms an image | of pairmill's | MB written |"]
    text += ["|---|---:|---:|---:|---:|---:|"]
    first = next((p.name for p in compared if p.name.startswith("pairmill")), "")
    ours = medians(samples.get(first, []))
    text += [row(program, samples[program.name], ours) for program in compared]
    if itself:
        text += ["", "pairmill against itself:", "", "| | images/s | rate | CPU ms | seconds |"]
        text += ["|---|---:|---:|---:|---:|"]
        base = medians(samples.get("jobs-2", []))
        text += [itself_row(program, samples[program.name], base) for program in itself]
    return text


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
    said = next((s.error for s in samples if s.error), "no run")
    return said[:200].replace("|", "/")
