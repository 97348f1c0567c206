"""The way of a member to a new address that the channel tells: `link.py`, without an operator.

The new address is linked first and the former one is unlinked by the turn of the fact, so that the member is reached on
one of them at any time, and a fact that is told again completes what was begun. Nothing is merged: where the new
address is another member's, or a call is on its way there, an incident is recorded for the operator, and the former
address is unlinked all the same.
"""

from __future__ import annotations

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import CallPending, ChannelTaken
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.told import AddressChanged
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.link import link
from vimbiso_fsm.store.requests import RecordIncident


def new_channel(context: Context, event: AddressChanged, former: Channel) -> Channel:
    """Return the channel with the new address.

    Raises:
        InvalidMessage: The new address is none.
    """
    return context.bot.route(Channel(former.type, event.new).with_account(former.account))


async def readdress(context: Context, member_id: str, new: Channel) -> bool:
    """Link the new address of a member, if it is free; return whether the document was changed.

    Args:
        context: The context of the operation.
        member_id: The member.
        new: The channel with the new address.
    """
    try:
        return (await link(context, member_id, new)).outcome == "linked"
    except (ChannelTaken, CallPending) as error:
        cause = "taken" if isinstance(error, ChannelTaken) else "call pending"
        incident = Incident(
            instant(context.now), "address", member_id, context.bot.digests.shown(new), detail={"cause": cause}
        )
        await RecordIncident(member_id, incident.body)
        return False
