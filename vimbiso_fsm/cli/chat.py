"""`vimbiso chat`: a person at a terminal, or a pipe, as one member on one channel."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text as Styled

from vimbiso_fsm.channels import terminal
from vimbiso_fsm.channels.plain import options, question
from vimbiso_fsm.cli.plain_text import clean, lines, shown
from vimbiso_fsm.cli.store_options import Core, Data, Flows, Opened, Redis, opened
from vimbiso_fsm.document.ids import guest_id
from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, InvalidMessage, VimbisoError
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text

SOMEBODY: Final = "terminal:263779990001"
"""Whom the simulated credex-core does not know: it takes the identifier for a telephone number."""

NOT_SAVED: Final = Text("Sorry, that could not be saved. Please say it again.")
NOT_KNOWN: Final = Text("Sorry, we do not know whether that was saved. Say menu to see where you are.")


def chat(
    redis: Redis = None,
    data: Data = None,
    flows: Flows = "flows",
    core: Core = None,
    channel: Annotated[
        str, typer.Option("--channel", metavar="TYPE:IDENTIFIER", help="Who talks, and how they are reached.")
    ] = SOMEBODY,
    language: Annotated[
        str, typer.Option("--language", metavar="TAG", help="Their language, as some channels know it: sn, en-ZW …")
    ] = "",
) -> None:
    """Talk to the bot.

    At a terminal: type a message; a choice by its number, its title or its words; Ctrl-D or Ctrl-C to leave. From a
    pipe: every line that is not blank is a message; it is repeated after '> ', with the replies below it, and the
    exit code is 1 when one of them could not be saved. Without --redis and --data every run starts afresh.
    """
    address = channel_of(channel, language)
    with opened(redis, data, flows, fresh=True, core=core) as bot:
        if address.type not in bot.manager.bot.validator.channel_types:
            raise typer.BadParameter(f"--channel: {address.type!r} is no type of channel that the bot knows")
        with suppress(DamagedDocument):  # a turn sets it aside; here it only matters that the store answers
            bot.manager.state(guest_id(address))
        conversation = _Conversation(bot, address)
        if sys.stdin is not None and sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]
            _at_a_terminal(conversation, bot.kept)
        else:
            _from_a_pipe(conversation)
    if conversation.unsaved:
        raise typer.Exit(1)


def channel_of(address: str, language: str = "") -> Channel:
    """The channel that `TYPE:IDENTIFIER` names, and the language that it knows of.

    Raises: typer.BadParameter.
    """
    type, _, identifier = address.partition(":")
    try:
        return Channel(type, identifier, {"language": language} if language else {})
    except InvalidMessage as error:
        raise typer.BadParameter(
            f"a channel is TYPE:IDENTIFIER, as in {SOMEBODY}; {error.field} {error.fault}"
        ) from None


class _Conversation:
    """What one process says to the bot; its message ids are nobody else's. `unsaved`: messages that were lost."""

    def __init__(self, bot: Opened, channel: Channel) -> None:
        self._bot = bot
        self.channel = channel
        self._ids = (f"{nonce}-{number}" for nonce in [secrets.token_hex(8)] for number in count(1))
        self.unsaved = 0

    def say(self, text: str) -> tuple[Reply, ...]:
        """What the bot answers; when it could not be saved, that."""
        try:
            return self._bot.manager.handle(Message(self.channel, next(self._ids), text=text)).replies
        except VimbisoError as error:
            self.unsaved += 1
            print(f"error: {clean(str(error))}", file=sys.stderr)
            return (NOT_KNOWN if isinstance(error, CommitUnknown) else NOT_SAVED,)


def _from_a_pipe(conversation: _Conversation) -> None:
    stream = sys.stdin.buffer if sys.stdin else None
    for number, said in enumerate(filter(str.strip, _texts(lines(stream) if stream else ()))):
        print(f"{chr(10) if number else ''}> {shown(said)}", flush=True)
        print("\n\n".join(terminal.render(conversation.channel, conversation.say(said))), flush=True)


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in lines)


def _at_a_terminal(conversation: _Conversation, kept: bool) -> None:
    notes = Console(stderr=True, highlight=False)
    console = Console(highlight=False)
    if not kept:
        notes.print("Nothing is kept: the next run starts afresh. --data DIR keeps it.", style="dim")
    notes.print("Type a message; Ctrl-D leaves.\n", style="dim")
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            said = input("> ")
            if said.strip():
                _show(console, conversation.say(said))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # leaving: said once is enough
    notes.print("\nGoodbye.", style="dim")


def _show(console: Console, replies: Iterable[Reply]) -> None:
    for reply in replies:
        words = Styled(clean(question(reply)))
        for number, option in enumerate(options(reply), 1):
            words.append(f"\n{number:>2}. ", style="bold cyan").append(clean(option.title))
            if option.description:
                words.append(f"  {clean(option.description)}", style="dim")
        if words:
            console.print(words, end="\n\n", soft_wrap=False)
