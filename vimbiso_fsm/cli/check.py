"""`vimbiso check`: faults of a bot, and the effect of its deployment on open runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, NoReturn

import attrs
import typer

from vimbiso_fsm.audit.trail import members
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.findings import faults, findings
from vimbiso_fsm.cli.bot_options import Flows, import_bot
from vimbiso_fsm.cli.display import print_table, progress_bar
from vimbiso_fsm.cli.plain_text import as_json, clean, one_line
from vimbiso_fsm.cli.store_options import Live, Namespace, OptionalData, OptionalRedis, live_store, opened
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.late_texts import late_texts
from vimbiso_fsm.flow.state_checks import may_be_empty
from vimbiso_fsm.flow.text_check import text_faults
from vimbiso_fsm.made import shown_path
from vimbiso_fsm.operations.census import Census, Place
from vimbiso_fsm.store.requests import Broken, Load, Store


def check(
    package: Annotated[
        str | None, typer.Argument(metavar="[PACKAGE]", help="The package that exports your bot; the same as --flows.")
    ] = None,
    live: Live = False,
    redis: OptionalRedis = None,
    data: OptionalData = None,
    namespace: Namespace = "",
    flows: Flows = None,
    strict: Annotated[bool, typer.Option("--strict", help="A missing translation is a fault, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    github: Annotated[
        bool, typer.Option("--github", help="Annotations of GitHub Actions, one for each finding.")
    ] = False,
) -> None:
    """Check a bot before it is deployed.

    Each finding is one line: the file and the line, a code, what is wrong and what to do. Findings are in the
    declaration of the flows, in the code of their callbacks, in their texts, and in what the callbacks return for the
    data that a run begins with. The page on findings in the documentation explains each code. A comment on the line
    silences one: # vimbiso: ok CODE – reason. With --live, --redis or --data, the open runs of members are counted by
    flow, version and step, with what the deployment would do to them; this only reads, and is safe beside live traffic.
    Exit code 1 when there is a fault, or when the bot cannot continue a run; advice leaves it at 0, and damaged
    documents are only counted.
    """
    redis, data = live_store(live, redis, data)
    if package is not None and flows not in (None, package):
        raise typer.BadParameter("PACKAGE and --flows name two packages; give one of them")
    if json and github:
        raise typer.BadParameter("--json and --github are two forms; give one of them")
    flows = package or flows

    def refused(error: FlowError) -> NoReturn:
        found = [Finding.of(fault) for fault in error.faults]
        if json:
            print(as_json({"flows": [], "findings": _raw_findings(found, strict=strict), "live": None}, indent=2))
        else:
            _print_findings(found, github=github, strict=strict)
        raise typer.Exit(1)

    bot, census = import_bot(flows, refused), None
    if redis is not None or data is not None:
        with opened(redis, data, namespace, flows) as live_bot:
            bot = live_bot.manager.bot
            census = _census(bot, live_bot.store)
    found = findings(bot)
    if json:
        report = {
            "flows": _declared(bot),
            "findings": _raw_findings(found, strict=strict),
            "may_be_empty": [{"flow": flow.name, "state": name} for flow in bot.flows for name in may_be_empty(flow)],
            "late_texts": [attrs.asdict(late) for late in late_texts(bot)],
            "texts": [attrs.asdict(fault) for fault in text_faults(bot)],
            "live": _raw(census),
        }
        print(as_json(report, indent=2))
    else:
        if not github:
            languages = ", ".join(map(clean, sorted(bot.catalogue.languages)))
            number = sum(flow.name != CARRY_ON.name for flow in bot.flows)  # the library adds that one
            print(f"{number} flow{'s' * (number != 1)} in {languages}; {_counted(found, strict=strict)}")
        _print_findings(found, github=github, strict=strict)
        _print_census(census)
    if faults(found, strict=strict) or (census is not None and census.lost):
        raise typer.Exit(1)


def _counted(found: Iterable[Finding], *, strict: bool) -> str:
    """Return the number of faults and of advice, in words."""
    every = list(found)
    serious = len(faults(every, strict=strict))
    told = [f"{serious} fault{'s' * (serious != 1)}"] if serious else []
    told += [f"{len(every) - serious} advice"] if len(every) > serious else []
    return ", ".join(told) or "no finding"


def _print_findings(found: Iterable[Finding], *, github: bool, strict: bool) -> None:
    for each in found:
        print(_annotation(each, advice=not faults([each], strict=strict)) if github else clean(str(each)))


def _annotation(finding: Finding, *, advice: bool) -> str:
    """Return a finding as GitHub Actions shows it beside the line."""
    said = one_line(clean(finding.words)).replace("%", "%25")
    place = f"file={shown_path(finding.file)},line={finding.line},title={finding.code}"
    return f"::{'warning' if advice else 'error'} {place}::{said}"


def _raw_findings(found: Iterable[Finding], *, strict: bool) -> list[dict[str, Any]]:
    return [
        {**attrs.asdict(each), "file": shown_path(each.file), "advice": not faults([each], strict=strict)}
        for each in found
    ]


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


def _print_census(census: Census | None) -> None:
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
