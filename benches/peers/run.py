"""Runs the peers of `prepare` and pairmill interleaved, as whole processes, and prints tables.

Everything it makes is in ignored folders beside it, and is used again by the next run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import install
import report
from programs import Program, pairmill, peers, variants
from timing import Sample, timed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
JOBS = 2
COUNTS = {"photos": 4000, "12mp": 300}


def main() -> None:
    args = arguments()
    missing = install.install()
    count = args.images or COUNTS[args.set]
    corpus = made(args.set, count)
    binaries = built() if args.prepare is None else {"pairmill": args.prepare.resolve()}
    facts = report.Facts.now(args.set, count, args.rounds)
    compared = [*pairmill(binaries), *peers()]
    against_itself = variants(next(iter(binaries.values())))
    if args.only:
        compared, against_itself = chosen(args.only.split(","), compared, against_itself)
    samples = measured([*compared, *against_itself], corpus, count, args.rounds)
    text = report.markdown(facts, compared, against_itself, samples, missing)
    print(text)
    if args.json:
        args.json.write_text(json.dumps(report.plain(facts, samples, missing), indent=2) + "\n")
    if args.write:
        report.write(HERE / "README.md", args.set, text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, help="default: 4000 photos, 300 of 12 MP")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--only", help="names of programs, with commas between")
    parser.add_argument("--set", choices=COUNTS, default="photos")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, not only medians")
    parser.add_argument("--prepare", type=Path, metavar="FILE", help="this program: build none")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    return parser.parse_args()


def chosen(names: list[str], *tables: list[Program]) -> list[list[Program]]:
    known = [program.name for table in tables for program in table]
    for name in names:
        if name not in known:
            sys.exit(f"error: --only: no program {name!r}; there are: {', '.join(known)}")
    return [[program for program in table if program.name in names] for table in tables]


def made(kind: str, count: int) -> Path:
    """The corpus of so many images: rendered scenes first, then pictures over them."""
    out, scenes = HERE / f".corpus/{kind}-{count}", HERE / f".corpus/scenes-{count}"
    if not out.exists():
        out.parent.mkdir(exist_ok=True)
        cargo("run", "--release", "--quiet", "--example", "scenes", "--", "--out", scenes, "-n", count)
        command = [install.PYTHON, HERE / "corpus.py", kind, str(count), scenes, out]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return out


def built() -> dict[str, Path]:
    """`prepare` with libjpeg-turbo where its build finds what it needs, and without."""
    ways = {"pairmill-plain": []}
    if shutil.which("cmake") and shutil.which("nasm"):
        ways = {"pairmill": ["--features", "jpeg-turbo"], **ways}
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binaries = {}
    for name, features in ways.items():
        cargo("build", "--release", "--quiet", "--bin", "prepare", *features)
        binaries[name] = HERE / ".corpus" / ("prepare-turbo" if features else "prepare-plain")
        shutil.copy2(ROOT / target / "release/prepare", binaries[name])
    return binaries


def cargo(*arguments: object) -> None:
    command = [os.environ.get("CARGO", "cargo"), *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)


def measured(programs, corpus: Path, count: int, rounds: int) -> dict[str, list[Sample]]:
    """Round after round, every program once a round; outputs are checked in the first."""
    for file in corpus.rglob("*.jpg"):
        file.read_bytes()  # the page cache is warm for everyone
    samples: dict[str, list[Sample]] = {program.name: [] for program in programs}
    for number in range(rounds):
        for program in programs:
            sample = timed(program, corpus, count, JOBS, check=number == 0)
            samples[program.name].append(sample)
            print(f"round {number + 1}: {program.name}: {sample}", file=sys.stderr)
    return samples


if __name__ == "__main__":
    main()
