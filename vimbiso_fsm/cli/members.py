"""`vimbiso state`, `vimbiso history` and `vimbiso incidents`: what is stored of a member."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text as Styled

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.audit.trail import earlier, read_entries, read_incidents, read_trail
from vimbiso_fsm.cli.chat import channel_of
from vimbiso_fsm.cli.plain_text import as_json, clean, shown
from vimbiso_fsm.cli.store_options import Data, Flows, Opened, Redis, fail, opened
from vimbiso_fsm.document.codec import Unreadable, decode, document_to_raw, unstructure
from vimbiso_fsm.document.ids import guest_id
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import SECRET
from vimbiso_fsm.store.requests import FindOwner, Load, ReadAudit, ReadRecords, Stored
from vimbiso_fsm.store.retention import RECORDS_KEPT

T = TypeVar("T")

MASK: Final = "•••"
WIDTH: Final = 160
"""Columns of a table that goes to no terminal."""

Since: TypeAlias = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From then on; ISO 8601, UTC if it has no zone.")
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Until then; the end is included.")
]
OfFlow: TypeAlias = Annotated[str | None, typer.Option("--flow", metavar="NAME", help="Only what concerns this flow.")]
OfRun: TypeAlias = Annotated[str | None, typer.Option("--run", metavar="ID", help="Only what concerns this run.")]
OnChannel: TypeAlias = Annotated[
    str | None, typer.Option("--channel", metavar="TYPE:IDENTIFIER", help="Only what came by this channel.")
]
Who: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="MEMBER", help="A member id, or a channel as TYPE:IDENTIFIER, as in whatsapp:263771234567."),
]


def state(
    who: Who,
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    at: Annotated[
        int | None, typer.Option("--at", metavar="VERSION", min=1, help="Where they stood at a version still kept.")
    ] = None,
) -> None:
    """Print a member's stored document as JSON, secrets masked; with --at, the state that a turn record, or the
    document before, keeps.

    Exit code 1 when there is none, or when what is stored is damaged.
    """
    with opened(redis, data, flows) as bot:
        if at is not None:
            member_id = member_id_of(bot, who)
            kept = bot.manager.ask(ReadAudit(member_id)), bot.manager.ask(ReadRecords(member_id))
            try:
                past = FlowAuditLogger.state_at(at, *kept)
            except Unreadable as error:
                fail(f"entry {at} of {shown(who)} cannot be read: {error}")
            past = past or _whole_state_at(bot, member_id, at)
            if past is None:
                fail(f"no state of version {at} is kept of {shown(who)}; of the latest {RECORDS_KEPT} turns it is")
            print(as_json(past, indent=2))
            return
        document = bot.manager.state(member_id_of(bot, who))
        if document is None:
            fail(f"no document is stored of {shown(who)}")
        print(as_json(_masked(bot.manager.bot, document_to_raw(document)), indent=2))


def _whole_state_at(bot: Opened, member_id: str, at: int) -> Mapping[str, Any] | None:
    """The `flow_data` of that version as a whole document keeps it, longer than turn records are kept: the latest, or
    the one before it."""
    stored = bot.manager.ask(Load(member_id, previous=True))
    for data in (stored.document, stored.previous) if isinstance(stored, Stored) else ():
        with suppress(Unreadable):
            document = decode(data or b"")
            if document.version == at:
                found: Mapping[str, Any] = _masked(bot.manager.bot, document_to_raw(document))["flow_data"]
                return found
    return None


def history(
    who: Who,
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", min=1, help="Only the latest of these entries.")
    ] = None,
    since: Since = None,
    until: Until = None,
    flow: OfFlow = None,
    run: OfRun = None,
    channel: OnChannel = None,
    json: Annotated[bool, typer.Option("--json", help="Whole entries, one JSON object a line.")] = False,
) -> None:
    """Print a member's audit, oldest entry first, with that of the guest they were.

    What of it cannot be read is said on standard error, a line each. Exit code 1 then, or when there is none.
    """
    wanted = partial(FlowAuditLogger.fits, **filters_of(channel, flow, run, since, until))
    with opened(redis, data, flows) as bot:
        trail = read_trail(bot.store, member_id_of(bot, who))
        trails = (*earlier(bot.store, trail), trail)
        entries = _latest(filter(wanted, chain.from_iterable(read_entries(one)[0] for one in trails)), last)
        faults = [*chain.from_iterable((*one.damaged, *read_entries(one)[1]) for one in trails)]
        if not entries and not faults:
            fail(f"no history is stored of {shown(who)}{', of what was asked for' if trail.entries else ''}")
        if json:
            for entry in entries:
                print(as_json(unstructure(entry)))
        elif entries:
            _print_table(entries)
        _tell(faults)


def incidents(
    who: Annotated[
        str | None, typer.Argument(metavar="[MEMBER]", help="As for state; nobody: the store itself.")
    ] = None,
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the latest of these.")] = None,
    since: Since = None,
    until: Until = None,
    flow: OfFlow = None,
    run: OfRun = None,
    channel: OnChannel = None,
) -> None:
    """Print what happened and changed no document, oldest first, one JSON object a line: a message id used twice, a
    start on a server that the doctor refuses.

    Exit code 0 also when there is none; 1 when one cannot be read, which is said on standard error.
    """
    wanted = partial(FlowAuditLogger.fits, **filters_of(channel, flow, run, since, until))
    with opened(redis, data, flows) as bot:
        trail = read_trail(bot.store, None if who is None else member_id_of(bot, who))
        found, faults = read_incidents(trail)
        for incident in _latest(filter(wanted, found), last):
            print(as_json(unstructure(incident)))
        _tell([fault for fault in (*trail.damaged, *faults) if "incident" in fault])


def _latest(found: Iterable[T], last: int | None) -> tuple[T, ...]:
    return tuple(deque(found, last))


def _tell(faults: Sequence[str]) -> None:
    """Say what could not be read, and end."""
    for fault in faults:
        print(f"error: {clean(fault)}", file=sys.stderr)
    if faults:
        raise typer.Exit(1)


def filters_of(
    channel: str | None, flow: str | None, run: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    """What is asked for of an audit, as `FlowAuditLogger.fits` takes it."""
    return {
        "channel": None if channel is None else channel_of(channel),
        "flow": flow,
        "run": run,
        "since": _instant(since, "--since"),
        "until": _instant(until, "--until"),
    }


def _instant(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{shown(text)} is no time; say 2026-11-22T09:15", param_hint=option) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def member_id_of(bot: Opened, who: str) -> str:
    """Whom an argument names: who has the channel, else the guest there; without a known type it is an id."""
    type, colon, _ = who.partition(":")
    if not colon or type not in bot.manager.bot.validator.channel_types:
        return who
    channel = channel_of(who)
    return bot.store.perform(FindOwner(channel)).member_id or guest_id(channel)


def _masked(bot: Bot, raw: dict[str, Any]) -> dict[str, Any]:
    """A document without what nobody may read: the token, fields their flow's author marked `SECRET`, and what a
    call is made with."""
    token = raw.get("jwt_token") and MASK
    masked = {**raw, "jwt_token": token, "flow_data": _without_secrets(bot, raw["flow_data"])}
    if "_suspended" in raw:
        masked["_suspended"] = [
            {**run, "flow_data": _without_secrets(bot, run["flow_data"])} for run in raw["_suspended"]
        ]
    if "_call" in raw:
        masked["_call"] = {**raw["_call"], "arguments": dict.fromkeys(raw["_call"]["arguments"], MASK)}
    return masked


def _without_secrets(bot: Bot, flow_data: Mapping[str, Any]) -> Mapping[str, Any]:
    if not flow_data:
        return flow_data
    flows = bot.definitions(flow_data["data"]["flow_type"])
    fields = [item for flow in flows for item in flow.fields.items()]
    secret = {name for name, field in fields if field.metadata.get("vimbiso") == SECRET["vimbiso"]}
    data = {name: MASK if name in secret and value else value for name, value in flow_data["data"].items()}
    return {**flow_data, "data": data}


def _print_table(entries: tuple[AuditEntry, ...]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("version", "at", "member", "kind", "status", "flow", "from", "to", "trigger", "said of it"):
        table.add_column(name, overflow="fold", justify="right" if name == "version" else "left")
    for entry in entries:
        table.add_row(*(Styled(clean(cell)) for cell in _cells(entry)))
    console.print(table)


def _cells(entry: AuditEntry) -> Iterator[str]:
    yield str(entry.version)
    yield entry.at.strftime("%Y-%m-%d %H:%M:%S")
    yield entry.member_id
    yield entry.kind
    yield entry.status
    yield entry.flow
    yield entry.source
    yield entry.dest
    yield entry.trigger
    refusals = [f"{guard}: {said}" for guard, said in entry.guards if said != "accepted"]
    yield ", ".join((*entry.codes, *refusals))
