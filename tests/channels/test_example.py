"""The example of contents runs, and prints what its replies are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PRINTED = """\
> text
Where is the leak?
> sticker
Please send one of these:
a location
a written answer
Where is the leak?
> location
Please send a photo of it.
1. No photo
(Reacted)
> image
Thank you. A team goes to -17.83, 31.05 (by the school).
"""


def test_the_example_reads_a_location_and_a_photo() -> None:
    """The example reads a location and a photo from recorded webhooks, refuses a sticker, and hears of a reaction."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/report_a_leak.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", PRINTED)
