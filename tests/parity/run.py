"""`make parity`: `train` against a PyTorch trainer, step by step; then faults that have to be seen.

Both get the same first weights, the same raw shards and the order that `shards order` prints.
Prints one table; ends with 1 if anything is farther apart than it may be.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> int:
    args = arguments()
    programs = args.programs or built()
    if args.keep:
        args.keep.mkdir(parents=True)
        return report.run(programs.resolve(), args.keep, args.only)
    with tempfile.TemporaryDirectory() as work:
        return report.run(programs.resolve(), Path(work), args.only)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=Path, metavar="DIR", help="these programs: build none")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases whose names have these")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave shards and runs here")
    return parser.parse_args()


def built() -> Path:
    cargo = os.environ.get("CARGO", "cargo")
    subprocess.run(
        [cargo, "build", "--quiet", "--features", "train", "--bins"], cwd=ROOT, check=True
    )
    return Path(ROOT / os.environ.get("CARGO_TARGET_DIR", "target"), "debug")


if __name__ == "__main__":
    start = time.monotonic()
    code = main()
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    sys.exit(code)
