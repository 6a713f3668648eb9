"""PyTorch's wheel for CUDA on a machine without CUDA's libraries.

It links against 2 GB of them, which work on a CPU never calls. Empty libraries of their names, bound
lazily, stand in for them.
"""

import re
import subprocess
from pathlib import Path


def call(*command: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], text=True, **options)


def stand_in(python: Path) -> None:
    """Makes an empty library for each that `import torch` asks for, until it is content.

    `python` is a virtual environment's `bin/python`.
    """
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    (site / "bind_lazily.pth").write_text("import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n")
    for _ in range(40):
        error = call(python, "-c", "import torch", capture_output=True).stderr
        name = re.search(r"(lib[\w.]+\.so[.\d]*): cannot open shared object file", error)
        if not name:
            return
        library = site / "torch/lib" / name[1]
        call("cc", "-shared", "-o", library, "-x", "c", "/dev/null", check=True)
