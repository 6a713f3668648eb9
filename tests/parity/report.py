"""Runs the cases and the faults, and prints what differed."""

from contextlib import nullcontext
from pathlib import Path

import faults
from cases import cases, faulty
from compare import Difference, difference
from pairmill import Absent, Failed, Programs
from runs import Bench, by_torch, by_train, compared, start

HEAD = (
    "| | steps | loss | norm | rates | scale | change | |\n|---|---:|---:|---:|---:|---:|---:|---|"
)


def run(programs: Path, work: Path, only: str) -> int:
    bench, missed, absent = Bench.made(Programs(programs), work), 0, 0
    print("Greatest relative differences between `train` and PyTorch:\n\n" + HEAD)
    for case in (case for case in cases() if only in case.name):
        try:
            found = compared(bench, case)
            misses = found.misses(case.limits)
            row(case.name, found, f"MISSED: {'; '.join(misses)}" if misses else "equal")
            missed += bool(misses)
        except Absent as error:
            row(case.name, None, f"absent: {error}")
            absent += 1
        except (Failed, AssertionError) as error:
            row(case.name, None, f"FAILED: {error}")
            missed += 1
    missed += planted(bench)
    print(f"\n{missed} missed, {absent} absent (not compared, so not passed).")
    return 1 if missed else 0


def planted(bench: Bench) -> int:
    """How many faults went unseen; the first row has none, and has to be equal."""
    case, unseen = faulty(), 0
    first = start(bench, case)
    print("\nWith a fault in the PyTorch side, which has to be seen:\n\n" + HEAD)
    try:
        ours = by_train(bench, case)
    except Failed as error:
        row(case.name, None, f"FAILED: {error}")
        return 1
    for name, fault in {"no fault": nullcontext(), **faults.planted()}.items():
        with fault:
            found = difference(first, ours, *by_torch(bench, case, first))
        misses, wanted = found.misses(case.limits), name != "no fault"
        wrong = bool(misses) != wanted
        seen = f"seen: {'; '.join(misses)}" if misses else "equal"
        row(name, found, f"WRONG, {seen}" if wrong else seen)
        unseen += wrong
    return unseen


def row(name: str, found: Difference | None, verdict: str) -> None:
    figures = ["", "", "", "", "", ""]
    if found:
        numbers = (found.loss, found.grad_norm, found.rates, found.scale, found.change)
        figures = [str(found.steps), *(f"{number:.1e}" if number else "0" for number in numbers)]
    print(f"| {name} | {' | '.join(figures)} | {' '.join(verdict.split())} |", flush=True)
