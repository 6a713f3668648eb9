"""Makes the virtual environment. Runs under the system's python3 (3.10 to 3.12), once.

requirements.txt is a whole resolution, installed without looking at dependencies again, and
from-source.txt what has no wheels: built where the system has what it needs. Left out on purpose
are 2 GB of CUDA libraries: LitData and Streaming import torch, torch's wheel links against those,
and none of this work calls them. See tests/parity/stand_in.py.
"""

import hashlib
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "tests/parity"))

from stand_in import call, stand_in  # noqa: E402

VENV = HERE / ".venv"
PYTHON = VENV / "bin/python"


def install() -> list[str]:
    """Gives back what could not be installed, as its lines in those files."""
    files = [HERE / "requirements.txt", HERE / "from-source.txt"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    stamp, failed = VENV / "stamp", VENV / "failed"
    if not (stamp.exists() and stamp.read_text() == digest):
        print("setting up the virtual environment (3 GB, once)", file=sys.stderr)
        if not PYTHON.exists():
            venv.create(VENV, with_pip=True, clear=True)
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--prefer-binary"]
        single = lines(files[1])
        if call(*pip, "-r", files[0]).returncode:  # then one by one: the rest still runs
            single = lines(files[0]) + single
        missing = [line for line in single if call(*pip, line).returncode]
        stand_in(PYTHON)
        failed.write_text("\n".join(missing))
        stamp.write_text(digest)
    return failed.read_text().split()


def lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
