"""`vimbiso chat`: one member on one channel, at a terminal or through a pipe."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text as Styled

from vimbiso_fsm.channels import terminal
from vimbiso_fsm.channels.plain import options, question
from vimbiso_fsm.cli.bot_options import Flows
from vimbiso_fsm.cli.member_argument import channel_of
from vimbiso_fsm.cli.plain_text import clean, lines, shown
from vimbiso_fsm.cli.services import Services
from vimbiso_fsm.cli.store_options import Data, Namespace, OpenBot, OptionalRedis, opened
from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, VimbisoError
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.proof import proven_phone
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.store.requests import ReadDigests

DEFAULT_CHANNEL: Final = "terminal:you"

NOT_SAVED: Final = Text("Sorry, that could not be saved. Please say it again.")
NOT_KNOWN: Final = Text("Sorry, we do not know whether that was saved. Say menu to see where you are.")


def chat(
    redis: OptionalRedis = None,
    data: Data = None,
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
        conversation = _Conversation(bot, address)
        if sys.stdin is not None and sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]  # closed: None
            _at_terminal(conversation, bot.kept)
        else:
            _from_pipe(conversation)
    if conversation.unsaved:
        raise typer.Exit(1)


class _Conversation:
    """The messages of one process to the bot, with unique ids.

    Attributes:
        channel: The channel that the messages come from.
        unsaved: The number of messages that could not be saved.
    """

    def __init__(self, bot: OpenBot, channel: Channel) -> None:
        self._bot = bot
        self.channel = channel
        self._ids = (f"{nonce}-{number}" for nonce in [secrets.token_hex(8)] for number in count(1))
        self.unsaved = 0

    def say(self, text: str) -> tuple[Reply, ...]:
        """Send a message, and return the replies; an apology when it could not be saved."""
        try:
            return self._bot.manager.handle(Message(self.channel, next(self._ids), text=text)).replies
        except VimbisoError as error:
            self.unsaved += 1
            print(f"error: {clean(str(error))}", file=sys.stderr)
            return (NOT_KNOWN if isinstance(error, CommitUnknown) else NOT_SAVED,)


def _from_pipe(conversation: _Conversation) -> None:
    texts = (line.decode("utf-8", "replace") for line in (lines(sys.stdin.buffer) if sys.stdin else ()))
    for number, text in enumerate(filter(str.strip, texts)):
        if number:
            print()
        print(f"> {shown(text)}", flush=True)
        print("\n\n".join(terminal.render(conversation.channel, conversation.say(text))), flush=True)


def _at_terminal(conversation: _Conversation, kept: bool) -> None:
    notes = Console(stderr=True, highlight=False)
    console = Console(highlight=False)
    if not kept:
        notes.print("Nothing is kept after this chat; --data DIR keeps it.", style="dim")
    notes.print("Type a message; Ctrl-D leaves.\n", style="dim")
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            text = input("> ")
            if text.strip():
                _print_replies(console, conversation.say(text))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the closing
    notes.print("\nGoodbye.", style="dim")


def _print_replies(console: Console, replies: Iterable[Reply]) -> None:
    for reply in replies:
        words = Styled(clean(question(reply)))
        for number, option in enumerate(options(reply), 1):
            words.append(f"\n{number:>2}. ", style="bold cyan").append(clean(option.title))
            if option.description:
                words.append(f"  {clean(option.description)}", style="dim")
        if words:
            console.print(words, end="\n\n", soft_wrap=False)
