"""`vimbiso chat` at a terminal: a prompt with history and completion, and words that come without being asked for."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.text import Text as Styled

from vimbiso_fsm.channels import terminal
from vimbiso_fsm.channels.plain import options, question
from vimbiso_fsm.cli.chat_commands import COMMANDS, Heard, answer
from vimbiso_fsm.cli.chat_session import ChatSession
from vimbiso_fsm.cli.plain_text import clean
from vimbiso_fsm.messages.replies import Reply

_EVERY: Final = 1.0
"""Seconds between two looks for what is due."""


def at_terminal(session: ChatSession) -> None:
    """Ask for messages until Ctrl-D or Ctrl-C."""
    notes = Console(stderr=True, highlight=False)
    if not session.kept:
        notes.print("Nothing is kept after this chat; --data DIR keeps it.", style="dim")
    notes.print("Type a message, or :help for the commands of an author; Ctrl-D leaves.\n", style="dim")
    # The history stays in memory: what is typed may be a PIN.
    prompt: PromptSession[str] = PromptSession(
        history=InMemoryHistory(), completer=_Words(session), complete_while_typing=False, reserve_space_for_menu=0
    )
    answers = Console(
        file=sys.stdout, highlight=False
    )  # what stands above a prompt goes through `patch_stdout` instead
    busy, over = threading.Lock(), threading.Event()
    clock = threading.Thread(target=_show_due, args=(session, busy, over), daemon=True)
    clock.start()
    with suppress(EOFError, KeyboardInterrupt), patch_stdout(raw=True):
        while True:
            line = prompt.prompt("> ")
            if line.strip():
                with busy:
                    _take(session, line, answers)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the closing
    over.set()
    clock.join()
    notes.print("\nGoodbye.", style="dim")


def heard_lines(session: ChatSession, heard: Heard) -> Iterator[str]:
    """Yield replies that answer no message, as lines that begin with "~" and the channel, unless it is the current."""
    for channel, replies in heard:
        to = "" if channel == session.channel else f"{channel.type}:{channel.identifier} "
        for text in terminal.render(channel, replies):
            yield from (f"~ {to}{line}".rstrip() for line in text.splitlines())


def _take(session: ChatSession, line: str, console: Console) -> None:
    """Load the flows anew if they have changed, then do the command or send the message.

    Args:
        session: The chat.
        line: What was typed.
        console: The terminal itself, so that all is written before the next prompt is shown.
    """
    try:
        if note := session.reload():
            console.print(Styled(clean(note), style="dim"))
    except Exception as error:  # noqa: BLE001  # a package being imported may raise anything
        fault = f"{type(error).__name__}: {error}\nThe flows of before go on."
        console.print(Styled(clean(fault), style="red"))
    answered = answer(session, line)
    if answered is None:
        _print_replies(console, session.say(line))
    else:
        said, heard = answered
        console.print(Styled("\n".join(map(clean, [*said, *heard_lines(session, heard)])), style="dim"), end="\n\n")


def _show_due(session: ChatSession, busy: threading.Lock, over: threading.Event) -> None:
    """Show what timers say, when it is due."""
    while not over.wait(_EVERY):
        with busy, suppress(Exception):  # the next message shows what is wrong with the store
            for line in heard_lines(session, session.heard()):
                print(clean(line), flush=True)


def _print_replies(console: Console, replies: Iterable[Reply]) -> None:
    for reply in replies:
        words = Styled(clean(question(reply)))
        for number, option in enumerate(options(reply), 1):
            words.append(f"\n{number:>2}. ", style="bold cyan").append(clean(option.title))
            if option.description:
                words.append(f"  {clean(option.description)}", style="dim")
        if words:
            console.print(words, end="\n\n", soft_wrap=False)


class _Words(Completer):
    """Completes the titles that were shown last, and commands."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yield the words that begin with what is typed."""
        typed = document.text_before_cursor
        commands = [f":{name}" for name in COMMANDS]
        titles = [option.title for reply in self._session.replies for option in options(reply)]
        for word in commands if typed.startswith(":") else titles:
            if typed and word.lower().startswith(typed.lower()):
                yield Completion(clean(word), start_position=-len(typed))
