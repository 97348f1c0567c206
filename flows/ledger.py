"""The ledger: what moved in the account in use, the latest first, a page at a time."""

from __future__ import annotations

from typing import Final

import attrs

from flows.credex_core import CredexCore, LedgerEntry
from flows.members import me
from vimbiso_fsm.flow.calls import READ_ONLY, Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, authenticated
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

__all__ = ["Ledger", "ledger"]

PAGE: Final = 7
"""Entries shown at once; one more is asked for, to learn whether there are more."""


@attrs.frozen
class Ledger:
    """The page that is shown: how many entries come before it, and those on it. `asked`: where the page that is asked
    for begins."""

    asked: int = 0
    start: int = 0
    entries: tuple[LedgerEntry, ...] = ()


def read(turn: Turn[Ledger]) -> Call[tuple[LedgerEntry, ...] | Refused]:
    """What moved?"""
    return call(CredexCore.get_ledger, me(turn).account.id, start_row=turn.data.asked, num_rows=PAGE + 1)


def page(turn: Turn[Ledger]) -> Text:
    """The entries, a line each."""
    account, entries = me(turn).account, turn.data.entries[:PAGE]
    return Text(
        "ledger.entries" if entries else "ledger.empty",
        name=account.name,
        handle=account.handle,
        first=turn.data.start + 1,
        last=turn.data.start + len(entries),
        entries=[line(entry) for entry in entries],
    )


def line(entry: LedgerEntry) -> Text:
    """An entry: from whom or to whom, how much."""
    other = Text("ledger.account", name=entry.name, handle=entry.handle) if entry.handle else entry.name
    if entry.amount > Money.zero(entry.amount.currency):
        return Text("ledger.received", amount=entry.amount, other=other)
    return Text("ledger.given", amount=-entry.amount, other=other)


def back(turn: Turn[Ledger]) -> Ledger:
    """Prepare: ask for the page before."""
    return attrs.evolve(turn.data, asked=turn.data.start - PAGE)


def forth(turn: Turn[Ledger]) -> Ledger:
    """Prepare: ask for the page after."""
    return attrs.evolve(turn.data, asked=turn.data.start + PAGE)


def turned(turn: Turn[Ledger]) -> Ledger:
    """Prepare: what was asked for is shown."""
    return attrs.evolve(turn.data, start=turn.data.asked)


def begun(turn: Turn[Ledger]) -> bool:
    """There are entries before the page."""
    return turn.data.start > 0


def more(turn: Turn[Ledger]) -> bool:
    """There are entries after the page."""
    return len(turn.data.entries) > PAGE


ledger = Flow(
    "ledger", data=Ledger, initial="reading", requires=authenticated,
    states=[
        State("reading", ask=Text("ledger.reading"), call=read, policy=READ_ONLY, into="entries"),
        State("page",    ask=page),
        State("unread",  ask=Text("ledger.unread")),
        State("left",    final=True),
    ],
    transitions=[
        Transition("done",      "reading", "page",    prepare=turned),
        Transition("failed",    "reading", "unread"),
        Transition("again",     "unread",  "reading"),
        Transition("prev",      "page",    "reading", prepare=back, conditions=begun),
        Transition("next",      "page",    "reading", prepare=forth, conditions=more),
        Transition("dashboard", ["page", "unread"], "left"),
    ],
)  # fmt: skip
