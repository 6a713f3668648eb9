"""Makes the virtual environment. Runs under the system's python3 (3.10 to 3.12), once.

requirements.txt is a whole resolution, installed without looking at dependencies again. What it
leaves out on purpose is 2 GB of CUDA libraries: LitData and Streaming import torch, torch's wheel
links against those, and none of this work calls them. Empty libraries of their names, bound
lazily, stand in for them.
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
    """Gives back what could not be installed, as its lines in requirements.txt."""
    requirements = HERE / "requirements.txt"
    stamp, digest = VENV / "stamp", hashlib.sha256(requirements.read_bytes()).hexdigest()
    failed = VENV / "failed"
    if not (stamp.exists() and stamp.read_text() == digest):
        print("setting up the virtual environment (1 GB, once)", file=sys.stderr)
        venv.create(VENV, with_pip=True, clear=True)
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--prefer-binary"]
        missing = []
        if call(*pip, "-r", requirements).returncode:  # then one by one: the rest still runs
            lines = requirements.read_text().splitlines()
            wanted = [line for line in lines if line and not line.startswith("#")]
            missing = [line for line in wanted if call(*pip, line).returncode]
        stand_in()
        failed.write_text("\n".join(missing))
        stamp.write_text(digest)
    return failed.read_text().split()


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
