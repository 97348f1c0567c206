"""A guest becomes a member: the steps of the move, and what the member's document takes over.

    ReadInherited   the guest's tokens and records
    Load            the member's document, if there is one
    Commit          at the member: the guest's state, tokens and records in one
    Link            the channel is the member's
    Wipe            nothing of them stays at the guest but tokens and audit, which says where they went

Each step may be repeated, by anybody; whoever meets the guest's `moved` begins again at the top.

The guest's last commit says where they went (`moved`). The member's document adopts the guest's run, session and
profile under a token made of the guest's id and version, so adopting twice is adopting once, for as long as tokens are
remembered; what is older is not adopted any more. A flow with answers in it
that was open at the member (on another channel, say) stays where it is: the member is in the middle of it. When the
member has been heard of since the guest was, their session is the later one, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, entry_for, seal
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.document.document import Address, Document, Moved
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.engine.commit import Decision, as_stored, commit_of, decision_of
from vimbiso_fsm.engine.draft import has_answers
from vimbiso_fsm.engine.reading import faults, leave_to_newer
from vimbiso_fsm.engine.upgrade import migrated
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.store.requests import (
    Broken,
    Committed,
    Conflict,
    Duplicate,
    Head,
    Inherited,
    Late,
    Link,
    Linked,
    Load,
    Quarantine,
    ReadInherited,
    Request,
    SetWakeUp,
    Stored,
    Wipe,
)
from vimbiso_fsm.store.retention import TOKEN_LIFE


def move_token(guest_id: str, version: int) -> str:
    """The token under which a guest is adopted."""
    return hashed("move", guest_id, str(version))


class Move:
    """One guest on the move. Perform `request` and give the result to `take`, until `request` is None.

    Then `document`, at `head`, is the member's with the guest's state in it. It is None when the channel is not the
    member's any more: nobody's (`owner` is None), so that whoever writes there is a guest again, or `owner`'s.
    `told`: what observers are to be told. `conflicts`: how often somebody else wrote first. `confirmed`: whether the
    adoption is kept as safely as was asked for.

    Raises (from `take`): DamagedDocument; InvalidState; NewerState.
    """

    def __init__(self, bot: Bot, guest: Document, head: Head) -> None:
        """`guest`: the document that has `moved`, at its `head`."""
        assert guest.moved is not None
        self._guest_head = head
        self._bot, self._guest, self._moved = bot, guest, guest.moved
        self._inherited = Inherited()
        self.head = Head()
        self.document: Document | None = None
        self.owner: str | None = None
        self.told: list[CommitEvent] = []
        self.conflicts = 0
        self.confirmed = True
        self.request: Request | None = ReadInherited(guest.member_id)
        self._then: Callable[[Any, datetime], None] = self._inherits

    def take(self, result: object, now: datetime) -> None:
        """Go on with the result of `request`."""
        self.request = None
        self._then(result, now)

    def _do(self, request: Request, then: Callable[[Any, datetime], None]) -> None:
        self.request, self._then = request, then

    def _inherits(self, inherited: Inherited, _: datetime) -> None:
        self._inherited = inherited
        self._do(Load(self._moved.to), self._adopt)

    def _adopt(self, stored: Stored | Broken | Conflict, now: datetime) -> None:
        """Take the guest's state over, into what is stored of the member now."""
        if isinstance(stored, Conflict):
            stored = stored.current
        if isinstance(stored, Broken):
            return self._do(Quarantine(self._moved.to, stored.head), self._adopt)
        if now - self._guest.last_updated >= timedelta(seconds=TOKEN_LIFE):  # nobody knows whether it was adopted
            return self._leave(now)
        member = faults(self._bot, stored.document)[0] if stored.document is not None else None
        if stored.document is not None and member is None:
            leave_to_newer(self._bot, self._moved.to, stored.document, now)
            return self._do(Quarantine(self._moved.to, stored.head), self._adopt)
        adoption = adopt(self._bot, self._guest, member, now, version=stored.head.version)
        commit = attrs.evolve(commit_of(adoption, stored.head), inherited=self._inherited)
        self._do(commit, lambda result, now: self._adopted(adoption, result, now))

    def _adopted(self, adoption: Decision, result: Any, now: datetime) -> None:
        match result:
            case Committed():
                assert adoption.entry is not None
                self.told.append(CommitEvent(adoption.entry, self.conflicts + 1, result.head.digest))
                self.head, self.document = result.head, adoption.document
                self.confirmed = result.confirmed
                self._link()
            case Duplicate():
                current = result.current
                member = faults(self._bot, current.document)[0] if current.document is not None else None
                if member is not None and Address(*self._guest.channel.address) in member.channels:
                    self.head, self.document = current.head, member
                    self._link()
                else:  # it was adopted once, and the channel was taken from the member since
                    self._leave(now)
            case Conflict() | Late():
                self.conflicts += 1
                self._adopt(result.current, now)
            case Broken():
                self._adopt(result, now)
            case _:
                raise DamagedDocument(self._moved.to, "it was changed under the token of a move")

    def _link(self) -> None:
        self._do(Link(self._guest.channel, self._moved.to), self._linked)

    def _linked(self, linked: Linked, now: datetime) -> None:
        if linked.member_id != self._moved.to:
            self.owner, self.document = linked.member_id, None
        if self.confirmed:  # else the guest's wake-up stays: whoever wakes them looks again
            self._leave(now)

    def _leave(self, now: datetime) -> None:
        """Nothing stays at the guest but what keeps the past true."""
        farewell = _farewell(self._guest, self._guest_head, now)
        sealed = seal(farewell, b"", self._guest_head.digest)
        wipe = Wipe(self._guest.member_id, self._guest_head, sealed)
        self._do(wipe, lambda result, _: self._wiped(CommitEvent(farewell, 1, sealed.digest), result))

    def _wiped(self, farewell: CommitEvent, result: Any) -> None:
        if isinstance(result, Committed):
            return self.told.append(farewell)
        # What was set aside of a broken guest stays for an operator, and the guest with it; or somebody was quicker.
        self._do(SetWakeUp(self._guest.member_id, self._guest_head), lambda result, now: None)


def adopt(bot: Bot, guest: Document, member: Document | None, now: datetime, *, version: int) -> Decision:
    """The member's document with the guest's state taken over. `member`: as stored, None when nothing is; `version`:
    of the member's head.

    Raises: InvalidState when the result breaks the rule book.
    """
    moved = guest.moved
    assert moved is not None
    document, data = as_stored(bot, _merged(bot, guest, member, moved, max(now, guest.last_updated), version))
    return decision_of(bot, document, data, _entry(guest, member, document, move_token(guest.member_id, moved.version)))


def _merged(bot: Bot, guest: Document, member: Document | None, moved: Moved, now: datetime, version: int) -> Document:
    address = Address(*guest.channel.address)
    changes: dict[str, Any] = {
        "member_id": moved.to,
        "guest": False,
        "moved": None,
        "version": version + 1,
        "last_updated": now,
        "channels": (address,),
        "upgraded": (),
    }
    if member is not None:
        changes["last_updated"] = max(now, member.last_updated)
        changes["channels"] = (*(known for known in member.channels if known != address), address)
        if _in_the_middle(bot, guest, member):
            changes |= {"run": member.run, "suspended": member.suspended, "call": member.call}
        changes["outbox"] = (*member.outbox, *guest.outbox)
        if member.last_updated > guest.last_updated:  # they may have logged out since: that is final
            changes |= {name: getattr(member, name) for name in _SESSION}
    return attrs.evolve(guest, **changes).at(changes["last_updated"])


_SESSION: Final = ("authenticated", "jwt_token", "token", "deadline", "session_since", "warn_at")
"""What belongs together: of two sessions the later one goes on."""


def _in_the_middle(bot: Bot, guest: Document, member: Document) -> bool:
    """Whether the member's own run must not make way for the guest's."""
    if member.run is None or member.call is not None:
        return member.call is not None
    return guest.call is None and (guest.run is None or has_answers(bot, member.run))


def _farewell(guest: Document, head: Head, now: datetime) -> AuditEntry:
    """The last entry of a guest: where they went."""
    token = hashed("farewell", guest.member_id, str(head.version))
    assert guest.moved is not None
    return entry_for(
        "wipe",
        token,
        member_id=guest.member_id,
        version=head.version + 1,
        at=max(now, guest.last_updated),
        channel=guest.channel,
        detail={"moved_to": guest.moved.to},
    )


def _entry(guest: Document, member: Document | None, document: Document, token: str) -> AuditEntry:
    return entry_for(
        "move",
        token,
        member_id=document.member_id,
        version=document.version,
        at=document.last_updated,
        channel=document.channel,
        run=document.run,
        detail={"guest": guest.member_id, "guest_version": guest.moved.version if guest.moved else 0}
        | migrated(guest, member),
    )
