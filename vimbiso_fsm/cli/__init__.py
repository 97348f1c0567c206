"""The command `vimbiso`. It needs the extra `cli`; without it, an error names the extra."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    try:
        from vimbiso_fsm.cli.app import make_app
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in ("typer", "rich"):
            raise
        sys.exit(f"error: the command vimbiso needs {name}; run: pip install 'vimbiso_fsm[cli]'")
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that is ignored stays so: nohup ignores SIGHUP.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # bytes and characters that the terminal cannot hold are replaced
    make_app()(prog_name="vimbiso")


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Exit in order, so that what is open is closed and the embedded server stops too."""
    signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the closing
    sys.exit(128 + number)
