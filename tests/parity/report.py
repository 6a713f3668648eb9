"""Runs the cases and the faults, and prints what differed."""

import re
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import faults
import pairs
from cases import Case, cases, faulty
from compare import Difference, Run, difference
from pairmill import Absent, Failed, Programs, checkpoint
from trainer.clip import Clip
from trainer.shards import Shards
from trainer.train import Trainer

HEAD = "| | steps | loss | norm | rates | scale | change | |\n|---|---:|---:|---:|---:|---:|---:|---|"
ROWS, SIDE, VIEWS = 166, 64, ["--views", 3, "--flip", 0.5, "--jitter", "0.2,0.2,0.2,0.05"]


@dataclass(frozen=True)
class Bench:
    """Where all this happens."""

    programs: Programs
    work: Path

    @cache
    def shards(self, twins: bool) -> Path:
        out = self.work / ("twins" if twins else "pairs")
        pairs.table(out.with_suffix(".parquet"), ROWS, SIDE, (1, 20), twins)
        options = ["--size", SIDE, "--encoding", "raw", "--shard-rows", 40, "--max-tokens", 20, *VIEWS]
        self.programs.prepare(out.with_suffix(".parquet"), out, *options)
        return out

    def folder(self, case: Case) -> Path:
        folder = self.work / re.sub(r"\W+", "-", case.name)
        folder.mkdir(exist_ok=True)
        return folder


def run(programs: Path, work: Path, only: str) -> int:
    bench, missed, absent = Bench(Programs(programs), work), 0, 0
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
    first, ours = start(bench, case), None
    print("\nWith a fault in the PyTorch side, which has to be seen:\n\n" + HEAD)
    ours = by_train(bench, case)
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


def compared(bench: Bench, case: Case) -> Difference:
    first = start(bench, case)
    ours = by_train(bench, case)
    return difference(first, ours, *by_torch(bench, case, first))


def start(bench: Bench, case: Case) -> dict[str, Tensor]:
    """Writes the weights that both begin with."""
    torch.manual_seed(case.config["run"]["seed"])
    first = {name: drawn(name, tensor) for name, tensor in state(Clip(case.config)).items()}
    save_file(first, bench.folder(case) / "init.safetensors")
    return first


def state(model: Clip) -> dict[str, Tensor]:
    every = model.state_dict().items()
    return {name: tensor for name, tensor in every if not name.endswith("num_batches_tracked")}


def drawn(name: str, tensor: Tensor) -> Tensor:
    """Lively weights, so that nothing is zero or one by chance."""
    if tensor.ndim == 0:
        return tensor.clone()
    if tensor.ndim >= 2:
        inputs = 1 if "embeddings" in name else tensor[0].numel()
        return torch.randn_like(tensor) * (2 if tensor.ndim == 4 else 1) ** 0.5 / inputs**0.5
    if name.endswith(("weight", "running_var")):
        return (0.3 if "bn3" in name else 1.0) * (1 + 0.2 * torch.rand_like(tensor))
    return 0.1 * torch.randn_like(tensor)


def by_train(bench: Bench, case: Case) -> Run:
    folder = bench.folder(case)
    model = case.config["model"] | {"init": str(folder / "init.safetensors")}
    lines = bench.programs.train(bench.shards(case.twins), case.config | {"model": model}, folder / "run")
    return Run(lines, load_file(checkpoint(folder / "run")))


def by_torch(bench: Bench, case: Case, first: dict[str, Tensor]) -> tuple[Run, set[str]]:
    """And the names of what no stage trained."""
    model = Clip(case.config).to(torch.float64 if case.config["run"]["precision"] == "fp64" else torch.float32)
    model.load_state_dict(first, strict=False)
    trainer = Trainer(model, case.config, len(bench.programs.order(bench.shards(case.twins), case.config, 0)))
    lines = trainer.run(batches(bench, case))
    return Run(lines, state(model)), frozen(trainer)


def batches(bench: Bench, case: Case):
    folder, data, epoch = bench.shards(case.twins), case.config["data"], 0
    shards = Shards(folder)
    while True:
        for places in bench.programs.order(folder, case.config, epoch):
            yield shards.batch(places, data["crop"], data["max_tokens"])
        epoch += 1


def frozen(trainer: Trainer) -> set[str]:
    moments = trainer.optimiser.state
    untouched = {name for name, of in trainer.model.named_parameters() if of not in moments}
    norms = {name.rsplit(".", 1)[0] for name in untouched}
    statistics = {name for name in state(trainer.model) if "running" in name and name.rsplit(".", 1)[0] in norms}
    return untouched | statistics


if __name__ == "__main__":
    sys.exit("run `make parity`")
