"""`train` beside the PyTorch trainer of tests/parity: the time of a step, and of a whole stage.

make bench-train                           # a step of ResNet-50 + BERT-base, in four ways
make bench-train ARGS="--what stages"      # stage 1 of `article` and `progressive`
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from work import Way, Work, built, config, stored, write

from facts import Facts
from timing import Taken, eager, train

NAMES = ("pairmill", "PyTorch")
WAYS = [Way(precision, last) for precision in ("fp32", "bf16") for last in (False, True)]
FROZEN = {"article": ["text", "projection"], "progressive": ["projection"]}


def main() -> None:
    args = arguments()
    programs = (args.programs or built()).resolve()
    facts = Facts.now("noise", args.images, args.rounds)
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        shards = stored(programs, Path(work), args.images)
        measure = {"steps": steps, "stages": stages}[args.what]
        lines = measure(args, programs / "train", shards)
        text = "\n".join([f"{facts}.", "", *lines])
    print(text)
    if args.write:
        write(Path(__file__).with_name("README.md"), args.what, text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", choices=["steps", "stages"], default="steps")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--steps", type=int, default=7, help="of a run, the first two not counted")
    parser.add_argument("--epochs", type=int, default=5, help="of a stage")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--programs", type=Path, metavar="DIR", help="these programs: build none")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="where shards and runs lie for the time"
    )
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    return parser.parse_args()


def steps(args: argparse.Namespace, program: Path, shards: Path) -> list[str]:
    stage = {"name": "all", "steps": args.steps, "train": ["image", "text", "projection"]}
    work = Work(shards, config(args.batch, stage))
    taken = {way: ([], []) for way in WAYS}
    for number in range(args.rounds):
        for way in WAYS:
            both = train(program, work, way), eager(work, way, "--fixed")
            for runs, run, name in zip(taken[way], both, NAMES, strict=True):
                runs.append(run)
                print(f"round {number + 1}: {way}: {name}: {run}", file=sys.stderr)
    return table("seconds a step", [(str(way), *pair) for way, pair in taken.items()], seconds)


def stages(args: argparse.Namespace, program: Path, shards: Path) -> list[str]:
    """Whole processes, with start and the last write, since a cache is filled on first use."""
    rows = []
    for name, train_only in FROZEN.items():
        stage = {"name": name, "epochs": args.epochs, "train": train_only}
        work, way = Work(shards, config(args.batch, stage)), Way("fp32")
        both = train(program, work, way), eager(work, way)
        for run, program_name in zip(both, NAMES, strict=True):
            print(f"{name}: {program_name}: {run}", file=sys.stderr)
        rows.append((f"{name}, stage 1", *([run] for run in both)))
    return table(f"seconds of {args.epochs} epochs", rows, lambda runs: [run.whole for run in runs])


def seconds(runs: list[Taken]) -> list[float]:
    return [second for run in runs for second in run.seconds]


def table(what: str, rows: list[tuple[str, list[Taken], list[Taken]]], of: Callable) -> list[str]:
    text = [f"| {what} | pairmill | PyTorch | ratio |", "|---|---:|---:|---:|"]
    for name, *both in rows:
        failed = next((run.error for runs in both for run in runs if run.error), None)
        if failed:
            text.append(f"| {name} | failed: {failed} | | |")
            continue
        ours, theirs = (median(of(runs)) for runs in both)
        text.append(f"| {name} | {ours:.3g} | {theirs:.3g} | {ours / theirs:.2f}× |")
    return text


if __name__ == "__main__":
    main()
