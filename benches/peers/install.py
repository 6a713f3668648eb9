"""Makes the virtual environment. Runs under the system's python3 (3.10 to 3.12), once.

requirements.txt is a whole resolution, installed without looking at dependencies again, and
from-source.txt what has no wheels: built where the system has what it needs. Left out on purpose
are 2 GB of CUDA libraries: LitData and Streaming import torch, torch's wheel links against those,
and none of this work calls them. Empty libraries of their names, bound lazily, stand in for them.
"""

import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin/python"


def call(*command: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], text=True, **options)


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
        stand_in()
        failed.write_text("\n".join(missing))
        stamp.write_text(digest)
    return failed.read_text().split()


def lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def stand_in() -> None:
    """Makes an empty library for each that `import torch` asks for, until it is content."""
    site = next(VENV.glob("lib/python*/site-packages"))
    (site / "bind_lazily.pth").write_text("import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n")
    for _ in range(40):
        error = call(PYTHON, "-c", "import torch", capture_output=True).stderr
        name = re.search(r"(lib[\w.]+\.so[.\d]*): cannot open shared object file", error)
        if not name:
            return
        library = site / "torch/lib" / name[1]
        call("cc", "-shared", "-o", library, "-x", "c", "/dev/null", check=True)
