"""Import of a member's record at the member's first message."""

from __future__ import annotations

import attrs

from vimbiso_fsm.audit.entries import Incident
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import RecordNotImported
from vimbiso_fsm.legacy.convert import ImportRecord
from vimbiso_fsm.legacy.declare import Declaration
from vimbiso_fsm.legacy.records import is_number
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import ReadLegacy
from vimbiso_fsm.store.requests import RecordIncident


@attrs.frozen
class Legacy(Declaration):
    """The conversion of records of the previous release, for `Bot(importer=…)`.

    Attributes:
        flows: The old flows whose runs are resumed.
        dropped: The names of old flows whose runs are ended. Their members keep everything else.
        profile: Returns the profile that is kept of a record; by default the record's own.
        account: Returns the account that is kept of a record; by default the record's own.
        member_of: Asks a service for the owner of a number: `(services, number) -> member id`, None when it has none.
    """

    async def import_record(self, context: Context, member_id: str, channel: Channel, /) -> bool:
        """Import the record of a channel. One that cannot be imported stays as it is, and an incident has the reason.

        Args:
            context: The context of the operation.
            member_id: The owner of the channel, or the guest on it.
            channel: The channel on which the member writes.

        Returns:
            Whether there is a record of the channel. If so, the store has to be read again.
        """
        number = context.bot.phone_of(channel)  # records are kept by number, and only its holder may take one over
        if not is_number(number):
            return False
        record = await ReadLegacy(number)
        if record is None:
            return False
        try:
            importing = ImportRecord(context.bot, record)
            if importing.state.channel.address != channel.address.without_account:
                return False
            await importing.run(context)
        except RecordNotImported as refusal:
            detail = {"field": refusal.field, "fault": refusal.fault}
            incident = Incident(
                instant(context.now), "legacy", member_id, context.bot.digests.shown(channel), detail=detail
            )
            await RecordIncident(member_id, incident.body)
        return True
