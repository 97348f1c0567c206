"""A guest becomes a member: what the member's document takes over. The steps of the move are `exchange.py`'s.

The guest's last commit says where they went (`moved`). The member's document adopts the guest's run, session and
profile under a token made of the guest's id and version, so adopting twice is adopting once. A flow with answers in it
that was open at the member (on another channel, say) stays where it is: the member is in the middle of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from vimbiso_fsm.bot import Bot
from vimbiso_fsm.codec import document_to_raw, dumps
from vimbiso_fsm.conversation import has_answers, hashed
from vimbiso_fsm.decision import Decision
from vimbiso_fsm.errors import InvalidState
from vimbiso_fsm.flow_audit import AuditEntry, channel_digest
from vimbiso_fsm.state import Address, Document, Moved

__all__ = ["adopt", "is_adopted", "move_token"]


def move_token(guest_id: str, version: int) -> str:
    """The token under which a guest is adopted."""
    return hashed("move", guest_id, str(version))


def is_adopted(guest: Document, member: Document) -> bool:
    """Whether the guest's channel is the member's now."""
    return Address(*guest.channel.address) in member.channels


def adopt(bot: Bot, guest: Document, member: Document | None, now: datetime, *, version: int) -> Decision:
    """The member's document with the guest's state taken over. `member`: as stored, None when nothing is; `version`:
    of the member's head.

    Raises: InvalidState when the result breaks the rule book.
    """
    moved = guest.moved
    assert moved is not None
    document = _merged(bot, guest, member, moved, max(now, guest.last_updated), version)
    raw = document_to_raw(document)
    verdict = bot.validator.validate(raw)
    if not verdict.valid:
        raise InvalidState(verdict.faults)
    token = move_token(guest.member_id, moved.version)
    return Decision(
        status="advanced",
        document=document,
        replies=(),
        token=token,
        root=token,
        content="",
        raw=dumps(raw),
        record=dumps({"status": "advanced", "replies": [], "flow_data": raw["flow_data"]}),
        entry=_entry(guest, document, token),
    )


def _merged(bot: Bot, guest: Document, member: Document | None, moved: Moved, now: datetime, version: int) -> Document:
    address = Address(*guest.channel.address)
    changes: dict[str, Any] = {
        "member_id": moved.to,
        "guest": False,
        "moved": None,
        "version": version + 1,
        "last_updated": now,
        "channels": (address,),
    }
    if member is not None:
        changes["last_updated"] = max(now, member.last_updated)
        changes["channels"] = (*(known for known in member.channels if known != address), address)
        if _in_the_middle(bot, guest, member):
            changes |= {"run": member.run, "suspended": member.suspended, "call": member.call}
    return attrs.evolve(guest, **changes)


def _in_the_middle(bot: Bot, guest: Document, member: Document) -> bool:
    """Whether the member's own run must not make way for the guest's."""
    if guest.call is not None or member.run is None:
        return False
    return guest.run is None or member.call is not None or has_answers(bot, member.run)


def _entry(guest: Document, document: Document, token: str) -> AuditEntry:
    run = document.run
    return AuditEntry(
        version=document.version,
        at=document.last_updated,
        member_id=document.member_id,
        channel=channel_digest(document.channel),
        kind="move",
        status="advanced",
        token=token,
        root=token,
        dest=run.step if run else "",
        flow=run.flow if run else "",
        run=run.id if run else "",
        detail={"guest": guest.member_id, "guest_version": guest.moved.version if guest.moved else 0},
    )
