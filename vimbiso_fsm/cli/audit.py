"""`vimbiso audit`: verify the audit, export it, explain an entry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, TypeAlias

import attrs
import typer

from vimbiso_fsm.audit.explain import explain
from vimbiso_fsm.audit.export import export_lines
from vimbiso_fsm.audit.trail import Trail, erasures, faults, guests, members, read_trail
from vimbiso_fsm.cli.archive_options import Archive
from vimbiso_fsm.cli.bot_options import Flows, OptionalFlows
from vimbiso_fsm.cli.display import progress_bar
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.history import OfFlow, OfRun, OnChannel, Since, Until, filters_of, selection
from vimbiso_fsm.cli.member_argument import MemberArgument, MemberArguments, member_id_of
from vimbiso_fsm.cli.new_file import To, output
from vimbiso_fsm.cli.plain_text import one_line, shown
from vimbiso_fsm.cli.store_options import Data, Namespace, OpenStore, Redis, opened, opened_store
from vimbiso_fsm.errors import Unreadable

All: TypeAlias = Annotated[bool, typer.Option("--all", help="All members of the store, and the store itself.")]


def audit_commands(epilog: str) -> typer.Typer:
    """Make the group of commands.

    Args:
        epilog: The text below each help.

    Returns:
        The group, to be added to the application.
    """
    audit = typer.Typer(
        name="audit",
        help="Verify the audit, export it, or explain an entry.",
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    audit.command("verify", epilog=epilog)(verify)
    audit.command("export", epilog=epilog)(export)
    audit.command("explain", epilog=epilog)(explain_entry)
    return audit


def verify(
    named: MemberArguments = None,
    all_members: All = False,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: OptionalFlows = None,
    archive: Archive = None,
) -> None:
    """Verify the audit chain of members.

    The guests that they were before are included. Each entry must continue the one before it, and the latest must name
    the stored document. Faults are printed, one per line. Exit code 1 when there is any.
    """
    _require_members(named, all_members)
    checked = entries = broken = 0
    with opened_store(redis, data, namespace, flows, archive) as at:
        for trail in _trails(at, named):
            found = faults(trail)
            checked, entries, broken = checked + 1, entries + len(trail.entries), broken + len(found)
            for line in (*erasures(trail), *found):
                print(f"{one_line(trail.name)}: {one_line(line)}")
    print(f"checked {checked}, entries {entries}, faults {broken}")
    if broken:
        raise typer.Exit(1)


def export(
    named: MemberArguments = None,
    all_members: All = False,
    since: Since = None,
    until: Until = None,
    flow: OfFlow = None,
    run: OfRun = None,
    channel: OnChannel = None,
    to: To = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: OptionalFlows = None,
    archive: Archive = None,
) -> None:
    """Export audit entries and incidents as JSON Lines.

    Those of the guests that the members were before are included. The trails are verified on the way. Faults are
    printed to standard error, one per line. Exit code 1 when there is any.
    """
    _require_members(named, all_members)
    filters = filters_of(channel, flow, run, since, until)
    written = broken = 0
    with opened_store(redis, data, namespace, flows, archive) as at, output(to) as file:
        wanted = selection(at, filters)
        for trail in _trails(at, named):
            for line in export_lines(trail, wanted):
                print(line, file=file)
                written += 1
            for fault in faults(trail):
                broken += 1
                print(f"{one_line(trail.name)}: {one_line(fault)}", file=sys.stderr)
    if to is not None:
        print(one_line(f"{written} lines written to {to}"))
    if broken:
        raise typer.Exit(1)


def explain_entry(
    member: MemberArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The version of the entry, as in the history.")],
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    archive: Archive = None,
) -> None:
    """Explain how an audit entry came about.

    The transitions that were candidates, the answer of each guard and the commit are printed. Exit code 1 when the
    entry is not kept.
    """
    with opened(redis, data, namespace, flows, archive=archive) as bot:
        trail = read_trail(bot.store, member_id_of(bot, member))
        try:
            explanation = explain(bot.manager.bot, trail, version)
        except Unreadable as error:
            fail(f"entry {version} of {shown(member)} cannot be read: {error}")
        for line in explanation.lines:
            print(one_line(line))


def _require_members(named: list[str] | None, all_members: bool) -> None:
    if bool(named) == all_members:
        raise typer.BadParameter("give either members or --all")


def _trails(at: OpenStore, named: list[str] | None) -> Iterator[Trail]:
    """Read the trails of the named members and of the guests that they were, or of the store and all its members.

    Each trail is read once. A terminal shows a progress bar.
    """
    ids = tuple(member_id_of(at, name) for name in named or ())
    waiting: list[str | None] = [*ids] if named else [None, *members(at.store)]
    seen: set[str | None] = set()
    with progress_bar("{task.completed} of {task.total}") as progress:
        task = progress.add_task("audit", total=len(waiting))
        while waiting:
            member_id = waiting.pop(0)
            if member_id not in seen:
                seen.add(member_id)
                trail = read_trail(at.store, member_id)
                if trail.empty and member_id in ids:
                    trail = attrs.evolve(trail, damaged=("nothing is stored",))
                waiting[:0] = (guest for guest in guests(trail) if guest not in seen)
                yield trail
            progress.update(task, advance=1, total=len(seen) + len(waiting))
