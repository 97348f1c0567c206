"""`vimbiso chat`: one member on one channel, at a terminal or through a pipe."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, Final

import typer

from vimbiso_fsm.channels import terminal
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.chat_commands import answer
from vimbiso_fsm.cli.chat_session import ChatSession
from vimbiso_fsm.cli.member_argument import channel_of
from vimbiso_fsm.cli.plain_text import clean, lines, shown
from vimbiso_fsm.cli.services import Services
from vimbiso_fsm.cli.store_options import Namespace, OptionalData, OptionalRedis, opened
from vimbiso_fsm.errors import DamagedDocument
from vimbiso_fsm.messages.proof import proven_phone
from vimbiso_fsm.store.requests import ReadDigests
from vimbiso_fsm.testing.reloading import Reloading

DEFAULT_CHANNEL: Final = "terminal:you"


def chat(
    redis: OptionalRedis = None,
    data: OptionalData = None,
    namespace: Namespace = "",
    flows: Flows = None,
    services: Services = None,
    channel: Annotated[
        str, typer.Option("--channel", metavar="TYPE:IDENTIFIER", help="The channel that the messages come from.")
    ] = DEFAULT_CHANNEL,
    phone: Annotated[
        str,
        typer.Option(
            "--phone",
            metavar="NUMBER",
            help="Stand for the telephone of this number, for development: the channel is terminal:NUMBER, and the bot "
            "takes the number for proven.",
        ),
    ] = "",
    language: Annotated[
        str, typer.Option("--language", metavar="TAG", help="The language that the channel names, e.g. sn or en-ZW.")
    ] = "",
) -> None:
    """Talk to a bot, at the terminal or through a pipe.

    At the terminal: type a message; answer a choice by its number, its title or its words; leave with Ctrl-D or Ctrl-C.
    Through a pipe: each line that is not blank is a message. It is repeated after '> ', and its replies follow. Exit
    code 1 when a message could not be saved. Without --redis and --data, nothing is kept after the command. An
    exception in the code of the bot or of a service is shown on standard error, with its traceback.

    A line such as ":state" is a command and no message; ":help" lists them. At the terminal, a flow that was changed is
    loaded anew before the next line, and what a timer says is shown when it is due.
    """
    if phone and channel != DEFAULT_CHANNEL:
        raise typer.BadParameter("--phone and --channel name two channels; give one of them")
    if phone and not proven_phone("phone", phone):
        raise typer.BadParameter("--phone: give a number with the country code, as digits, e.g. 263771234567")
    address = channel_of(f"terminal:{phone.removeprefix('+')}" if phone else channel, language)
    with opened(
        redis, data, namespace, flows, services, fresh=True, handles=True, debug=True, phone=bool(phone)
    ) as bot:
        if address.type not in bot.channel_types:
            raise typer.BadParameter(
                f"--channel: {address.type!r} is not a channel type of the bot; add it to Bot(channels=[…])"
            )
        with suppress(DamagedDocument):  # a turn recovers from damage; this only checks that the store answers
            bot.manager.state(bot.store.perform(ReadDigests()).guest_id(address))
        session = ChatSession(bot, address, Reloading(flows or ""))
        if sys.stdin is not None and sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]  # closed: None
            from vimbiso_fsm.cli.chat_terminal import at_terminal  # its prompt is 4 MB, which no other command needs

            at_terminal(session)
        else:
            _from_pipe(session)
    if session.unsaved:
        raise typer.Exit(1)


def _from_pipe(session: ChatSession) -> None:
    from vimbiso_fsm.cli.chat_terminal import heard_lines

    texts = (line.decode("utf-8", "replace") for line in (lines(sys.stdin.buffer) if sys.stdin else ()))
    for number, text in enumerate(filter(str.strip, texts)):
        if number:
            print()
        print(f"> {shown(text)}", flush=True)
        answered = answer(session, text)
        if answered is None:
            print("\n\n".join(terminal.render(session.channel, session.say(text))), flush=True)
        else:
            said, heard = answered
            print("\n".join(map(clean, [*said, *heard_lines(session, heard)])), flush=True)
