"""The programs under comparison, as processes."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trainer.shards import Place, order

MOST_SAID = 400  # a panic of libtorch's brings a page of frames
NOT_THERE = ("does not work yet", "unknown variant")


class Absent(Exception):
    """`train` says that it cannot do this yet."""


class Failed(Exception):
    """A program ended with an error; what it said."""


@dataclass(frozen=True)
class Programs:
    folder: Path

    def call(self, program: str, *arguments: object) -> str:
        command = [str(part) for part in (self.folder / program, *arguments)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            said = ran.stderr.strip()
            kind = Absent if any(words in said for words in NOT_THERE) else Failed
            raise kind(f"{program}: {said[:MOST_SAID]}")
        return ran.stdout

    def prepare(self, table: Path, out: Path, *options: object) -> None:
        columns = ["--key-column", "key"]
        self.call("prepare", "table", "--table", table, "--out", out, *columns, *options, "--quiet")

    def order(self, shards: Path, config: dict, epoch: int) -> list[list[Place]]:
        data = config["data"]
        options = ["--batch", data["batch"], "--seed", config["run"]["seed"], "--epoch", epoch]
        options += ["--shuffle", data.get("shuffle", "full")]
        if data.get("drop_last", True):
            options.append("--drop-last")
        if data.get("captions_per_image", 1) > 1:
            options += ["--captions-per-image", data["captions_per_image"]]
        return order(
            self.call("shards", "order", shards, "--split", "train", *options).splitlines()
        )

    def train(self, shards: Path, config: dict, run: Path, *options: object) -> list[dict]:
        """Gives back the lines of the log."""
        file = run.with_suffix(".toml")
        file.write_text(toml(config))
        self.call("train", "--data", shards, "--out", run, "--config", file, "--quiet", *options)
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def checkpoint(run: Path) -> Path:
    """The weights of the last one."""
    return max((run / "checkpoints").glob("step-*")) / "model.safetensors"


def toml(config: dict) -> str:
    lines = [f"stage = {value(config['stage'])}"]
    for table, keys in config.items():
        if table != "stage":
            lines += [f"[{table}]", *(f"{key} = {value(of)}" for key, of in keys.items())]
    return "\n".join(lines) + "\n"


def value(of: object) -> str:
    if isinstance(of, dict):
        return "{ " + ", ".join(f"{key} = {value(one)}" for key, one in of.items()) + " }"
    if isinstance(of, list):
        return f"[{', '.join(map(value, of))}]"
    return json.dumps(of)
