"""`vimbiso replay`: recorded WhatsApp webhooks, handled as they were delivered."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text as Styled

from vimbiso_fsm.channels import terminal, whatsapp
from vimbiso_fsm.cli.plain_text import MAX_LINE, as_json, clean, lines
from vimbiso_fsm.cli.store_options import Data, Flows, Opened, Redis, fail, opened
from vimbiso_fsm.errors import CommitUnknown, Contended, InvalidMessage, StoreUnavailable, VimbisoError
from vimbiso_fsm.messages import Message

__all__ = ["replay"]

STATUSES: Final = ("advanced", "refused", "duplicate", "recovered", "ignored", "failed")


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Webhook bodies, one JSON a line; - for the standard input.")],
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    replies: Annotated[
        Path | None, typer.Option("--replies", metavar="FILE", help="Write id, status and replies of each message, as JSON Lines.")
    ] = None,
) -> None:
    """Handle recorded WhatsApp Cloud API webhooks, in the order of the file.

    A message that was handled before has no effect, so a file may be replayed again. What is broken is reported with
    its line and makes the exit code 1, and the rest is handled; only when the store fails does the run end early.
    Without --redis and --data the messages are handled on an empty store that is removed at the end.
    """
    with ExitStack() as closing:
        source = _open(file, closing)
        bot = closing.enter_context(opened(redis, data, flows, fresh=True))
        run = _Replay(bot, _create(replies, file, closing))
        try:
            run.read(source, _size(source))
        except KeyboardInterrupt:
            run.tell()
            raise
        run.tell()
        if run.stopped is not None:
            fail(run.stopped)
    if run.broken:
        raise typer.Exit(1)
