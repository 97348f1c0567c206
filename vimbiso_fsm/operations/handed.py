"""The conversations that are handed over to persons, for operators.

The end of each hand-over is due at its member, seven days later at most. So the due sets name the members to look at,
and only the documents of members for whom something is due until then are read. Nothing is stored beside the documents
that could differ from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.engine.reading import Absent, Sound, open_document
from vimbiso_fsm.flow.inboxes import LONGEST_HAND_OVER
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.shared import due_members
from vimbiso_fsm.store.requests import Load, ReadDue
from vimbiso_fsm.store.retention import SHARDS

MOST_DUE = 1_000_000_000
"""The number of members of a shard that are looked at: all of them."""


@attrs.frozen
class HandedConversation:
    """A conversation that is handed over to a person, or of which something still waits for an inbox.

    Attributes:
        member_id: The id of the conversation, to which `manager.say` speaks.
        inbox: The name of the inbox.
        since: The instant at which the hand-over began; None if it has ended.
        until: The instant at which the bot takes the conversation back without a further word; None if it has ended.
        waiting: The number of things that the inbox has not taken yet.
        oldest: The instant of the oldest of them; None without any.
        tries: The number of attempts to pass that one on that have failed.
    """

    member_id: str
    inbox: str
    since: datetime | None = None
    until: datetime | None = None
    waiting: int = 0
    oldest: datetime | None = None
    tries: int = 0


@attrs.frozen
class HandedConversations:
    """The conversations of inboxes: first those whose hand-over has ended, then the others in the order of their ends.

    Attributes:
        conversations: The conversations.
        unread: The number of members whose documents cannot be read now: damaged ones, and encrypted ones without their
            key. Their next message, or the key, tells whether a person has them.
    """

    conversations: tuple[HandedConversation, ...]
    unread: int = 0


async def handed(context: Context, inbox: str = "") -> HandedConversations:
    """List the conversations that are handed over, and those of which something still waits for an inbox.

    Args:
        context: The context of the operation.
        inbox: The name of an inbox; "" for all.
    """
    found: list[HandedConversation] = []
    unread = 0
    until = context.now + LONGEST_HAND_OVER
    for shard in range(SHARDS):
        for member_id in await due_members(context, ReadDue(shard, until, MOST_DUE)):
            match open_document(context.bot, member_id, await Load(member_id), instant(context.now)):
                case Sound(document) if document.moved is None:
                    found += _of(document)
                case Sound() | Absent():
                    continue
                case _:
                    unread += 1
    chosen = [each for each in found if inbox in ("", each.inbox)]
    return HandedConversations(tuple(sorted(chosen, key=_ends)), unread)


def _of(document: Document) -> Iterator[HandedConversation]:
    handed = document.handed
    held = [] if handed is None else [handed.inbox]
    for name in dict.fromkeys([*held, *(item.inbox for item in document.passing)]):
        waiting = [item for item in document.passing if item.inbox == name]
        found = HandedConversation(document.member_id, name, waiting=len(waiting))
        if handed is not None and handed.inbox == name:
            found = attrs.evolve(found, since=handed.since, until=handed.until)
        yield attrs.evolve(found, oldest=waiting[0].at, tries=waiting[0].tries) if waiting else found


def _ends(each: HandedConversation) -> tuple[bool, str, str]:
    return each.until is not None, each.until.isoformat() if each.until else "", each.member_id
