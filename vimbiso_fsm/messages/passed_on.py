"""What passes to the inbox of a person while the conversation is handed over, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import attrs

from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.value import Value

PassedKind: TypeAlias = Literal["begun", "said", "ended"]
"""What passes: the beginning of a hand-over, a message of the member, or the end of the hand-over."""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class PassedOn(Value):
    """What an inbox is given.

    Attributes:
        inbox: The name of the inbox.
        id: A name that is the same in each attempt to pass this on. An inbox that has taken it before takes it once.
        kind: "begun" when the conversation is handed over, "said" for each message of the member, "ended" when the bot
            has taken the conversation back.
        at: The instant at which it happened.
        member_id: The id of the conversation, to which `manager.say` speaks. A guest who logs in or is linked while a
            person has the conversation has the id of the member afterwards; the earlier one goes on to name them.
        channel: The member's channel.
        authenticated: Whether the member is logged in. Otherwise the speaker is not known to be the member.
        text: The words of the member, or the title of the button that they have pressed; empty without any.
        content: What the message carries beside words, as plain data, with its kind as "kind"; empty without one.
        by: The person or system that has begun or ended the hand-over; empty if the member, a flow or the timer has.
    """

    inbox: str
    id: str
    kind: PassedKind
    at: datetime
    member_id: str
    channel: Channel
    authenticated: bool = False
    text: str = attrs.field(default="", repr=False)
    content: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    by: str = ""
