"""`vimbiso check`: what is wrong with a bot, and what its deploy would do to members in the middle of something."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final

import attrs
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text as Styled

from vimbiso_fsm.audit.trail import members
from vimbiso_fsm.cli.plain_text import as_json, clean
from vimbiso_fsm.cli.store_options import Data, Flows, import_bot, opened
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.text_check import TextFault, text_faults
from vimbiso_fsm.operations.census import Census, Place
from vimbiso_fsm.store.requests import Broken, Load, Store

WIDTH: Final = 160
"""Columns of a table that goes to no terminal."""


def check(
    live: Annotated[
        str | None,
        typer.Option("--live", metavar="URL", help="A Redis-compatible server whose members' runs are counted."),
    ] = None,
    data: Data = None,
    flows: Flows = "flows",
    json: Annotated[bool, typer.Option("--json", help="All of it as one JSON object.")] = False,
) -> None:
    """Check a bot before it is deployed; with --live or --data, also what that would do to each run that is open.

    Texts are looked for in the declaration and in the code of callbacks and services, and compared between languages.
    The census only reads, a document at a time, beside live traffic. Exit code 1 when a text has a fault, or when a run
    stands where the bot has no mapping; broken documents are only counted.
    """
    if live is not None and data is not None:
        raise typer.BadParameter("--live and --data name two stores; give one of them")
    if live is None and data is None:
        bot, census = import_bot(flows), None
    else:
        with opened(live, data, flows) as at:
            bot, census = at.manager.bot, _census(at.manager.bot, at.store)
    texts = text_faults(bot)
    if json:
        told = {"flows": _declared(bot), "texts": [attrs.asdict(fault) for fault in texts], "live": _raw(census)}
        print(as_json(told, indent=2))
    else:
        _tell(bot, texts, census)
    if texts or (census is not None and census.lost):
        raise typer.Exit(1)


def _census(bot: Bot, store: Store) -> Census:
    """Read every member's document; at a terminal a bar shows how far it is."""
    census = Census(bot)
    notes = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.completed} of {task.total}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as progress:
        for member_id in progress.track(members(store), description="check"):
            stored = store.perform(Load(member_id))
            if isinstance(stored, Broken):
                census.add_broken("a key is of a type that is not ours")
            elif stored.document is not None:
                census.add(stored.document)
    return census


def _declared(bot: Bot) -> list[dict[str, Any]]:
    return [{"flow": flow.name, "version": flow.version, "fingerprint": flow.fingerprint} for flow in bot.flows]


def _raw(census: Census | None) -> dict[str, Any] | None:
    if census is None:
        return None
    return {
        "documents": census.documents,
        "runs": [
            {
                "flow": place.flow,
                "version": place.version,
                "step": place.step,
                "standing": place.standing,
                "declared": place.declared,
                "runs": census.runs[place],
                "calls": census.calls[place],
                "fate": place.fate,
                "to": {"version": place.to[0], "step": place.to[1]} if place.to else None,
                "fault": place.fault,
            }
            for place in sorted(census.runs)
        ],
        "broken": dict(census.broken),
    }


def _tell(bot: Bot, texts: tuple[TextFault, ...], census: Census | None) -> None:
    languages = ", ".join(map(clean, sorted(bot.catalogue.languages)))
    print(f"{len(bot.flows)} flows in {languages}" + ("" if texts else ", each as it should be"))
    for text in texts:
        print(f"text {clean(str(text))}")
    if census is None:
        return
    _print_table(census)
    for fault, count in sorted(census.broken.items()):
        print(f"broken, {count}: {' '.join(clean(fault).split())}")
    runs, lost = census.runs.total(), sum(census.runs[place] for place in census.lost)
    broken = census.broken.total()
    print(f"documents {census.documents}, broken {broken}, runs {runs}, without a mapping {lost}")


def _print_table(census: Census) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("flow", "version", "step", "standing", "runs", "calls", "after the deploy"):
        table.add_column(name, overflow="fold", justify="right" if name in ("version", "runs", "calls") else "left")
    for place in sorted(census.runs):
        table.add_row(*(Styled(clean(cell)) for cell in _cells(census, place)))
    console.print(table)


def _cells(census: Census, place: Place) -> Iterator[str]:
    yield place.flow
    yield str(place.version)
    yield place.step
    yield place.standing
    yield str(census.runs[place])
    yield str(census.calls[place])
    yield place.words
