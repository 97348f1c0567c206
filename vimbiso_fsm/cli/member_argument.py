"""The argument that names a member: a member id, or a channel as `TYPE:IDENTIFIER` or `TYPE/ACCOUNT:IDENTIFIER`.

A channel without an account names its conversation with the bot, if there is only one. The index knows channels by
keyed digests that include the account, so the conversation is found by reading the documents.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import typer

from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import OpenStore
from vimbiso_fsm.document.codec import decode
from vimbiso_fsm.errors import InvalidMessage, Unreadable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.words import plain
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.guests import find_guest, is_known
from vimbiso_fsm.store.requests import Broken, FindOwner, Load, ReadDigests, Scan, Store

EXAMPLE: Final = "whatsapp:263771234567"

MemberArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="MEMBER",
        help=f"A member id, or a channel as TYPE:IDENTIFIER, e.g. {EXAMPLE}; with the bot's own account as "
        "TYPE/ACCOUNT:IDENTIFIER.",
    ),
]


def channel_of(address: str, language: str = "") -> Channel:
    """Read a channel from `TYPE:IDENTIFIER` or `TYPE/ACCOUNT:IDENTIFIER`.

    Args:
        address: The text.
        language: The language tag that the channel knows of the member; "" for none.

    Returns:
        The channel.

    Raises:
        typer.BadParameter: The text names no channel.
    """
    route, _, identifier = address.partition(":")
    type, _, account = route.partition("/")
    try:
        return Channel(type, identifier, {"language": language} if language else {}).with_account(account)
    except InvalidMessage as error:
        form = f"a channel is TYPE:IDENTIFIER, e.g. {EXAMPLE}, or TYPE/ACCOUNT:IDENTIFIER"
        raise typer.BadParameter(f"{form}; {error.field} {error.fault}") from None


def member_id_of(at: OpenStore, member: str) -> str:
    """Find the id of the member that an argument names.

    Args:
        at: The store with the channel types that it knows.
        member: A member id, or a channel. A text that begins with no known type is an id.

    Returns:
        The id of the member that owns the channel, of the channel's guest, or the id as it was given.

    Raises:
        typer.BadParameter: The argument is not valid UTF-8, so no member has it; or it is a channel without an account
            that has conversations with several.
    """
    if plain(member) != member:
        raise typer.BadParameter(f"{shown(member)!r} is not valid UTF-8; give the member as `vimbiso` prints it")
    route, colon, _ = member.partition(":")
    if not colon or route.partition("/")[0] not in at.channel_types:
        return member
    channel = channel_of(member)
    owner = at.store.perform(FindOwner(channel)).member_id
    if owner:
        return owner
    guest, stored = run(find_guest(at.store.perform(ReadDigests()), channel), at.store.perform)
    return guest if channel.account or is_known(stored) else _only_conversation(at.store, channel) or guest


def _only_conversation(store: Store, channel: Channel) -> str:
    """Return the id of the one conversation of a channel with any account of the bot; "" if there is none.

    Raises:
        typer.BadParameter: There are several; the message names their accounts.
    """
    found = {id: accounts for id in store.perform(Scan()) if (accounts := _accounts_at(store, id, channel))}
    if len(found) > 1:
        names = ", ".join(sorted(set[str]().union(*found.values())))
        raise typer.BadParameter(
            f"the channel has {len(found)} conversations, with the accounts {names}; give TYPE/ACCOUNT:IDENTIFIER"
        )
    return next(iter(found), "")


def _accounts_at(store: Store, member_id: str, channel: Channel) -> set[str]:
    """Return the accounts with which a member's document names a channel; none if the document is damaged."""
    stored = store.perform(Load(member_id))
    if isinstance(stored, Broken) or stored.document is None:
        return set()
    try:
        document = decode(stored.document)
    except Unreadable:
        return set()
    known = (document.channel.address,) if document.guest else document.channels
    return {address.account for address in known if address.without_account == channel.address}
