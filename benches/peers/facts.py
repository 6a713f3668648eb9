"""What every table says of its run: the day, the machine, how busy it was."""

import os
import platform
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path


@dataclass(frozen=True)
class Facts:
    day: str
    cpu: str
    cores: int
    load: float
    set: str
    images: int
    rounds: int

    @staticmethod
    def now(kind: str, images: int, rounds: int) -> "Facts":
        cores, load = os.cpu_count() or 1, os.getloadavg()[0]
        return Facts(date.today().isoformat(), cpu_model(), cores, load, kind, images, rounds)

    def __str__(self) -> str:
        return (
            f"{self.day}; {self.cpu}, {self.cores} cores; load average before: {self.load:.2f}; "
            f"{self.images} images ({self.set}); medians of {self.rounds} interleaved rounds"
        )


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    found = info.exists() and re.search(r"model name\s*: (.*)", info.read_text())
    return found[1] if found else platform.processor() or platform.machine()
