"""`vimbiso members`: the members of a store, where they stand, and who is stuck."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import attrs
import typer

from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.display import print_table
from vimbiso_fsm.cli.flow_names import check_place
from vimbiso_fsm.cli.plain_text import as_json, one_line
from vimbiso_fsm.cli.store_options import Data, Namespace, OpenBot, Redis, opened
from vimbiso_fsm.operations.members import Standing

COLUMNS: Final = ("member", "channel", "at", "since", "stuck")


def members(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="FLOW[.STATE]", help="Only those who stand in this flow or state.")
    ] = None,
    stuck: Annotated[bool, typer.Option("--stuck", help="Only those who are stuck.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Print at most so many members.")] = 100,
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="CURSOR", help="Go on where an earlier list has ended, as it says.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List members with the state in which they stand, and why they are stuck.

    A member is stuck if the document is damaged or cannot be read, if a call has no answer for a minute, if work is
    overdue for half a minute, if replies could not be sent, or if they were refused three times in a row. The documents
    are read in parts, and the list ends when N members are printed; then it says how to go on. Nothing is changed, and
    the command is safe beside live traffic. No words of members are shown.
    """
    with opened(redis, data, namespace, flows) as bot:
        place = None if at is None else check_place(bot.manager.bot, at, "--at")
        found: list[Standing] = []
        for part, then in _parts(bot, cursor):
            found += (each for each in part if fits(each, place, stuck=stuck))
            if len(found) >= limit or not then:
                cursor = then
                break
    if json:
        for each in found:
            print(as_json(raw_of(each)))
    else:
        print_table(COLUMNS, map(_cells, found), numbers=())
    if cursor:
        note = f"there may be more; go on with --cursor {cursor}"
        print(as_json({"cursor": cursor}) if json else note)


def fits(standing: Standing, place: tuple[str, str] | None, *, stuck: bool) -> bool:
    """Return whether a member stands at a place, and is stuck if only such are wanted.

    Args:
        standing: Where the member stands.
        place: A flow and a state, or "" for all of its states; None for any.
        stuck: Whether only those who are stuck fit.
    """
    if stuck and not standing.stuck:
        return False
    return place is None or (standing.flow == place[0] and place[1] in ("", standing.step))


def raw_of(standing: Standing) -> dict[str, Any]:
    """Return where a member stands as plain data."""
    raw = attrs.asdict(standing)
    since = standing.since
    return {
        **raw,
        "since": since.isoformat() if since else None,
        "stuck": [
            {
                "reason": each.reason,
                "since": each.since.isoformat() if each.since else None,
                "times": each.times,
                "what": each.what,
            }
            for each in standing.stuck
        ],
    }


def _parts(bot: OpenBot, cursor: str) -> Iterator[tuple[tuple[Standing, ...], str]]:
    """Yield the parts of the members from a cursor on, each with the cursor of the next one."""
    while True:
        try:
            part = bot.manager.members(cursor)
        except ValueError:
            fault = "no list has ended there; give the cursor as it was printed"
            raise typer.BadParameter(fault, param_hint="--cursor") from None
        yield part.members, part.cursor
        if not part.cursor:
            return
        cursor = part.cursor


def _cells(standing: Standing) -> Iterator[str]:
    yield from (standing.member_id, standing.channel, standing.place or "–")
    yield standing.since.strftime("%Y-%m-%d %H:%M:%S") if standing.since else "–"
    yield one_line("; ".join(each.words for each in standing.stuck))
