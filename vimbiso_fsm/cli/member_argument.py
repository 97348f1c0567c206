"""The argument that names a member: a member id, or a channel as `TYPE:IDENTIFIER` or `TYPE/ACCOUNT:IDENTIFIER`.

A channel without an account names its conversation with the bot, if there is only one. The index knows channels by
keyed digests that include the account, so the conversation is found by reading the documents.

A telephone number may be written as people write it, `whatsapp:+263 77 123 4567`: the modules of WhatsApp and SMS store
its digits.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final, TypeAlias

import typer

from vimbiso_fsm.channels.written import as_stored, is_number
from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import OpenStore
from vimbiso_fsm.document.codec import decode
from vimbiso_fsm.errors import InvalidMessage, Unreadable
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.words import plain
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.guests import find_guest, is_known
from vimbiso_fsm.store.requests import Broken, FindOwner, Load, ReadDigests, Scan, Store

EXAMPLE: Final = "whatsapp:+263771234567"
MEMBER_HELP: Final = (
    f"A member id, or a channel as TYPE:IDENTIFIER, e.g. {EXAMPLE}; with the bot's own account as "
    "TYPE/ACCOUNT:IDENTIFIER."
)
"""The help of each argument that names a member."""

MemberArgument: TypeAlias = Annotated[str, typer.Argument(metavar="MEMBER", help=MEMBER_HELP)]
MemberArguments: TypeAlias = Annotated[list[str] | None, typer.Argument(metavar="[MEMBER]...", help=MEMBER_HELP)]
OptionalMember: TypeAlias = Annotated[str | None, typer.Argument(metavar="[MEMBER]", help=MEMBER_HELP)]


def channel_of(address: str, language: str = "") -> Channel:
    """Read a channel from `TYPE:IDENTIFIER` or `TYPE/ACCOUNT:IDENTIFIER`. A telephone number becomes its digits.

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
        return Channel(type, as_stored(type, identifier), {"language": language} if language else {}).with_account(
            account
        )
    except InvalidMessage as error:
        form = f"a channel is TYPE:IDENTIFIER, e.g. {EXAMPLE}, or TYPE/ACCOUNT:IDENTIFIER"
        raise typer.BadParameter(f"{form}; {error.field} {error.fault}") from None


def member_id_of(at: OpenStore, member: str) -> str:
    """Find the id of the member that an argument names. A probable typing error is told on standard error.

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
    route, colon, rest = member.partition(":")
    type = route.partition("/")[0]
    if not colon or type not in at.channel_types:
        if not is_known(at.store.perform(Load(member))):
            _hint(_meant(at, type if colon else "", rest if colon else member))
        return member
    channel = channel_of(member)
    found, known = _conversation(at.store, channel)
    if known:
        return found
    if not channel.account and (only := _only_conversation(at.store, channel)):
        return only
    _hint(_elsewhere(at, channel))
    return found


def _conversation(store: Store, channel: Channel) -> tuple[str, bool]:
    """Return the id of the member that owns a channel, or of its guest, and whether anything is stored under it."""
    owner = store.perform(FindOwner(channel)).member_id
    if owner:
        return owner, True
    guest, stored = run(find_guest(store.perform(ReadDigests()), channel), store.perform)
    return guest, is_known(stored)


def _meant(at: OpenStore, type: str, rest: str) -> str:
    """Return the channel that a text probably means that names nothing stored; "" if there is none."""
    import difflib  # here, because only a mistake needs it

    if type:
        close = difflib.get_close_matches(type, sorted(at.channel_types), n=1)
        return f"{type!r} is no type of channel; did you mean {close[0]}:{rest}?" if close else ""
    return f"a channel has its type before it, such as whatsapp:{rest}" if is_number(rest) else ""


def _elsewhere(at: OpenStore, channel: Channel) -> str:
    """Return on which other types of channels the same identifier has a conversation."""
    others = (f"{type}:{channel.identifier}" for type in sorted(at.channel_types) if type != channel.type)
    found = [other for other in others if _conversation(at.store, channel_of(other))[1]]
    return f"nothing is stored of this channel; did you mean {' or '.join(found)}?" if found else ""


def _hint(text: str) -> None:
    if text:
        print(f"hint: {shown(text)}", file=sys.stderr)


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
