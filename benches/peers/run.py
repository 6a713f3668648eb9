"""Runs peers and pairmill interleaved, as whole processes, and prints tables.

Everything it makes is in ignored folders beside it, and is used again by the next run.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import install
import load.programs
import load.report
import load.timing
import prepare.programs
import prepare.report
import prepare.timing
from facts import Facts
from processes import run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MADE = HERE / ".corpus"
COUNTS = {"photos": 4000, "12mp": 300}


@dataclass(frozen=True)
class Work:
    """One kind of work: its programs by table, what they are given, one run, the report."""

    tables: Callable
    ready: Callable
    timed: Callable
    lines: Callable


WORK = {
    name: Work(of.programs.tables, of.timing.ready, of.timing.timed, of.report.lines)
    for name, of in {"prepare": prepare, "load": load}.items()
}


def main() -> None:
    args = arguments()
    count = args.images or COUNTS[args.set]
    facts, work = Facts.now(args.set, count, args.rounds), WORK[args.what]
    missing = install.install()
    corpus = made(args.set, count)
    binaries = built() if args.programs is None else {"pairmill": args.programs.resolve()}
    tables = chosen(args.only, work.tables(binaries))
    given = work.ready(corpus, binaries)
    samples = measured(work, tables, given, count, args.rounds)
    text = [f"{facts}.", "", *work.lines(tables, samples, count)]
    if missing:
        text += ["", f"Could not be installed here: {', '.join(missing)}."]
    print("\n".join(text))
    if args.json:
        runs = {name: [asdict(sample) for sample in taken] for name, taken in samples.items()}
        kept = {"facts": asdict(facts), "samples": runs, "missing": missing}
        args.json.write_text(json.dumps(kept, indent=2) + "\n")
    if args.write:
        write(HERE / "README.md", args.set if args.what == "prepare" else args.what, text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=WORK, default="prepare", help="default: prepare")
    parser.add_argument("--images", type=int, help="default: 4000 photos, 300 of 12 MP")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--only", help="names of programs, with commas between")
    parser.add_argument("--set", choices=COUNTS, default="photos")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, not only medians")
    parser.add_argument("--programs", type=Path, metavar="DIR", help="these programs: build none")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    return parser.parse_args()


def chosen(only: str | None, tables: dict[str, list]) -> dict[str, list]:
    known = [program.name for programs in tables.values() for program in programs]
    names = only.split(",") if only else known
    for name in names:
        if name not in known:
            sys.exit(f"error: --only: no program {name!r}; there are: {', '.join(known)}")
    return {title: [p for p in programs if p.name in names] for title, programs in tables.items()}


def made(kind: str, count: int) -> Path:
    """The corpus of so many images: rendered scenes first, then pictures over them."""
    out, scenes = MADE / f"{kind}-{count}", MADE / f"scenes-{count}"
    if not out.exists():
        out.parent.mkdir(exist_ok=True)
        cargo("run", "--release", "--quiet", "--example", "scenes", "--", "--out", scenes, "-n", count)
        run(install.PYTHON, HERE / "corpus.py", kind, count, scenes, out)
    return out


def built() -> dict[str, Path]:
    """Folders of `prepare` and `shards`: with libjpeg-turbo where it can be built, and without."""
    ways = {"pairmill-plain": []}
    if shutil.which("cmake") and shutil.which("nasm"):
        ways = {"pairmill": ["--features", "jpeg-turbo"], **ways}
    release = Path(ROOT / os.environ.get("CARGO_TARGET_DIR", "target"), "release")
    for name, features in ways.items():
        cargo("build", "--release", "--quiet", "--bin", "prepare", "--bin", "shards", *features)
        (MADE / name).mkdir(exist_ok=True)
        for program in ("prepare", "shards"):
            shutil.copy2(release / program, MADE / name)
        if features:
            shared(release, MADE / name)
    return {name: MADE / name for name in ways}


def shared(release: Path, folder: Path) -> None:
    """The libjpeg-turbo that was built in, as a library of its own for the floor to load."""
    archives = release.glob("build/turbojpeg-sys-*/out/lib*/libturbojpeg.a")
    newest = max(archives, key=lambda file: file.stat().st_mtime)
    whole = ["-Wl,--whole-archive", newest, "-Wl,--no-whole-archive"]
    run("cc", "-shared", "-o", folder / "libturbojpeg.so", *whole)


def cargo(*arguments: object) -> None:
    run(os.environ.get("CARGO", "cargo"), *arguments, cwd=ROOT)


def measured(work: Work, tables: dict[str, list], given: Path, count: int, rounds: int):
    """Round after round, every program once a round; outputs are checked in the first."""
    programs = [program for table in tables.values() for program in table]
    samples: dict[str, list] = {program.name: [] for program in programs}
    for number in range(rounds):
        for program in programs:
            sample = work.timed(program, given, count, check=number == 0)
            samples[program.name].append(sample)
            print(f"round {number + 1}: {program.name}: {sample}", file=sys.stderr)
    return samples


def write(readme: Path, name: str, text: list[str]) -> None:
    """Puts the tables between the markers of their name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = readme.read_text().split(begin)
    after = rest.split(end)[1]
    tables = "\n".join(text)
    readme.write_text(f"{before}{begin}\n{tables}\n{end}{after}")


if __name__ == "__main__":
    main()
