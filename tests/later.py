"""Run the tests as if it were later.

    python -m tests.later [--days 400] [ARGUMENTS OF PYTEST…]

A test that compares a fixed instant with a real clock, its own or that of a server, fails some day, of itself. This
moves the wall clock of the tests, and of all that they start, so that it fails now. It needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clocks import MovedClock, compiler


def main() -> int:
    """Run pytest with a clock that is ahead, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.later", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=float, default=400.0, help="the days by which the clock is ahead")
    asked, others = parser.parse_known_args()
    if compiler() is None:
        parser.error("a C compiler, cc, is needed")
    with tempfile.TemporaryDirectory() as folder:
        clock = MovedClock(Path(folder), asked.days * 86_400)
        return subprocess.run(
            [sys.executable, "-m", "pytest", *others], check=False, env=os.environ | clock.environment
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
