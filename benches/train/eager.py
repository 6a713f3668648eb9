"""The PyTorch trainer of tests/parity as a program: the work of `train`, timed step by step."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/parity"))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from trainer import optimise  # noqa: E402
from trainer.clip import Clip  # noqa: E402
from trainer.shards import Batch, Place, Shards  # noqa: E402
from trainer.train import Trainer  # noqa: E402


def main() -> None:
    args = arguments()
    given = json.loads(args.given)
    config, device = given["config"], torch.device(given["device"])
    tf32 = args.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    loader = loaded(Path(given["shards"]), config["data"], args.workers)
    trainer = made(args, config, len(loader), device)
    batches = chain.from_iterable(repeat(loader))
    if args.fixed:
        batches = repeat(next(batches).to(device))
    args.out.write_text(json.dumps(timed(trainer, batches, device)))
    state = {name: tensor.contiguous() for name, tensor in trainer.model.state_dict().items()}
    save_file(state, args.out.with_suffix(".safetensors"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("given", help="JSON: config, shards, device")
    parser.add_argument(
        "out", type=Path, help="seconds of each step, as JSON; beside it, the weights"
    )
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--fixed", action="store_true", help="one batch, on the device, for every step"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    return parser.parse_args()


def loaded(folder: Path, data: dict, workers: int) -> DataLoader:
    """Every image once an epoch, in its first view, with its first caption."""
    shards = Shards(folder)
    places = [Place(key, view, [0]) for key, view in shards.rows if view == 0]

    def batch(chosen: list[Place]) -> Batch:
        return shards.batch(chosen, data["crop"], data["max_tokens"])

    return DataLoader(
        places,
        data["batch"],
        shuffle=True,
        drop_last=True,
        collate_fn=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def made(
    args: argparse.Namespace, config: dict, steps_per_epoch: int, device: torch.device
) -> Trainer:
    torch.manual_seed(0)
    model = Clip(config).to(device)
    if args.channels_last:
        model.memory_format = torch.channels_last
        model = model.to(memory_format=torch.channels_last)
    autocast = torch.bfloat16 if args.precision == "bf16" else None
    options = {"fused": True, "autocast": autocast, "compiled": args.compile}
    return Trainer(model, config, steps_per_epoch, **options)


def timed(trainer: Trainer, batches: Iterator[Batch], device: torch.device) -> list[float]:
    """A GPU is waited for only every fifth step; each of five then counts as their mean."""
    seconds, chunk = [], 1 if device.type == "cpu" else 5
    start = time.perf_counter()
    for step, (stage, batch) in enumerate(zip(optimise.each_step(trainer.stages), batches)):
        trainer.step(step, stage, batch.to(device))
        if (step + 1) % chunk == 0:
            if device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            seconds += [(now - start) / chunk] * chunk
            start = now
    return seconds


if __name__ == "__main__":
    main()
