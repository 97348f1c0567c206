"""`vimbiso diagram`: pictures of flows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vimbiso_fsm.audit.trail import members, read_entries, read_trail
from vimbiso_fsm.check.diagram import Diagram, Fired, bot_diagram, count_steps, declared_flows, flow_diagram
from vimbiso_fsm.check.dot import dot, svg
from vimbiso_fsm.check.mermaid import mermaid
from vimbiso_fsm.cli.archive_options import Archive
from vimbiso_fsm.cli.bot_options import Flows, import_bot
from vimbiso_fsm.cli.display import progress_bar
from vimbiso_fsm.cli.failures import fail, misuse
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import Live, Namespace, OptionalData, OptionalRedis, live_store, opened_store
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.spelling import did_you_mean
from vimbiso_fsm.store.requests import Store

_KEYS: Final = ("flow", "source", "trigger", "dest")


def diagram(
    flow: Annotated[str | None, typer.Argument(metavar="[FLOW]", help="The flow; not needed for a bot of one.")] = None,
    flows: Flows = None,
    whole: Annotated[
        bool, typer.Option("--all", help="The flows of the bot, and the states that lead from one to another.")
    ] = False,
    as_dot: Annotated[bool, typer.Option("--dot", help="In the language of Graphviz, in place of Mermaid.")] = False,
    to_svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write an SVG picture; needs Graphviz.")
    ] = None,
    coverage: Annotated[
        Path | None,
        typer.Option(
            "--coverage", metavar="FILE", help="Mark how often each transition fired, by this JSON file of a test run."
        ),
    ] = None,
    live: Live = False,
    redis: OptionalRedis = None,
    data: OptionalData = None,
    namespace: Namespace = "",
    archive: Archive = None,
) -> None:
    """Print the diagram of a flow as text for Mermaid.

    Guards stand in brackets, calls and sub-flows below the names of their states. With --coverage, or with --live,
    --redis or --data, each transition has the number of times that it fired by the tests or by the audit, and one that
    never fired is marked. The audit is only read.
    """
    if as_dot and to_svg is not None:
        misuse("--dot and --svg are two forms; give one of them")
    redis, data = live_store(live, redis, data)
    if coverage is not None and (redis is not None or data is not None):
        misuse("--coverage and the store name two counts; give one of them")
    bot = import_bot(flows)
    if whole and (flow is not None or coverage is not None or redis is not None or data is not None):
        misuse("--all shows the flows of the bot, without counts; leave FLOW and the counts out")
    fired: Fired | None = None
    if coverage is not None:
        fired = _read_counts(coverage)
    elif redis is not None or data is not None:
        with opened_store(redis, data, namespace, flows, archive) as at:
            fired = _count(at.store)
    drawn = bot_diagram(bot) if whole else flow_diagram(bot.flow(_named(bot, flow)), fired)
    if to_svg is not None:
        _write_svg(drawn, to_svg)
    else:
        print(dot(drawn) if as_dot else mermaid(drawn), end="")


def _named(bot: Bot, name: str | None) -> str:
    """Return the name of the flow that is meant."""
    names = [flow.name for flow in declared_flows(bot)]
    if name in names:
        return name
    if name is None:
        if len(names) == 1:
            return names[0]
        misuse(f"name a flow, or give --all; the bot has {', '.join(names)}")
    fail(f"the bot has no flow {shown(name)}; {did_you_mean(name, names)}")


def _count(store: Store) -> Fired:
    """Return how often transitions fired, by the audit of all members. A terminal shows a progress bar."""
    counts: dict[tuple[str, str, str, str], int] = {}
    with progress_bar("{task.completed} of {task.total}") as progress:
        for member_id in progress.track(members(store), description="diagram"):
            entries, _ = read_entries(read_trail(store, member_id))
            for way, times in count_steps(step for entry in entries for step in entry.steps).items():
                counts[way] = counts.get(way, 0) + times
    return counts


def _read_counts(path: Path) -> Fired:
    """Return the counts of a file: a list of objects with "flow", "source", "trigger", "dest" and "fired"."""
    counts: dict[tuple[str, str, str, str], int] = {}
    try:
        given: Any = json.loads(path.read_bytes())
        for each in given:
            flow, source, trigger, dest = (str(each[key]) for key in _KEYS)
            counts[flow, source, trigger, dest] = int(each["fired"])
    except OSError as error:
        fail(f"--coverage {shown(str(path))}: {error.strerror or error}")
    except (ValueError, TypeError, KeyError, RecursionError):
        fail(f"--coverage {shown(str(path))}: it is no list of objects with {', '.join(_KEYS)} and fired")
    return counts


def _write_svg(drawn: Diagram, path: Path) -> None:
    try:
        picture = svg(drawn)
    except FileNotFoundError:
        fail("--svg needs the program dot of Graphviz; install it (on Debian: apt-get install graphviz), or give --dot")
    except subprocess.CalledProcessError as error:
        fail(f"--svg: dot failed: {shown(error.stderr.decode(errors='replace').strip())}")
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        fail(f"--svg {shown(str(path))}: {error.strerror or error}")
