"""The claim of a store by a bot: a store names its owner, and another bot is refused.

The record of the owner has the layout of the store, the name of the bot, and the flows that it had. A bot with a name
owns a store under this name. Where one of the two has no name, the flows decide: a bot that knows every flow of the
owner is the owner, perhaps in a newer release, and so is one that has no flow beyond those, in an older release. A flow
that a release has dropped is known as long as `Bot(dropped=…)` names it.
"""

from __future__ import annotations

import attrs

from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.errors import AnotherBotsStore, UnknownLayout, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.store.layout import LAYOUT, OLDEST_LAYOUT
from vimbiso_fsm.store.requests import Claim, ReadOwner


@attrs.frozen
class Owner:
    """The owner of a store.

    Attributes:
        layout: The layout of the store.
        bot: The name of the bot; empty if it has none.
        flows: The names of the flows that the bot had in any release.
    """

    layout: int
    bot: str = ""
    flows: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The owner in words."""
        flows = ", ".join(self.flows)
        return f"bot {self.bot!r}" if self.bot else f"a bot without a name, with the flows {flows}"


def owner_of(bot: Bot) -> Owner:
    """Return a bot as the owner of a store of this release."""
    return Owner(LAYOUT, bot.name, tuple(sorted(bot.machines.keys() - {CARRY_ON.name})))


def encode_owner(owner: Owner) -> bytes:
    """Return the record of an owner."""
    return dumps({"layout": owner.layout, "bot": owner.bot, "flows": owner.flows})


def decode_owner(record: bytes) -> Owner:
    """Return the owner in a record. Further fields, of a newer layout, are ignored.

    Raises:
        UnknownLayout: It is no record of an owner.
    """
    try:
        raw = loads(record)
        owner = Owner(raw["layout"], raw["bot"], tuple(raw["flows"]))
    except (Unreadable, KeyError, TypeError) as error:
        raise UnknownLayout(0, LAYOUT) from error
    if type(owner.layout) is not int or not isinstance(owner.bot, str):
        raise UnknownLayout(0, LAYOUT)
    return owner


def judged(bot: Bot, found: Owner) -> Owner:
    """Return the owner of a store after a bot has started on it.

    Args:
        bot: The bot.
        found: The owner that the store names.

    Raises:
        AnotherBotsStore: The store belongs to another bot.
        UnknownLayout: The store has a layout that this release cannot use.
    """
    if not OLDEST_LAYOUT <= found.layout <= LAYOUT:
        raise UnknownLayout(found.layout, LAYOUT)
    asking = owner_of(bot)
    flows, here = {*found.flows}, {*asking.flows}
    if not _is_owner(bot, found, here):
        gone = sorted(flows - here - bot.dropped)
        raise AnotherBotsStore(found.words, asking.words, tuple(gone))
    return Owner(LAYOUT, bot.name or found.bot, tuple(sorted(flows | here)))


def _is_owner(bot: Bot, found: Owner, flows: set[str]) -> bool:
    """Whether a bot with these flows is the owner that a store names."""
    if found.bot and bot.name:
        return found.bot == bot.name
    return {*found.flows} <= flows | bot.dropped or flows <= {*found.flows}


async def claim(bot: Bot) -> None:
    """Record a bot as the owner of the store, or check that it is.

    It is one read when nothing changes. Two bots that start on a new store at the same time do not both become its
    owner.

    Raises:
        AnotherBotsStore: The store belongs to another bot; nothing was stored.
        UnknownLayout: The store has a layout that this release cannot use; nothing was stored.
    """
    record = await ReadOwner()
    while True:
        owner = encode_owner(owner_of(bot) if record is None else judged(bot, decode_owner(record)))
        if record == owner:
            return
        record = await Claim(owner, record)
