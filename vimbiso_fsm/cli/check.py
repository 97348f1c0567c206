"""`vimbiso check`: faults of a bot, and the effect of its deployment on open runs."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import typer

from vimbiso_fsm.audit.trail import members
from vimbiso_fsm.cli.bot_options import Flows, import_bot
from vimbiso_fsm.cli.display import print_table, progress_bar
from vimbiso_fsm.cli.plain_text import as_json, clean
from vimbiso_fsm.cli.store_options import Data, Namespace, opened
from vimbiso_fsm.cli.store_url import FORMS, checked_url
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.late_texts import late_texts
from vimbiso_fsm.flow.state_checks import may_be_empty
from vimbiso_fsm.flow.text_check import TextFault, text_faults
from vimbiso_fsm.operations.census import Census, Place
from vimbiso_fsm.store.requests import Broken, Load, Store


def check(
    live: Annotated[
        str | None,
        typer.Option(
            "--live",
            metavar="URL",
            callback=checked_url,
            help=f"Count the open runs of the members on this server; {FORMS}.",
        ),
    ] = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Check a bot before it is deployed.

    The texts that the bot uses are searched for in its flows and in the code of its callbacks and services, and are
    compared between languages. A question that may have nothing to choose from, without a transition `empty`, is named;
    so is a text of a timer or a reminder without a template. Both are no fault. With --live or --data, the open runs of
    members are counted by flow, version and step, with what the deployment would do to them; this only reads, and is
    safe beside live traffic. Exit code 1 when a text has a fault, or when the bot cannot continue a run; damaged
    documents are only counted.
    """
    if live is not None and data is not None:
        raise typer.BadParameter("--live and --data name two stores; give one of them")
    if live is None and data is None:
        bot, census = import_bot(flows), None
    else:
        with opened(live, data, namespace, flows) as live_bot:
            bot = live_bot.manager.bot
            census = _census(bot, live_bot.store)
    texts = text_faults(bot)
    if json:
        report = {
            "flows": _declared(bot),
            "may_be_empty": [{"flow": flow, "state": state} for flow, state in _may_be_empty(bot)],
            "late_texts": [attrs.asdict(late) for late in late_texts(bot)],
            "texts": [attrs.asdict(fault) for fault in texts],
            "live": _raw(census),
        }
        print(as_json(report, indent=2))
    else:
        _print_report(bot, texts, census)
    if texts or (census is not None and census.lost):
        raise typer.Exit(1)


def _census(bot: Bot, store: Store) -> Census:
    """Read the document of every member. A terminal shows a progress bar."""
    census = Census(bot)
    with progress_bar("{task.completed} of {task.total}") as progress:
        for member_id in progress.track(members(store), description="check"):
            stored = store.perform(Load(member_id))
            if isinstance(stored, Broken):
                census.add_broken(stored.fault)
            elif stored.document is not None:
                census.add(stored.document)
    return census


def _declared(bot: Bot) -> list[dict[str, Any]]:
    return [{"flow": flow.name, "version": flow.version, "fingerprint": flow.fingerprint} for flow in bot.flows]


def _may_be_empty(bot: Bot) -> list[tuple[str, str]]:
    return [(flow.name, state) for flow in bot.flows for state in may_be_empty(flow)]


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
                "how": place.how,
                "to": {"version": place.to[0], "step": place.to[1]} if place.to else None,
                "fault": place.fault,
            }
            for place in sorted(census.runs)
        ],
        "broken": dict(census.broken),
    }


def _print_report(bot: Bot, texts: tuple[TextFault, ...], census: Census | None) -> None:
    languages = ", ".join(map(clean, sorted(bot.catalogue.languages)))
    print(f"{len(bot.flows)} flows in {languages}" + ("" if texts else "; no text has a fault"))
    for text in texts:
        print(f"text {clean(str(text))}")
    for flow, state in _may_be_empty(bot):
        print(f"flow {flow!r}, state {state!r}: it may have nothing to choose from; say where 'empty' leads")
    for late in late_texts(bot):
        place = f"flow {late.flow!r}, state {late.state!r}: {clean(repr(late.key))} may come after the window of"
        print(f"{place} {late.channel}; name a template, Text(…, templates=…), or it waits for the member's message")
    if census is None:
        return
    names = ("flow", "version", "step", "standing", "runs", "calls", "after the deploy")
    rows = (_cells(census, place) for place in sorted(census.runs))
    print_table(names, rows, numbers=("version", "runs", "calls"))
    for fault, count in sorted(census.broken.items()):
        print(f"broken, {count}: {' '.join(clean(fault).split())}")
    runs, lost = census.runs.total(), sum(census.runs[place] for place in census.lost)
    broken = census.broken.total()
    print(f"documents {census.documents}, broken {broken}, runs {runs}, without a mapping {lost}")


def _cells(census: Census, place: Place) -> tuple[str, ...]:
    counts = str(census.runs[place]), str(census.calls[place])
    return (place.flow, str(place.version), place.step, place.standing, *counts, place.words)
