"""`vimbiso state`: the stored document of a member."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.cli.archive_options import Archive
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.member_argument import MemberArgument, member_id_of
from vimbiso_fsm.cli.plain_text import as_json, shown
from vimbiso_fsm.cli.store_options import Data, Namespace, OpenBot, Redis, opened
from vimbiso_fsm.document.codec import decode, document_to_raw
from vimbiso_fsm.engine.reading import refuse_encrypted
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow import privacy
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.store.requests import Load, ReadAudit, ReadRecords, Stored
from vimbiso_fsm.store.retention import RECORDS_KEPT

MASK: Final = 3 * privacy.MASK


def state(
    member: MemberArgument,
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    flows: Flows = None,
    archive: Archive = None,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="VERSION", min=1, help="The state at this version, if it is still kept."),
    ] = None,
) -> None:
    """Print a member's stored document as JSON.

    The token and secret fields are masked. With --at, the state at an earlier version is printed, from its turn record
    or from the document before the latest. Exit code 1 when nothing is stored, or when the document is damaged.
    """
    with opened(redis, data, namespace, flows, archive=archive) as bot:
        member_id = member_id_of(bot, member)
        if at is None:
            document = bot.manager.state(member_id)
            if document is None:
                fail(f"no document of {shown(member)} is stored")
            print(as_json(_masked(bot.manager.bot, document_to_raw(document)), indent=2))
        else:
            print(as_json(_state_at(bot, member, member_id, at), indent=2))


def _state_at(bot: OpenBot, member: str, member_id: str, at: int) -> Mapping[str, Any]:
    entries, records = bot.manager.ask(ReadAudit(member_id)), bot.manager.ask(ReadRecords(member_id))
    refuse_encrypted(member_id, *(record.body for record in records))
    try:
        past = FlowAuditLogger.state_at(at, entries, records)
    except Unreadable as error:
        fail(f"entry {at} of {shown(member)} cannot be read: {error}")
    past = past or _from_document(bot, member_id, at)
    if past is None:
        fail(f"no state of {shown(member)} at version {at} is kept; the latest {RECORDS_KEPT} turns are")
    return past


def _from_document(bot: OpenBot, member_id: str, at: int) -> Mapping[str, Any] | None:
    """Find the state of a version in the latest document or the previous one; both outlive the turn records."""
    stored = bot.manager.ask(Load(member_id, previous=True))
    for data in (stored.document, stored.previous) if isinstance(stored, Stored) else ():
        refuse_encrypted(member_id, data)
        with suppress(Unreadable):
            document = decode(data or b"")
            if document.version == at:
                found: Mapping[str, Any] = _masked(bot.manager.bot, document_to_raw(document))["flow_data"]
                return found
    return None


def _masked(bot: Bot, raw: dict[str, Any]) -> dict[str, Any]:
    """Mask the token, the fields that an author has marked `SECRET`, and the arguments and the answer of a call."""
    token = raw.get("jwt_token") and MASK
    profile = privacy.masked(raw.get("profile", {}), bot.secrets, MASK)
    masked = {**raw, "jwt_token": token, "profile": profile, "flow_data": _without_secrets(bot, raw["flow_data"])}
    if "_salt" in raw:
        masked["_salt"] = MASK
    if "_suspended" in raw:
        masked["_suspended"] = [
            {**run, "flow_data": _without_secrets(bot, run["flow_data"])} for run in raw["_suspended"]
        ]
    if "_reminders" in raw:
        masked["_reminders"] = [_reminder(bot, reminder) for reminder in raw["_reminders"]]
    if "_passing" in raw:
        hidden = {"text": MASK, "content": MASK}
        masked["_passing"] = [{**item, **{n: m for n, m in hidden.items() if n in item}} for item in raw["_passing"]]
    if "_call" in raw:
        call = {**raw["_call"], "arguments": dict.fromkeys(raw["_call"]["arguments"], MASK)}
        if "answer" in call:
            call["answer"] = {**call["answer"], "value": dict.fromkeys(call["answer"].get("value", {}), MASK)}
        masked["_call"] = call
    return masked


def _reminder(bot: Bot, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Mask the secret fields of the data with which a reminder opens its flow; without a flow, all of it."""
    data, flow = raw.get("data"), raw.get("flow")
    if not data:
        return raw
    return {**raw, "data": privacy.masked(data, bot.secrets_of(flow), MASK) if flow else MASK}


def _without_secrets(bot: Bot, flow_data: Mapping[str, Any]) -> Mapping[str, Any]:
    if not flow_data:
        return flow_data
    data = flow_data["data"]
    return {**flow_data, "data": privacy.masked(data, bot.secrets_of(data["flow_type"]), MASK)}
