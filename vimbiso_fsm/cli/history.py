"""`vimbiso history` and `vimbiso incidents`: the audit of a member."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer

from vimbiso_fsm.audit.entries import AuditEntry, Incident
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.trail import earlier, read_entries, read_incidents, read_trail
from vimbiso_fsm.cli.archive_options import Archive
from vimbiso_fsm.cli.bot_options import OptionalFlows
from vimbiso_fsm.cli.display import print_table
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.member_argument import MemberArgument, OptionalMember, channel_of, member_id_of
from vimbiso_fsm.cli.plain_text import as_json, clean, shown
from vimbiso_fsm.cli.store_options import Data, Namespace, OpenStore, Redis, opened_store
from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.store.requests import ReadDigests

_T = TypeVar("_T")

COLUMNS: Final = ("version", "at", "member", "kind", "status", "flow", "from", "to", "trigger", "reasons")

Since: TypeAlias = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Not before this time: ISO 8601, UTC without a zone.")
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Not after this time: ISO 8601, UTC without a zone.")
]
OfFlow: TypeAlias = Annotated[str | None, typer.Option("--flow", metavar="NAME", help="Only those of this flow.")]
OfRun: TypeAlias = Annotated[str | None, typer.Option("--run", metavar="ID", help="Only those of this run of a flow.")]
OnChannel: TypeAlias = Annotated[
    str | None, typer.Option("--channel", metavar="TYPE:IDENTIFIER", help="Only those of this channel.")
]
Last: TypeAlias = Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the latest N of them.")]


def history(
    member: MemberArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: OptionalFlows = None,
    archive: Archive = None,
    last: Last = None,
    since: Since = None,
    until: Until = None,
    flow: OfFlow = None,
    run: OfRun = None,
    channel: OnChannel = None,
    json: Annotated[bool, typer.Option("--json", help="Whole entries, one JSON object per line.")] = False,
) -> None:
    """Print a member's audit entries, oldest first.

    The entries of the guest that the member was before come first. Entries that cannot be read are reported on standard
    error. Exit code 1 in that case, and when no entry is stored.
    """
    filters = filters_of(channel, flow, run, since, until)
    with opened_store(redis, data, namespace, flows, archive) as at:
        wanted = selection(at, filters)
        trail = read_trail(at.store, member_id_of(at, member))
        trails = (*earlier(at.store, trail), trail)
        entries = _latest(filter(wanted, chain.from_iterable(read_entries(each)[0] for each in trails)), last)
        faults = [*chain.from_iterable((*each.damaged, *read_entries(each)[1]) for each in trails)]
        if not entries and not faults:
            fail(f"no history of {shown(member)} is stored{' that these options select' if trail.entries else ''}")
        if json:
            for entry in entries:
                print(as_json(unstructure(entry)))
        elif entries:
            print_table(COLUMNS, map(_cells, entries), numbers=("version",))
        _report(faults)


def incidents(
    member: OptionalMember = None,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: OptionalFlows = None,
    archive: Archive = None,
    last: Last = None,
    since: Since = None,
    until: Until = None,
    flow: OfFlow = None,
    run: OfRun = None,
    channel: OnChannel = None,
) -> None:
    """Print incidents of a member, or of the store itself: events that changed no document.

    For example, a message id that was used twice, or a start on a server that the doctor refuses. Incidents are printed
    oldest first, one JSON object per line. Exit code 0 also when there is none; 1 when one cannot be read, which is
    reported on standard error.
    """
    filters = filters_of(channel, flow, run, since, until)
    with opened_store(redis, data, namespace, flows, archive) as at:
        wanted = selection(at, filters)
        trail = read_trail(at.store, None if member is None else member_id_of(at, member))
        found, faults = read_incidents(trail)
        for incident in _latest(filter(wanted, found), last):
            print(as_json(unstructure(incident)))
        _report([fault for fault in (*trail.damaged, *faults) if "incident" in fault])


def selection(at: OpenStore, filters: Mapping[str, Any]) -> Callable[[AuditEntry | Incident], bool]:
    """Return a function that tells whether an entry or an incident fits the filters, in the store that is open."""
    given = dict(filters)
    channel = given.pop("channel")
    shown = None if channel is None else at.store.perform(ReadDigests()).all_shown(channel)
    return partial(FlowAuditLogger.fits, channels=shown, **given)


def filters_of(
    channel: str | None, flow: str | None, run: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    """Return the filters of these options, for `selection`.

    Args:
        channel: `TYPE:IDENTIFIER`.
        flow: The name of a flow.
        run: The id of a run.
        since: A time.
        until: A time.

    Returns:
        The filters by name; None for one that is not given.

    Raises:
        typer.BadParameter: An option is neither a channel nor a time.
    """
    return {
        "channel": None if channel is None else channel_of(channel),
        "flow": flow,
        "run": run,
        "since": _time_of(since, "--since"),
        "until": _time_of(until, "--until"),
    }


def _time_of(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        fault = f"{shown(text)} is not a time; write it as 2026-11-22T09:15"
        raise typer.BadParameter(fault, param_hint=option) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _latest(found: Iterable[_T], last: int | None) -> tuple[_T, ...]:
    return tuple(deque(found, None if last is None else min(last, sys.maxsize)))


def _report(faults: Sequence[str]) -> None:
    """Print faults, and end with exit code 1 when there are any."""
    for fault in faults:
        print(f"error: {clean(fault)}", file=sys.stderr)
    if faults:
        raise typer.Exit(1)


def _cells(entry: AuditEntry) -> Iterator[str]:
    yield from (str(entry.version), entry.at.strftime("%Y-%m-%d %H:%M:%S"))
    yield from (entry.member_id, entry.kind, entry.status, entry.flow, entry.source, entry.dest, entry.trigger)
    refusals = [f"{guard}: {said}" for guard, said in entry.guards if said != "accepted"]
    yield ", ".join((*entry.codes, *refusals))
