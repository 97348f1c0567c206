"""`vimbiso audit`: verify what is kept of members, export it, explain an entry."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import attrs
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from vimbiso_fsm.audit.explain import explain
from vimbiso_fsm.audit.export import Export
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.trail import Trail, faults, guests, members, read_trail
from vimbiso_fsm.cli.members import OfFlow, OfRun, OnChannel, Since, Until, Who, filters_of, member_id_of
from vimbiso_fsm.cli.plain_text import clean, shown
from vimbiso_fsm.cli.store_options import Data, Flows, Opened, Redis, fail, opened
from vimbiso_fsm.document.codec import Unreadable

Several: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MEMBER]...", help="Member ids, or channels as TYPE:IDENTIFIER; with the guests they were."
    ),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Everybody of whom the store keeps anything.")]


def verify(
    who: Several = None, everybody: All = False, redis: Redis = None, data: Data = None, flows: Flows = "flows"
) -> None:
    """Check the chain of each member's audit, and that the stored document is the one that its entry names.

    What is broken is said in a line each. Exit code 1 when anything is.
    """
    checked = entries = broken = 0
    with _opened(who, everybody, redis, data, flows) as bot:
        for trail in _trails(bot, who):
            found = faults(trail)
            checked, entries, broken = checked + 1, entries + len(trail.entries), broken + len(found)
            for fault in found:
                print(f"{_plain(trail.name)}: {_plain(fault)}")
    print(f"checked {checked}, entries {entries}, faults {broken}")
    if broken:
        raise typer.Exit(1)


def export(
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="JSON Lines; a file that is there is gone on with.")],
    who: Several = None,
    everybody: All = False,
    since: Since = None,
    until: Until = None,
    flow: OfFlow = None,
    run: OfRun = None,
    channel: OnChannel = None,
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
) -> None:
    """Write members' audit entries and incidents to a file, one JSON object a line.

    Run again it adds what is new and nothing twice, however it ended before. Use a file of its own for each choice of
    what to write. Exit code 1 when something could not be read, or is no longer what was exported.
    """
    filters = filters_of(channel, flow, run, since, until)
    everything = all(value is None for value in filters.values())
    wanted = partial(FlowAuditLogger.fits, **filters)
    written = broken = 0
    with _opened(who, everybody, redis, data, flows) as bot, Export(to) as file:
        for trail in _trails(bot, who):
            lost = file.lost(trail) if everything else ()
            count, wrong = file.add(trail, wanted)
            written, broken = written + count, broken + len(lost) + len(wrong)
            for fault in (*lost, *wrong):
                print(f"{_plain(trail.name)}: {_plain(fault)}", file=sys.stderr)
    print(f"{written} lines added to {to}")
    if broken:
        raise typer.Exit(1)


def explain_entry(
    who: Who,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Of the entry, as history shows it.")],
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
) -> None:
    """Say how an entry came to be: the transitions that were candidates, what each guard said, what was committed.

    Exit code 1 when the entry is not kept.
    """
    with opened(redis, data, flows) as bot:
        trail = read_trail(bot.store, member_id_of(bot, who))
        try:
            explanation = explain(bot.manager.bot, trail, version)
        except Unreadable as error:
            fail(f"entry {version} of {shown(who)} cannot be read: {error}")
        for line in explanation.lines:
            print(_plain(line))


@contextmanager
def _opened(
    who: Sequence[str] | None, everybody: bool, redis: str | None, data: Path | None, flows: str
) -> Generator[Opened]:
    if bool(who) == everybody:
        raise typer.BadParameter("name members, or say --all, and not both")
    with opened(redis, data, flows) as bot:
        yield bot


def _trails(bot: Opened, who: Sequence[str] | None) -> Iterator[Trail]:
    """The trails of those who were named and of the guests they were, or of all and of the store itself; each once.
    At a terminal a bar shows how far it is."""
    named = tuple(member_id_of(bot, name) for name in who or ())
    waiting: list[str | None] = [*named] if who else [None, *members(bot.store)]
    seen: set[str | None] = set()
    notes = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.completed} of {task.total}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as progress:
        task = progress.add_task("audit", total=len(waiting))
        while waiting:
            member_id = waiting.pop(0)
            if member_id not in seen:
                seen.add(member_id)
                trail = read_trail(bot.store, member_id)
                if trail.empty and member_id in named:
                    trail = attrs.evolve(trail, damaged=("nothing is stored",))
                waiting[:0] = (guest for guest in guests(trail) if guest not in seen)
                yield trail
            progress.update(task, advance=1, total=len(seen) + len(waiting))


def _plain(text: str) -> str:
    """One line, whatever stands in it; it may be indented."""
    return " ".join(clean(text).splitlines())


def as_commands(epilog: str) -> typer.Typer:
    """`vimbiso audit`, to be added to the commands. `epilog`: stands below each help."""
    audit = typer.Typer(
        name="audit",
        help="Verify what is kept of members, export it, explain an entry.",
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    audit.command(epilog=epilog)(verify)
    audit.command(epilog=epilog)(export)
    audit.command("explain", epilog=epilog)(explain_entry)
    return audit
