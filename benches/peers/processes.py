"""Other programs, run to their end."""

import subprocess
import sys


def run(*command: object, check: bool = True, **options) -> None:
    """Its results go to stderr: stdout is for the tables. With `check`, its failure is ours."""
    words = [str(part) for part in command]
    ran = subprocess.run(words, stdout=sys.stderr, **options)
    if check and ran.returncode:
        sys.exit(f"error: it ended with {ran.returncode}: {' '.join(words)}")


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
