"""What passes to the inbox of a person, and the beginning of a hand-over, which passes too.

It waits in the document (`Document.passing`) until the inbox has taken it, under a name that is the same in each
attempt. The commit of the turn leaves it to its own process for a time, so that a worker passes only what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from vimbiso_fsm.document.document import Document, Handed, Passing
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.flow.inboxes import Inbox
from vimbiso_fsm.messages.passed_on import PassedKind, PassedOn
from vimbiso_fsm.messages.replies import Text

PASSING_LEASE: Final = timedelta(seconds=30)
"""The time that the process of a turn has to pass its message on before a worker does."""
MOST_PASSING: Final = 32
"""The number of messages that may wait for an inbox. Further ones are refused in words."""
PASSING_BYTES: Final = 8 * 1024
"""The bytes of the messages that may wait for an inbox."""


def hand_over(draft: Draft, inbox: Inbox, by: str = "") -> None:
    """Hand the conversation over to an inbox, unless it is handed over already.

    Args:
        draft: The draft of the turn.
        inbox: The inbox.
        by: The person or system that does so; empty if it is the member or a flow.
    """
    if draft.handed is not None:
        return
    draft.handed = Handed(inbox.name, draft.now, until_of(draft.now, draft.now, inbox))
    draft.detail = {**draft.detail, "inbox": inbox.name, "handed": "over"}
    pass_on(draft, inbox.name, "begun", by=by)
    draft.say(handed_over(inbox))


def handed_over(inbox: Inbox) -> Text:
    """Return the words that tell a member of a hand-over, and of the word that leads back."""
    return Text("handed.over", word=inbox.back[0])


def until_of(now: datetime, since: datetime, inbox: Inbox) -> datetime:
    """Return the end of a hand-over that began at `since`, after a word at `now`."""
    return min(now + timedelta(seconds=inbox.idle), since + timedelta(seconds=inbox.limit))


def item_of(
    draft: Draft,
    inbox: str,
    kind: PassedKind,
    *,
    text: str = "",
    content: Mapping[str, Any] | None = None,
    by: str = "",
) -> Passing:
    """Return what passes to an inbox by this turn. The arguments are as in `Passing`."""
    id = draft.token[:16] if kind == "said" else f"{draft.token[:16]}.{kind}"
    return Passing(id, inbox, kind, draft.now, draft.now + PASSING_LEASE, text=text, content=content or {}, by=by)


def pass_on(draft: Draft, inbox: str, kind: PassedKind, *, by: str = "") -> None:
    """Pass the beginning or the end of a hand-over to an inbox."""
    draft.passing = (*draft.passing, item_of(draft, inbox, kind, by=by))


def fits(draft: Draft, item: Passing) -> bool:
    """Return whether a message has room among those that wait. The first one has, whatever its size."""
    waiting = draft.passing
    if not waiting:
        return True
    size = sum(len(dumps([each.text, each.content], "passing")) for each in (*waiting, item))
    return len(waiting) < MOST_PASSING and size <= PASSING_BYTES


def passed_on(document: Document, item: Passing) -> PassedOn:
    """Return what an inbox is given."""
    return PassedOn(
        inbox=item.inbox, id=item.id, kind=item.kind, at=item.at, member_id=document.member_id,
        channel=document.channel, authenticated=document.authenticated, text=item.text, content=item.content,
        by=item.by,
    )  # fmt: skip


def merged_handing(
    first: Document | None, then: Document | None, token: str, now: datetime
) -> tuple[Handed | None, tuple[Passing, ...]]:
    """Return the hand-over of a member who had two documents, and what waits for inboxes.

    That of the second document stays. Another inbox that had the conversation of the first one is told of the end.

    Args:
        first: The first document; None if there is none.
        then: The second document; None if there is none.
        token: The token of the merge.
        now: The time of the merge.
    """
    (lost, before), (kept, after) = (
        (None, ()) if each is None else (each.handed, each.passing) for each in (first, then)
    )
    passing = (*before, *after)
    if lost is not None and kept is not None and lost.inbox != kept.inbox:
        passing = (*passing, end_of(lost, token, now))
    return kept or lost, passing


def end_of(handed: Handed, token: str, now: datetime) -> Passing:
    """Return the end of a hand-over, which passes to its inbox, where no turn of the conversation ends it.

    Args:
        handed: The hand-over.
        token: The token of what ends it.
        now: The time.
    """
    return Passing(f"{token[:16]}.ended", handed.inbox, "ended", now, now)
