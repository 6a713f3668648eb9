"""What benches/gpu/run does: all that waits for a GPU. Writes benches/gpu.md.

benches/gpu/run                         # on cuda:0; builds with cargo
benches/gpu/run --device cpu --small    # the same parts on a CPU, in small; writes nothing

1. CUDA equals CPU: the losses of 20 steps of a small model, in single precision and in bf16.
2. The full step beside PyTorch (eager, torch.compile): pairs/s, memory, waiting for data.
3. End to end from JPEG and raw shards, beside PyTorch on one batch that stays on the device.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "train"))

from work import ROOT, Way, Work, built, config, stored, write  # noqa: E402

from facts import cpu_model  # noqa: E402
from timing import Taken, eager, train  # noqa: E402

CSV = ["--format=csv,noheader"]
WAYS = [Way("fp32"), Way("tf32"), Way("bf16"), Way("bf16", channels_last=True)]
SMALL = {
    "image": {"layers": [1, 1, 1, 1], "width": 16},
    "text": {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4},
    "embed_dim": 64,
}
LIMITS = {"fp32": 1e-3, "bf16": 1e-2}
EQUAL_STEPS = 20
EQUAL = """The device against the CPU, 20 steps of a small model:

| | greatest relative difference of a loss | allowed | |
|---|---:|---:|---|"""
FULL = """The full step; `train` from raw shards, PyTorch on one batch that lies on the device:

| batch | | pairmill, pairs/s | eager | compiled | to eager | waited | MB | eager MB |
|---:|---|---:|---:|---:|---:|---:|---:|---:|"""
ENDS = """End to end, batch {}, {}:

| | pairs/s | waited for data |
|---|---:|---:|"""


@dataclass(frozen=True)
class Bench:
    """Where it runs, with what."""

    programs: Path
    device: str
    small: bool
    steps: int
    work: Path

    def ways(self) -> list[Way]:
        """tf32 is a GPU's."""
        return [way for way in WAYS if self.device != "cpu" or way.precision != "tf32"]

    def given(self, shards: Path, batch: int, steps: int, small: bool, device: str = "") -> Work:
        stage = {"name": "all", "steps": steps, "train": ["image", "text", "projection"]}
        made = config(batch, stage)
        if small:
            made |= {"model": SMALL}
        made["data"] |= {"workers": max(2, (os.cpu_count() or 2) // 2)}
        return Work(shards, made, device or self.device)


def main() -> int:
    args = arguments()
    programs = (args.programs or built()).resolve()
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(programs, args.device, args.small, args.steps, Path(work))
        text, missed = report(bench, args.batches or ([4, 8] if args.small else [64, 256, 1024]))
    print(text)
    if args.device != "cpu":
        write(ROOT / "benches/gpu.md", "results", text)
    return missed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument(
        "--small", action="store_true", help="a small model and small batches, to try the script"
    )
    parser.add_argument("--batches", type=int, nargs="+", help="default: 64 256 1024; small: 4 8")
    parser.add_argument("--steps", type=int, default=22, help="of a run, the first two not counted")
    parser.add_argument("--programs", type=Path, metavar="DIR", help="these programs: build none")
    return parser.parse_args()


def report(bench: Bench, batches: list[int]) -> tuple[str, int]:
    """And 1 where CUDA does not equal the CPU."""
    shards = {
        way: stored(bench.programs, bench.work, 2 * max(batches), way) for way in ("raw", "jpeg")
    }
    equal, missed = equality(bench, shards["raw"])
    lines = [f"{date.today().isoformat()}; {machine(bench.device)}.", "", *equal, ""]
    lines += [*speeds(bench, shards["raw"], batches), "", *end_to_end(bench, shards, max(batches))]
    return "\n".join(lines), missed


def machine(device: str) -> str:
    if device == "cpu":
        return f"{cpu_model()}, {os.cpu_count()} cores, in small: only to show that every part runs"
    number = device.partition(":")[2] or "0"
    query = ["nvidia-smi", f"--id={number}", "--query-gpu=name,driver_version", *CSV]
    gpu = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return f"{gpu}; {cpu_model()}, {os.cpu_count()} cores"


def equality(bench: Bench, shards: Path) -> tuple[list[str], int]:
    lines, missed = [EQUAL], 0
    for precision, limit in LIMITS.items():
        runs = [equal_losses(bench, shards, precision, device) for device in ("cpu", bench.device)]
        failed = next((run.error for run in runs if run.error), None)
        if failed:
            lines.append(f"| {precision} | failed: {failed} | | |")
            missed = 1
            continue
        losses = zip(runs[0].losses, runs[1].losses, strict=True)
        apart = max(abs(one - other) / abs(one) for one, other in losses)
        verdict = "equal" if apart <= limit else "MISSED"
        lines.append(f"| {precision} | {apart:.1e} | {limit:.0e} | {verdict} |")
        missed |= apart > limit
    return lines, missed


def equal_losses(bench: Bench, shards: Path, precision: str, device: str) -> Taken:
    work = bench.given(shards, 8, EQUAL_STEPS, True, device)
    work.config["model"] = SMALL | {"dropout": 0.0}  # its draws differ between devices
    return train(bench.programs / "train", work, Way(precision))


def speeds(bench: Bench, shards: Path, batches: list[int]) -> list[str]:
    lines = [FULL]
    for batch in batches:
        work = bench.given(shards, batch, bench.steps, bench.small)
        for way in bench.ways():
            ours = train(bench.programs / "train", work, way)
            theirs = eager(work, way, "--fixed")
            compiled = eager(work, way, "--fixed", "--compile")
            cells = [str(batch), str(way), *beside(batch, ours, theirs, compiled)]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr)
    return lines


def beside(batch: int, ours: Taken, theirs: Taken, compiled: Taken) -> list[str]:
    both = not (ours.error or theirs.error)
    return [
        *(rate(batch, taken) for taken in (ours, theirs, compiled)),
        f"{theirs.step / ours.step:.2f}×" if both else "",
        "" if ours.error else f"{ours.waited:.1%}",
        *("" if taken.error else f"{taken.memory:,.0f}" for taken in (ours, theirs)),
    ]


def rate(batch: int, taken: Taken) -> str:
    return f"failed: {taken.error}" if taken.error else f"{batch / taken.step:,.1f}"


def end_to_end(bench: Bench, shards: dict[str, Path], batch: int) -> list[str]:
    way, lines = WAYS[-1], [ENDS.format(batch, WAYS[-1])]
    for encoding, folder in shards.items():
        work = bench.given(folder, batch, bench.steps, bench.small)
        taken = train(bench.programs / "train", work, way)
        lines.append(f"| `train`, {encoding} shards | {rate(batch, taken)} | {taken.waited:.1%} |")
    raw = bench.given(shards["raw"], batch, bench.steps, bench.small)
    fixed = rate(batch, eager(raw, way, "--fixed"))
    return [*lines, f"| PyTorch eager, nothing to load | {fixed} | |"]


if __name__ == "__main__":
    sys.exit(main())
