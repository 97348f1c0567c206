"""`vimbiso show`: the timeline of a member in the terminal."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

import attrs
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vimbiso_fsm.audit.timeline import Moment
from vimbiso_fsm.cli.archive_options import Archive
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.display import TABLE_WIDTH
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.member_argument import MemberArgument, member_id_of
from vimbiso_fsm.cli.plain_text import as_json, clean, one_line, shown
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.timeline import PAGE, Page, Standing, read_timeline

SAID: Final = frozenset({"answer", "reason", "code", "call", "outcome", "moved_to", "count", "erased"})
"""Facts of an entry that the words of its moment say."""


def show(
    member: MemberArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    archive: Archive = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Entries that are shown at most.")] = PAGE,
    before: Annotated[
        str,
        typer.Option("--before", metavar="VERSION", help="Only what was before this version, as the last line says."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line, with all that is known.")] = False,
) -> None:
    """Print what happened in a member's conversation, oldest first.

    Each entry says what the member did, the states before and after, the guards that did not accept, what was answered,
    and the calls and deliveries with their outcomes. What a member wrote is not kept; values that are not public are
    masked. Parts that cannot be read are reported on standard error. Exit code 1 in that case, and when nothing is
    stored.
    """
    with opened(redis, data, namespace, flows, archive=archive) as bot:
        member_id = member_id_of(bot, member)
        page = run(read_timeline(bot.manager.bot, member_id, limit=limit, before=before), bot.manager.ask)
        if not page.moments and page.standing is None and not page.faults:
            fail(f"nothing of {shown(member)} is stored")
        for line in _json_lines(page) if json else ():
            print(line)
        if not json:
            _print(page)
        for fault in page.faults:
            print(f"error: {one_line(fault)}", file=sys.stderr)
        if page.faults:
            raise typer.Exit(1)


def _json_lines(page: Page) -> Iterator[str]:
    """Yield a line for each moment, and a last one for where the member stands and the page before."""
    for moment in page.moments:
        yield as_json({"key": moment.key, **_plain(moment)})
    standing = None if page.standing is None else _plain(page.standing)
    yield as_json({"member": page.member_id, "standing": standing, "older": page.older, "newer": page.newer})


def _plain(value: attrs.AttrsInstance) -> dict[str, Any]:
    raw: dict[str, Any] = json_module.loads(json_module.dumps(attrs.asdict(value), default=_text))
    return raw


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _print(page: Page) -> None:
    width = None if sys.stdout.isatty() else TABLE_WIDTH
    console = Console(highlight=False, width=width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("version", justify="right", no_wrap=True)
    table.add_column("at", no_wrap=True)
    table.add_column("by", no_wrap=True)
    table.add_column("what happened", overflow="fold")
    owner = page.member_id
    for moment in page.moments:
        if moment.member_id not in ("", owner):
            owner = moment.member_id
            table.add_row("", "", "", Text(clean(f"as {owner}"), style="dim"))
        elif moment.member_id and owner != page.member_id:
            owner = page.member_id
            table.add_row("", "", "", Text(clean(f"as {owner}"), style="dim"))
        at = moment.at.strftime("%Y-%m-%d %H:%M:%S") if moment.at else ""
        version = str(moment.version or "")
        table.add_row(version, at, Text(moment.cause), Text("\n".join(map(clean, lines_of(moment)))))
    console.print(table)
    if page.standing is not None:
        console.print(Text(one_line(in_words(page.standing)), style="bold"))
    if page.older:
        before = page.older.removeprefix(f"{page.member_id}/")
        console.print(Text(one_line(f"older entries: --before {before}"), style="dim"))


def lines_of(moment: Moment) -> Iterator[str]:
    """Yield a moment as lines of text: what happened, then what belongs to it, indented.

    Args:
        moment: The moment.
    """
    places = " → ".join(dict.fromkeys(filter(None, (moment.source, moment.dest))))
    yield one_line(moment.words + (f"  [{moment.flow}: {places}]" if places else ""))
    if moment.call:
        yield one_line(f"  call at {moment.call}, try {moment.tries}")
    yield from (one_line(f"  guard {name}: {verdict}") for name, verdict in moment.refusals)
    for change in moment.changed:
        yield one_line(f"  {change.name}: {_value(change.before)} → {_value(change.after)}")
    if moment.replies is None:
        yield from (one_line(f"  said: {code}") for code in moment.codes)
    for reply in moment.replies or ():
        first, *rest = reply.text.splitlines() or [""]
        yield one_line(f"  ‹ {first}")
        yield from (one_line(f"    {line}") for line in rest)
        if reply.choices:
            yield one_line(f"    [{'] ['.join(reply.choices)}]")
    if moment.reference:
        yield one_line(f"  reference {moment.reference}")
    facts = {name: fact for name, fact in moment.detail.items() if name not in SAID}
    if facts:
        yield one_line(f"  {as_json(facts)}")


def in_words(standing: Standing) -> str:
    """Return where a member stands, as a line.

    Args:
        standing: Where the member stands.
    """
    facts = [
        f"now at version {standing.version}: " + (f"{standing.flow}.{standing.state}" if standing.flow else "home")
    ]
    if standing.call is not None:
        facts.append(f"call {standing.call[0]} pending, try {standing.call[1]}")
    if standing.waiting[0]:
        facts.append(f"replies that wait for their delivery: {standing.waiting[0]}, tries: {standing.waiting[1]}")
    if standing.timer:
        facts.append(f"timer at {standing.timer}")
    if standing.ends:
        facts.append(f"session ends at {standing.ends}")
    if standing.inbox:
        facts.append(f"with a person of {standing.inbox}")
    return "; ".join(facts)


def _value(value: Any) -> str:
    return MASK if value == MASK else as_json(value)
