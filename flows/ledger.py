"""The ledger: the entries of the account in use, latest first, a page at a time."""

from __future__ import annotations

from typing import Final

import attrs

from flows.credex_core import CredexCore, Dashboard, LedgerEntry
from flows.members import me
from vimbiso_fsm import READ_ONLY, Call, Flow, Money, Refused, State, Text, Transition, Turn, authenticated, call

PAGE: Final = 7
"""Entries on a page. One more is requested, to find out whether there is a next page."""


@attrs.frozen
class Ledger:
    """The data of the ledger flow.

    Attributes:
        asked: The number of entries before the requested page.
        start: The number of entries before the shown page.
        entries: The entries of the shown page.
    """

    asked: int = 0
    start: int = 0
    entries: tuple[LedgerEntry, ...] = ()


def read(turn: Turn[Ledger, Dashboard]) -> Call[tuple[LedgerEntry, ...] | Refused]:
    """Propose to read a page of the ledger."""
    return call(CredexCore.get_ledger, me(turn).account.id, start_row=turn.data.asked, num_rows=PAGE + 1)


def page(turn: Turn[Ledger, Dashboard]) -> Text:
    """Return the entries of the page, one on each line."""
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
    """Return the line of an entry."""
    other = Text("ledger.account", name=entry.name, handle=entry.handle) if entry.handle else entry.name
    if entry.amount > Money.zero(entry.amount.currency):
        return Text("ledger.received", amount=entry.amount, other=other)
    return Text("ledger.given", amount=-entry.amount, other=other)


def back(turn: Turn[Ledger]) -> Ledger:
    """Prepare: request the page before."""
    return attrs.evolve(turn.data, asked=turn.data.start - PAGE)


def forth(turn: Turn[Ledger]) -> Ledger:
    """Prepare: request the page after."""
    return attrs.evolve(turn.data, asked=turn.data.start + PAGE)


def turned(turn: Turn[Ledger]) -> Ledger:
    """Prepare: show the requested page."""
    return attrs.evolve(turn.data, start=turn.data.asked)


def begun(turn: Turn[Ledger]) -> bool:
    """Guard: there are entries before the page."""
    return turn.data.start > 0


def more(turn: Turn[Ledger]) -> bool:
    """Guard: there are entries after the page."""
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
