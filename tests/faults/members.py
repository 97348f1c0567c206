"""The members of the workload: their messages, the delivery of these, and the judgement of the answers.

A message that was not answered is delivered again, as webhooks do, until it is. So is a message whose answer no replica
has confirmed, where the store reports that, and a message whose call is pending, after the clock was moved past its
lease.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from functools import cached_property

import attrs

from tests.digests import guest_id, token_of
from tests.faults.clock import Clock
from tests.faults.records import Folder
from vimbiso_fsm.errors import NotAnswered
from vimbiso_fsm.flow.calls import STANDARD
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager

__all__ = ["PAST_LEASE", "Person", "deliver", "deliver_async", "judge"]

PAST_LEASE = STANDARD.lease + 1
"""Seconds after which no lease of a call is left."""
PERSEVERANCE = 120.0
"""Seconds after which a message counts as not answered."""
_ADDRESS = re.compile(r"\[(\d+)\]")


@attrs.frozen
class Person:
    """A member with a number, who confirms sales that are numbered from 1."""

    number: int
    confirmations: int = 0

    @property
    def channel(self) -> Channel:
        """The channel of the member."""
        return Channel("whatsapp", f"2637{self.number:08}")

    @property
    def member_id(self) -> str:
        """The member's id after the PIN was given."""
        return f"m-{self.channel.identifier}"

    @property
    def guest_id(self) -> str:
        """The member's id before that."""
        return guest_id(self.channel)

    @property
    def canary(self) -> str:
        """The member's PIN."""
        return f"canary-{self.channel.identifier}"

    def message(self, id: str | int, text: str) -> Message:
        """Return a message of the member."""
        return Message(self.channel, f"{self.channel.identifier}.{id}", text)

    @cached_property
    def messages(self) -> Sequence[Message]:
        """Return all messages of the member, in order."""
        texts = ["hi", self.canary]
        for number in range(1, self.confirmations + 1):
            texts += [str(number), "yes"]
        return [self.message(place, text) for place, text in enumerate(texts)]


def judge(person: Person, message: Message, outcome: Outcome, folder: Folder, *, again: bool) -> None:
    """Record that a message was answered, and what is wrong with the answer; with `again`, it was delivered before."""
    folder.note("answered", who=person.number, token=token_of(message), status=outcome.status)
    fair = ("advanced", "duplicate") if again else ("advanced",)
    if outcome.status not in fair:
        folder.note("wrong", what=f"{person.number}: message {message.id} came to {outcome.status!r}, not {fair}")
    if strangers := seen(person, outcome):
        folder.note("wrong", what=f"{person.number}: message {message.id} brought bytes of {strangers}")


def seen(person: Person, outcome: Outcome) -> set[str]:
    """Return the members whose bytes an outcome contains, other than its own."""
    said = "\n".join(reply.text for reply in outcome.replies)
    found = set(_ADDRESS.findall(said)) | {outcome.state.channel.identifier}
    return found - {person.channel.identifier}


def deliver(
    manager: FlowStateManager, person: Person, message: Message, folder: Folder, clock: Clock, *, again: bool = False
) -> Outcome | None:
    """Deliver a message until it is answered and its call has returned; with `again`, it may be a repeat."""
    until = time.monotonic() + PERSEVERANCE
    while time.monotonic() < until:
        try:
            outcome = manager.handle(message)
        except NotAnswered as error:
            folder.note("unanswered", who=person.number, error=type(error).__name__)
            time.sleep(0.02)
        else:
            if not outcome.confirmed:
                folder.note("unanswered", who=person.number, error="unconfirmed")
            else:
                judge(person, message, outcome, folder, again=again)
            if outcome.state.call is not None:
                clock.forward(PAST_LEASE)
            elif outcome.confirmed:
                folder.note("settled", token=token_of(message))
                return outcome
        again = True
    folder.note("wrong", what=f"{person.number}: message {message.id} was never answered")
    return None


async def deliver_async(
    manager: AsyncFlowStateManager,
    person: Person,
    message: Message,
    folder: Folder,
    clock: Clock,
    *,
    again: bool = False,
) -> Outcome | None:
    """Deliver a message until it is answered and its call has returned; the async `deliver`."""
    until = time.monotonic() + PERSEVERANCE
    while time.monotonic() < until:
        try:
            outcome = await manager.handle(message)
        except NotAnswered as error:
            folder.note("unanswered", who=person.number, error=type(error).__name__)
            await asyncio.sleep(0.02)
        else:
            if not outcome.confirmed:
                folder.note("unanswered", who=person.number, error="unconfirmed")
            else:
                judge(person, message, outcome, folder, again=again)
            if outcome.state.call is not None:
                clock.forward(PAST_LEASE)
            elif outcome.confirmed:
                folder.note("settled", token=token_of(message))
                return outcome
        again = True
    folder.note("wrong", what=f"{person.number}: message {message.id} was never answered")
    return None
