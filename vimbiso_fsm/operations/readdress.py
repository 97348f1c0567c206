"""The way of a member to a new address that the channel tells: `link.py`, without an operator.

The new address is linked first and the former one is unlinked by the turn of the fact, so that the member is reached on
one of them at any time, and a fact that is told again completes what was begun. Nothing is merged: where the new
address is another member's, or a call is on its way there, an incident is recorded for the operator, and the former
address is unlinked all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from vimbiso_fsm.errors import CallPending, ChannelTaken
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.told import AddressChanged
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.link import link
from vimbiso_fsm.operations.names import BY, record_conflict


def new_channels(context: Context, event: AddressChanged, former: Channel) -> tuple[Channel, ...]:
    """Return the channel under each of its new names.

    Raises:
        InvalidMessage: A new name is none.
    """
    made = (Channel(former.type, name).with_account(former.account) for name in event.all_new)
    return tuple(map(context.bot.route, made))


async def readdress(context: Context, member_id: str, new: Sequence[Channel]) -> bool:
    """Link the new names of a member, if they are free; return whether the document was changed.

    Args:
        context: The context of the operation.
        member_id: The member.
        new: The channel under each of its new names.
    """
    changed = False
    for channel in new:
        try:
            changed |= (await link(context, member_id, channel, by=BY)).outcome == "linked"
        except (ChannelTaken, CallPending) as error:
            cause = "taken" if isinstance(error, ChannelTaken) else "call pending"
            await record_conflict(context, member_id, channel, cause)
    return changed
