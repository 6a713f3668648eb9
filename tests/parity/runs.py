"""One case by each trainer: the same first weights, shards and order."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import pairs
from cases import Case
from compare import Difference, Run, difference
from pairmill import Programs, checkpoint
from trainer.clip import Clip
from trainer.shards import Batch, Shards
from trainer.train import Trainer

ROWS, SIDE = 166, 64
VIEWS = ["--views", 3, "--flip", 0.5, "--jitter", "0.2,0.2,0.2,0.05"]


@dataclass(frozen=True)
class Bench:
    """Where all this happens, and the shards: with some images in several rows, and without."""

    programs: Programs
    work: Path
    shards: dict[bool, Path]

    @staticmethod
    def made(programs: Programs, work: Path) -> "Bench":
        shards = {twins: work / ("twins" if twins else "pairs") for twins in (False, True)}
        options = ["--size", SIDE, "--encoding", "raw", "--shard-rows", 40, "--max-tokens", 20]
        for twins, out in shards.items():
            table = out.with_suffix(".parquet")
            pairs.table(table, ROWS, SIDE, (1, 20), twins)
            programs.prepare(table, out, *options, *VIEWS)
        return Bench(programs, work, shards)

    def folder(self, case: Case) -> Path:
        folder = self.work / re.sub(r"\W+", "-", case.name)
        folder.mkdir(exist_ok=True)
        return folder


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
    lines = bench.programs.train(
        bench.shards[case.twins], case.config | {"model": model}, folder / "run"
    )
    return Run(lines, load_file(checkpoint(folder / "run")))


def by_torch(bench: Bench, case: Case, first: dict[str, Tensor]) -> tuple[Run, set[str]]:
    """And the names of what no stage trained."""
    model = Clip(case.config).to(
        torch.float64 if case.config["run"]["precision"] == "fp64" else torch.float32
    )
    model.load_state_dict(first, strict=False)
    steps = len(bench.programs.order(bench.shards[case.twins], case.config, 0))
    autocast = torch.bfloat16 if case.config["run"]["precision"] == "bf16" else None
    trainer = Trainer(model, case.config, steps, autocast=autocast)
    lines = trainer.run(batches(bench, case))
    return Run(lines, state(model)), frozen(trainer)


def batches(bench: Bench, case: Case) -> Iterator[Batch]:
    folder, data, epoch = bench.shards[case.twins], case.config["data"], 0
    shards = Shards(folder)
    while True:
        for places in bench.programs.order(folder, case.config, epoch):
            yield shards.batch(places, data["crop"], data["max_tokens"])
        epoch += 1


def frozen(trainer: Trainer) -> set[str]:
    moments = trainer.optimiser.state
    untouched = {name for name, of in trainer.model.named_parameters() if of not in moments}
    norms = {name.rsplit(".", 1)[0] for name in untouched}
    statistics = {
        name
        for name in state(trainer.model)
        if "running" in name and name.rsplit(".", 1)[0] in norms
    }
    return untouched | statistics
