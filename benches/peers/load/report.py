"""The loader's samples as tables."""

from statistics import median

from load.programs import Program
from load.timing import Sample

Samples = dict[str, list[Sample]]


def lines(tables: dict[str, list[Program]], samples: Samples, count: int) -> list[str]:
    text = []
    for title, programs in tables.items():
        itself = title == "pairmill against itself"
        if programs:
            table = against_itself if itself else compared
            text += [f"{title}:", "", *table(programs, samples, count), ""]
    return text[:-1]


def compared(programs: list[Program], samples: Samples, count: int) -> list[str]:
    text = ["| | images/s | lowest–highest | pairmill is |", "|---|---:|---:|---:|"]
    ours = next((rate(samples[p.name]) for p in programs if p.name.startswith("pairmill")), None)
    for program in programs:
        label, found = f"{program.name} ({program.does})", rate(samples[program.name])
        if found is None:
            text.append(f"| {label} | failed: {error(samples[program.name])} | | |")
            continue
        rates = [sample.rate for sample in samples[program.name]]
        ratio = f"{ours / found:.2f}×" if ours else ""
        text.append(f"| {label} | {found:,.0f} | {min(rates):,.0f}–{max(rates):,.0f} | {ratio} |")
    return text


def against_itself(programs: list[Program], samples: Samples, count: int) -> list[str]:
    text = ["| | images/s | MB/s of shards | peak MB | beside the row above |"]
    text += ["|---|---:|---:|---:|---:|"]
    for program in programs:
        found = rate(samples[program.name])
        if found is None:
            text.append(f"| {program.does} | failed: {error(samples[program.name])} | | | |")
            continue
        first, base = samples[program.name][0], rate(samples.get(program.beside, []))
        read = f"{found * first.bytes / count / 1e6:,.0f}"
        memory = f"{median(s.memory for s in samples[program.name]):,.0f}" if first.memory else ""
        ratio = f"{found / base:.2f}×" if base else ""
        text.append(f"| {program.does} | {found:,.0f} | {read} | {memory} | {ratio} |")
    return text


def rate(samples: list[Sample]) -> float | None:
    """The median over rounds, when none failed."""
    if not samples or any(sample.error for sample in samples):
        return None
    return median(sample.rate for sample in samples)


def error(samples: list[Sample]) -> str:
    said = next((s.error for s in samples if s.error), "no run")
    return said[:200].replace("|", "/")
