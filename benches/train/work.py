"""What both trainers are given, and how it is made."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/parity"))
sys.path.append(str(ROOT / "benches/peers"))

import pairs  # noqa: E402  of tests/parity, as pairmill
from pairmill import Programs  # noqa: E402

MODEL = {"image": "resnet50", "text": {"num_hidden_layers": 12}, "embed_dim": 512}
TOKENS = 32


@dataclass(frozen=True)
class Way:
    """How a step computes."""

    precision: str
    channels_last: bool = False

    def __str__(self) -> str:
        return self.precision + (" + channels_last" if self.channels_last else "")


@dataclass(frozen=True)
class Work:
    """What both programs are given."""

    shards: Path
    config: dict  # model, data, stage
    device: str = "cpu"


def built() -> Path:
    """The folder of the release programs."""
    cargo = os.environ.get("CARGO", "cargo")
    words = "build --quiet --release --features train --bins".split()
    subprocess.run([cargo, *words], cwd=ROOT, check=True)
    return Path(ROOT / os.environ.get("CARGO_TARGET_DIR", "target"), "release")


def stored(programs: Path, work: Path, images: int, encoding: str = "raw") -> Path:
    """Shards of 256 pixels, every caption longer than the tokens that are used."""
    table, out = work / "pairs.parquet", work / encoding
    if not table.exists():
        pairs.table(table, images, 256, (TOKENS, TOKENS), twins=False)
    options = ["--size", 256, "--encoding", encoding, "--max-tokens", TOKENS]
    Programs(programs).prepare(table, out, *options)
    return out


def config(batch: int, stage: dict) -> dict:
    return {
        "model": MODEL,
        "data": {"batch": batch, "crop": 224, "max_tokens": TOKENS},
        "loss": {},
        "optim": {},
        "stage": [stage],
    }


def write(readme: Path, name: str, text: str) -> None:
    """Puts the text between the markers of its name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = readme.read_text().split(begin)
    readme.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")
