"""One run of `train`, or of the PyTorch trainer, as a process: its steps, memory, waits."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from work import Way, Work

from pairmill import toml

HERE = Path(__file__).parent
WARM_UP = 2  # steps that are not counted


@dataclass(frozen=True)
class Taken:
    """A run that failed has the end of what it said in `error`, and nothing else."""

    seconds: list[float] = field(default_factory=list)  # of each step after the first ones
    whole: float = 0.0  # seconds from the start of the process to its end; of `train`, to its weights on disk
    waited: float = 0.0  # share of the steps' time that went by waiting for batches
    memory: float = 0.0  # MB at most: of the GPU, else resident
    losses: list[float] = field(default_factory=list)  # of every step of `train`
    error: str = ""

    @property
    def step(self) -> float:
        return median(self.seconds)

    def __str__(self) -> str:
        return (
            self.error
            or f"{self.step:.3f} s a step, {self.whole:.1f} s in all, {self.memory:.0f} MB"
        )


def train(program: Path, work: Work, way: Way) -> Taken:
    """`train`, by the rates that its log says."""
    run = {"precision": way.precision, "channels_last": way.channels_last, "checkpoint_every": 0}
    config = work.config | {"run": work.config.get("run", {}) | run}
    if not way.channels_last:
        del config["run"]["channels_last"]  # so that an older `train` can be timed, too
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "run.toml"), Path(folder, "run")
        file.write_text(toml(config))
        began = time.time()
        options = ["--device", work.device, "--quiet"]
        taken = timed(
            work.device, program, "--data", work.shards, "--out", out, "--config", file, *options
        )
        if taken.error:
            return taken
        # What comes then is the report, for which a sample is embedded: the peer makes none.
        whole = max(file.stat().st_mtime for file in out.glob("checkpoints/step-*/state.json")) - began
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    counted = lines[WARM_UP:]
    seconds = [config["data"]["batch"] / line["pairs_per_second"] for line in counted]
    waited = sum(line["wait_seconds"] for line in counted) / sum(seconds)
    return Taken(seconds, whole, waited, taken.memory, [line["loss"] for line in lines])


def eager(work: Work, way: Way, *options: str) -> Taken:
    """eager.py, by its own clock."""
    given = json.dumps({"config": work.config, "shards": str(work.shards), "device": work.device})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "seconds.json")
        words = ["--precision", way.precision, *(["--channels-last"] if way.channels_last else [])]
        taken = timed(work.device, sys.executable, HERE / "eager.py", given, out, *words, *options)
        if taken.error:
            return taken
        seconds = json.loads(out.read_text())[WARM_UP:]
    return Taken(seconds, taken.whole, 0.0, taken.memory)


def timed(device: str, *command: object) -> Taken:
    """A process, run to its end, with the most memory it had."""
    with tempfile.TemporaryFile("w+") as said, used(device) as gpu:
        start = time.perf_counter()
        words = [str(part) for part in command]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        whole = time.perf_counter() - start
        said.seek(0)
        if process.returncode:
            text = said.read().strip() or f"it ended with {process.returncode} and said nothing"
            print(text, file=sys.stderr)
            return Taken(error=text.splitlines()[-1])
    return Taken(whole=whole, memory=gpu.most or usage.ru_maxrss / 1024)


class used:
    """Watches a GPU's memory through nvidia-smi; on a CPU, nothing."""

    def __init__(self, device: str):
        self.number = device.partition(":")[2] or "0"
        self.most, self.done = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch) if device != "cpu" else None

    def __enter__(self):
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        if self.thread:
            self.thread.join()

    def watch(self) -> None:
        query = [
            "nvidia-smi",
            f"--id={self.number}",
            "--query-gpu=memory.used",
            "--format=csv,noheader,nounits",
        ]
        while not self.done.wait(0.2):
            self.most = max(
                self.most, float(subprocess.run(query, capture_output=True, text=True).stdout)
            )
