"""The command `vimbiso`. It needs the extra `cli`; without it, it says so."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

__all__ = ["main"]


def main() -> None:
    """Run the command on the arguments of this process, and exit."""
    try:
        from vimbiso_fsm.cli.app import app
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in ("typer", "rich"):
            raise
        sys.exit(f"error: the command vimbiso needs {name}; run: pip install 'vimbiso_fsm[cli]'")
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and so do we
            signal.signal(number, _leave)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal cannot show or say is no reason to fall over
    app(prog_name="vimbiso")


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """End in order: what was opened is closed, so that the embedded engine stops with us."""
    signal.signal(number, signal.SIG_IGN)  # said once is enough
    sys.exit(128 + number)
