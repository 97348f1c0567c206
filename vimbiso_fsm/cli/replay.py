"""`vimbiso replay`: handle recorded WhatsApp webhooks."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TextIO

import attrs
import typer
from rich.console import Console
from rich.text import Text as Styled

from vimbiso_fsm.channels import Delivery, terminal, whatsapp
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.display import progress_bar
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.plain_text import MAX_LINE, as_json, clean, lines
from vimbiso_fsm.cli.services import Services
from vimbiso_fsm.cli.store_options import Namespace, OptionalData, OptionalRedis, opened
from vimbiso_fsm.errors import (
    CommitUnknown,
    Contended,
    ForeignState,
    InvalidMessage,
    NewerState,
    StoreUnavailable,
    VimbisoError,
)
from vimbiso_fsm.messages.message import Address, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import FlowStateManager

STATUSES: Final = ("advanced", "refused", "duplicate", "recovered", "ignored", "failed")


def replay(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Webhook bodies, one JSON object per line; - is standard input.")
    ],
    redis: OptionalRedis = None,
    data: OptionalData = None,
    namespace: Namespace = "",
    flows: Flows = None,
    services: Services = None,
    replies: Annotated[
        Path | None,
        typer.Option(
            "--replies", metavar="FILE", help="Write the id, status and reply texts of each message, as JSON Lines."
        ),
    ] = None,
    any_age: Annotated[
        bool, typer.Option("--any-age", help="Take old messages too, though their first delivery may be forgotten.")
    ] = False,
) -> None:
    """Handle recorded WhatsApp Cloud API webhooks.

    The webhooks are handled in the order of the file. A message that was handled before has no effect, so a file may be
    replayed again. In a store that is kept, messages older than the bot takes, eight days by default, are ignored
    without --any-age: they may have been handled and forgotten. A broken line is reported and makes the exit code 1;
    the others are handled. The run ends early only when the store fails. Without --redis and --data, an empty store is
    used and removed at the end.
    """
    with ExitStack() as closing:
        source = _open(file, closing)
        bot = closing.enter_context(opened(redis, data, namespace, flows, services, fresh=True, handles=True))
        run = _Run(bot.manager, _create(replies, file, closing), dated=bot.kept and not any_age)
        try:
            run.read(source)
        finally:  # also after Ctrl-C: the messages so far are handled
            run.print_counts()
        if not bot.kept:
            print("nothing was kept; --data DIR or --redis URL keeps it")
    if run.faults:
        raise typer.Exit(1)


def _open(file: Path, closing: ExitStack) -> BinaryIO:
    if str(file) == "-":
        return sys.stdin.buffer if sys.stdin else BytesIO()
    try:
        return closing.enter_context(file.open("rb"))
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")


def _create(replies: Path | None, file: Path, closing: ExitStack) -> TextIO | None:
    if replies is None:
        return None
    try:
        if replies.exists() and file.exists() and replies.samefile(file):
            raise typer.BadParameter(
                "--replies names the file that is replayed; it would be overwritten; name another file"
            )
        return closing.enter_context(replies.open("w", encoding="utf-8"))
    except OSError as error:
        fail(f"{replies} cannot be written: {error.strerror}")


@attrs.define
class _Run:
    """One replay and its counts.

    Attributes:
        dated: Whether the age of a message counts.
        other: Parts of webhooks that are of a kind other than messages and statuses.
        no_webhook: Lines that are not a webhook.
        broken: Parts of webhooks that cannot be read.
        errors: Messages that were not handled.
        members: Member ids by the address of their channel.
    """

    manager: FlowStateManager
    replies: TextIO | None
    dated: bool = True
    bodies: int = 0
    statuses: int = 0
    other: int = 0
    no_webhook: int = 0
    broken: int = 0
    errors: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter[str])
    members: dict[Address, str] = attrs.field(factory=dict[Address, str])
    notes: Console = attrs.field(factory=lambda: Console(stderr=True, highlight=False))
    begun: float = attrs.field(factory=time.monotonic)

    @property
    def faults(self) -> int:
        """The number of faults; 0 is a clean run."""
        return self.no_webhook + self.broken + self.errors

    def read(self, source: BinaryIO) -> None:
        """Handle every line."""
        with progress_bar("{task.fields[handled]} messages", self.notes) as progress:
            task = progress.add_task("replay", total=_size(source), handled=0)
            for number, line in enumerate(lines(source), 1):
                if line.strip():
                    self.take(number, line)
                progress.update(task, advance=len(line) + 1, handled=self.outcomes.total())

    def take(self, number: int, line: bytes) -> None:
        """Handle one line."""
        try:
            delivery = _parse(line, datetime.now(UTC) if self.dated else None)
        except InvalidMessage as error:
            self.no_webhook += 1
            return self.note(f"line {number} is not a webhook: {error}")
        self.bodies += 1
        self.statuses += delivery.statuses
        self.other += len(delivery.events) - delivery.statuses
        self.broken += len(delivery.faults)
        for fault in delivery.faults:
            self.note(f"line {number}, {fault.place}: {fault.reason}")
        for message in delivery.messages:
            self.handle(number, message)

    def handle(self, number: int, message: Message) -> None:
        """Handle one message.

        The run ends when the store fails, because the messages after it would be handled out of order.
        """
        try:
            outcome = self.manager.handle(message)
        except (StoreUnavailable, CommitUnknown, Contended, NewerState, ForeignState) as error:
            fail(f"line {number}: {error}; the run ends here, and the file may be replayed again")
        except VimbisoError as error:
            self.errors += 1
            return self.note(f"line {number}: {error}")
        self.outcomes[outcome.status] += 1
        self.members[message.channel.address] = outcome.state.member_id
        if self.replies is not None:
            print(as_json(_result(message, outcome)), file=self.replies)

    def note(self, fault: str) -> None:
        """Report a fault, above the progress bar if there is one."""
        self.notes.print(Styled(clean(fault)), soft_wrap=True)

    def print_counts(self) -> None:
        """Print the counts."""
        counts: dict[str, object] = {
            "bodies": self.bodies,
            "messages": self.outcomes.total(),
            "statuses": self.statuses,
            "other parts": self.other,
            **{status: self.outcomes[status] for status in STATUSES},
            "no webhook": self.no_webhook,
            "broken parts": self.broken,
            "not handled": self.errors,
            "members": len(set(self.members.values())),
            "seconds": f"{time.monotonic() - self.begun:.2f}",
        }
        for name, count in counts.items():
            print(f"{name:<13}{count:>8}")


def _parse(line: bytes, now: datetime | None) -> Delivery:
    if len(line) > MAX_LINE:
        raise InvalidMessage("body", f"has more than {MAX_LINE} bytes")
    return whatsapp.parse(line, now=now)


def _result(message: Message, outcome: Outcome) -> dict[str, object]:
    return {
        "id": message.id,
        "status": outcome.status,
        "texts": terminal.render(message.channel, outcome.replies),
    }


def _size(source: BinaryIO) -> int | None:
    """Return the size of a file in bytes; None for a pipe."""
    try:
        found = os.fstat(source.fileno())
    except OSError:  # an object in memory
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
