"""`vimbiso tail`: turns as they happen."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final

import typer

from vimbiso_fsm.audit.entries import AuditEntry, failure_of_delivery
from vimbiso_fsm.audit.following import Following
from vimbiso_fsm.audit.trail import members, read_entry
from vimbiso_fsm.cli.bot_options import OptionalFlows
from vimbiso_fsm.cli.flow_names import checked_flow
from vimbiso_fsm.cli.member_argument import MEMBER_HELP, member_id_of
from vimbiso_fsm.cli.plain_text import as_json, one_line
from vimbiso_fsm.cli.store_options import Data, Namespace, OpenStore, Redis, opened_store
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.store.requests import Load, ReadAudit, Store

READS: Final = 100
"""The members whose audit is read in a round, by default."""
LATEST: Final = 8
"""The entries of a member that are read; all of them are where these do not go back to what was shown."""
BEFORE: Final = 1.0
"""Seconds before the beginning from which entries are printed, because the clock of a process may be behind."""
NAMES_EVERY: Final = 30.0
"""Seconds between two searches for new members."""

wait: Callable[[float], None] = time.sleep
"""Waits between two rounds."""


def tail(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: OptionalFlows = None,
    flow: Annotated[str | None, typer.Option("--flow", metavar="NAME", help="Only turns in this flow.")] = None,
    member: Annotated[
        str | None, typer.Option("--member", metavar="MEMBER", help=f"Only turns of this member. {MEMBER_HELP}")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Whole entries, one JSON object per line.")] = False,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="Seconds between two looks.")] = 1,
    reads: Annotated[
        int, typer.Option("--reads", metavar="N", min=2, help="Members whose audit is read in one look, at most.")
    ] = READS,
) -> None:
    """Print turns as they happen, until Ctrl-C.

    The entries of the audit are printed, which hide what members said. The audits of at most N members are read in one
    look: members who talk in each look, the others in turn. On standard error it says within which time each member
    is looked at. New members are searched for every 30 seconds. While the store does not answer, the command waits.
    Exit code 130 on Ctrl-C.
    """
    with opened_store(redis, data, namespace, flows) as at:
        checked_flow(flows, flow)
        name = None if member is None else member_id_of(at, member)
        try:
            for entry in _turns(at, name, every, reads):
                if flow in (None, entry.flow):
                    print(as_json(unstructure(entry)) if json else line_of(entry), flush=True)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def line_of(entry: AuditEntry) -> str:
    """Return an entry as one line: the instant, the member, the kind and status, the flow and its step, the reasons."""
    way = entry.source if entry.source == entry.dest else f"{entry.source or '–'} → {entry.dest or '–'}"
    place = f"{entry.flow} {way}" if entry.flow else ""
    trigger = f"({entry.trigger})" if entry.trigger else ""
    why = " ".join(failure_of_delivery(entry)).strip()
    words = (
        *(entry.at.isoformat(timespec="milliseconds"), entry.member_id, entry.channel[0], entry.kind, entry.status),
        *(place, trigger, ", ".join(entry.codes), why),
    )
    return one_line(" ".join(filter(None, words)))


def _turns(at: OpenStore, member: str | None, every: float, reads: int) -> Iterator[AuditEntry]:
    """Yield new entries, in the order of their instants within each look."""
    following: Following | None = None
    named, said, failing = float("-inf"), 0, False
    while True:
        found: list[AuditEntry] = []
        try:
            following = following or Following(instant(at.store.perform(Load("tail")).at - BEFORE), reads)
            if time.monotonic() >= named + NAMES_EVERY:
                following.know(members(at.store) if member is None else [member])
                named = time.monotonic()
                if following.rounds > 1 and following.rounds != said:
                    said = following.rounds
                    _note(f"each member is looked at within {said * every:.0f} s, and in each look while they talk")
            for each in following.next_round():
                found += _new(at.store, following, each)
            failing = False
        except StoreUnavailable as error:
            if not failing:
                _note(f"{error}; trying again")
            failing = True
        yield from sorted(found, key=lambda entry: (entry.at, entry.version))
        wait(every)


def _new(store: Store, following: Following, member: str) -> Sequence[AuditEntry]:
    latest = _read(store, member, LATEST)
    if following.misses(member, latest):
        latest = _read(store, member, None)
    return following.take(member, latest)


def _read(store: Store, member: str, last: int | None) -> list[AuditEntry]:
    """Return the latest entries of a member that can be read; `vimbiso audit verify` names the others."""
    found = map(read_entry, (entry for entry in store.perform(ReadAudit(member, last, tolerant=True)) if entry.version))
    return [entry for entry in found if isinstance(entry, AuditEntry)]


def _note(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)
