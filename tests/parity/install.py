"""Prints a python3 (3.10 to 3.12) that has PyTorch 2.11.0: this one, or a virtual environment's.

For a CPU, 2 GB of CUDA libraries are left out: the wheel links against them, and nothing here calls
them. See stand_in.py.
"""

import hashlib
import sys
import venv
from pathlib import Path

from stand_in import call, stand_in

HERE = Path(__file__).parent
VENV, WANTED = HERE / ".venv", HERE / "requirements.txt"
PYTHON = VENV / "bin/python"
HAS_ALL = "import numpy, pyarrow, safetensors, torch; assert torch.__version__.startswith('2.11.0')"


def python(cuda: bool = False) -> Path:
    """Made once; `cuda` needs what is left out for a CPU."""
    usable = HAS_ALL + ("; assert torch.cuda.is_available()" if cuda else "")
    for found in (Path(sys.executable), PYTHON):
        if found.exists() and call(found, "-c", usable, capture_output=True).returncode == 0:
            if found != PYTHON or (VENV / "stamp").read_text() == stamp(cuda):
                return found
    make(cuda)
    return PYTHON


def stamp(cuda: bool) -> str:
    return hashlib.sha256(WANTED.read_bytes()).hexdigest() + (" cuda" if cuda else "")


def make(cuda: bool) -> None:
    print("setting up a virtual environment with PyTorch (1.5 GB, once)", file=sys.stderr)
    venv.create(VENV, with_pip=True, clear=True)
    left_out = [] if cuda else ["--no-deps"]
    call(PYTHON, "-m", "pip", "install", "--quiet", *left_out, "-r", WANTED, check=True)
    if not cuda:
        stand_in(PYTHON)
    (VENV / "stamp").write_text(stamp(cuda))


if __name__ == "__main__":
    print(python(cuda="--cuda" in sys.argv))
