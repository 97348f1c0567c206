"""The conversation of `vimbiso chat`: messages of one process to a bot, and what comes without being asked for."""

from __future__ import annotations

import math
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final

import attrs

from vimbiso_fsm.cli.plain_text import clean
from vimbiso_fsm.cli.store_options import OpenBot
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.engine.schedule import wake_at
from vimbiso_fsm.errors import CommitUnknown, DamagedDocument, MemberNotFound, NotRecovered, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Address, Channel, Message
from vimbiso_fsm.messages.replies import Reply, Text
from vimbiso_fsm.operations.recover import Recovery
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.requests import ReadDigests, Store
from vimbiso_fsm.testing.copies import copy_of
from vimbiso_fsm.testing.reloading import Reloading
from vimbiso_fsm.testing.saved import rehearsed

NOT_SAVED: Final = Text("Sorry, that could not be saved. Please say it again.")
NOT_KNOWN: Final = Text("Sorry, we do not know whether that was saved. Say menu to see where you are.")
_ROUNDS: Final = 100
"""Wakings after which a member who is still due waits for the next look."""
_DUE_MEANWHILE: Final = 200
"""Instants at which something is done while time passes; the rest of it passes at once."""
_HALF_A_SECOND: Final = 0.5
"""Seconds of the shortest step in which time passes. What stays due after it was done is looked at again then."""


class ChatSession:
    """One or more members who talk to a bot, one message after the other.

    Attributes:
        channel: The channel that the next message comes from.
        ahead: The clock of the store; None for a store that is kept.
        manager: The manager of the bot.
        replies: The latest replies.
        unsaved: The number of messages that could not be saved.
        said: What was said, as lines of a transcript.
    """

    def __init__(self, opened: OpenBot, channel: Channel, reloading: Reloading) -> None:
        self._opened, self._reloading = opened, reloading
        self.channel = channel
        self.ahead = opened.ahead
        self.replies: Sequence[Reply] = ()
        self.unsaved = 0
        self.said: list[str] = [f"@ {self.name}"]
        self._screen = _Screen()
        self._members: dict[str, None] = {}
        self._ids = (f"{nonce}-{number}" for nonce in [secrets.token_hex(8)] for number in count(1))
        self._versions: dict[str, list[tuple[int, int]]] = {}
        self._untouched = copy_of(opened.manager.bot.services)  # before a service holds what this chat makes it hold
        self._use(opened.manager.bot)

    @property
    def bot(self) -> Bot:
        """The bot."""
        return self.manager.bot

    @property
    def name(self) -> str:
        """The channel as it is written in a transcript. A telephone at the terminal stands for one on WhatsApp."""
        channel = self._proven(self.channel)
        return f"{channel.type}:{channel.identifier}"

    @property
    def store(self) -> Store:
        """The store."""
        return self._opened.store

    @property
    def kept(self) -> bool:
        """Whether the store outlives the chat."""
        return self._opened.kept

    @property
    def member_id(self) -> str:
        """The member or guest on the channel."""
        return self.manager.member_of(self.channel) or self.store.perform(ReadDigests()).guest_id(self.channel)

    @property
    def place(self) -> str:
        """The state in which the member stands, as "flow.state"; empty without an open flow."""
        document = self.document
        return f"{document.run.flow}.{document.run.step}" if document is not None and document.run is not None else ""

    @property
    def document(self) -> Document | None:
        """The stored document of the member; None without one, and for a damaged one."""
        try:
            return self.manager.state(self.member_id)
        except DamagedDocument:
            return None

    def say(self, text: str) -> Sequence[Reply]:
        """Send a message, and return the replies; an apology when it could not be saved."""
        with suppress(VimbisoError):  # the message itself tells that the store does not answer
            if (document := self.document) is not None:
                self._versions.setdefault(document.member_id, []).append((document.version, len(self.said)))
        self.said.append(f"> {text}")
        self._screen.channels.add(self.channel.address)
        try:
            outcome = self.manager.handle(Message(self.channel, next(self._ids), text=text))
            self.replies = outcome.replies
            self._members[outcome.member_id] = None
        except VimbisoError as error:
            self.unsaved += 1
            print(f"error: {clean(str(error))}", file=sys.stderr)
            return (NOT_KNOWN if isinstance(error, CommitUnknown) else NOT_SAVED,)
        return self.replies

    def heard(self) -> list[tuple[Channel, Sequence[Reply]]]:
        """Do what is due now at the members of this chat, and return the replies that answer no message.

        The members of a kept store who talk elsewhere are left to its workers.
        """
        for member_id in [*self._members]:
            for _ in range(_ROUNDS):
                with suppress(MemberNotFound):  # erased, or merged into another one
                    if self.manager.wake(member_id):
                        continue
                break
        heard, self._screen.heard = self._screen.heard, []
        return heard

    def wait(self, seconds: float) -> list[tuple[Channel, Sequence[Reply]]]:
        """Let time pass, and return what came meanwhile.

        Raises:
            ValueError: The store is kept, so its clock is not this command's.
        """
        if self.ahead is None:
            raise ValueError("the clock of a store that is kept is not moved; leave --redis and --data out")
        self.said.append(f"* {round(seconds)} seconds pass")
        heard, left = list[tuple[Channel, Sequence[Reply]]](), seconds
        for _ in range(_DUE_MEANWHILE):
            step = min(left, self._next_due())
            self.ahead.pass_time(step)
            heard += self.heard()
            left -= step
            if left <= 0:
                break
        self.ahead.pass_time(max(left, 0))
        return heard

    def turn_to(self, channel: Channel) -> None:
        """Write from another channel from here on."""
        self.channel, self.replies = channel, ()
        self.said.append(f"@ {self.name}")

    def back(self) -> Recovery | None:
        """Put the member back to before the latest message at whose beginning they stood at a question.

        What was said since is no part of the transcript any more.

        Returns:
            What was done; None if nothing was said yet.

        Raises:
            NotRecovered: No such state is kept, or a call with an effect was made since.
        """
        versions = self._versions.get(self.member_id, [])
        refused: NotRecovered | None = None
        for place in reversed(range(len(versions))):
            version, said = versions[place]
            try:
                recovery = self.manager.recover(self.member_id, to=version)
            except NotRecovered as error:
                refused = refused or error
            else:
                del versions[place:], self.said[said:]
                return recovery
        if refused is not None:
            raise refused
        return None

    def reload(self) -> str:
        """Go on with a changed bot, if a file of its package has changed.

        Returns:
            What has happened, in words; empty if no file has changed.

        Raises:
            Exception: The changed package cannot be imported. The bot of before goes on.
        """
        if not self._reloading.changed():
            return ""
        place, before = self.place, self.bot
        self._use(attrs.evolve(self._reloading.reload(before), channels=before.channels))
        if not place or self.document is not None:
            return "the flows were loaded anew"
        recovery = self.manager.recover(self.member_id)
        now = f"you stand at {recovery.flow}.{recovery.step}" if recovery.flow else "no flow is open"
        return f"the flows were loaded anew; {place} is gone, {now}"

    def rehearsed(self) -> str:
        """Return the transcript of what was said, played from the beginning to services as they were then.

        Raises:
            Exception: A callback of the bot raised it.
        """
        return rehearsed(self.bot, self.said, self._untouched.services())

    def _use(self, bot: Bot) -> None:
        self.manager = FlowStateManager(bot, self.store, rates=None, paces={}, debug=True, deliver=self._screen)
        if self.ahead is not None:
            self.manager._base.clock.follow(self.ahead)

    def _next_due(self) -> float:
        """Return the seconds until something is due at a member of this chat; infinite if nothing is."""
        found = [math.inf]
        for member_id in self._members:
            with suppress(VimbisoError):
                document = self.manager.state(member_id)
                at = None if document is None else wake_at(document)
                if at is not None:
                    found.append(max(at.timestamp() - self.manager.now(), _HALF_A_SECOND))
        return min(found)

    def _proven(self, channel: Channel) -> Channel:
        proves = self._opened.manager.bot.proofs.get("terminal") == "phone"
        return Channel("whatsapp", channel.identifier) if proves and channel.type == "terminal" else channel


class _Screen:
    """The replies that answer no message. It reaches the channels of this chat, and no other member of the store."""

    def __init__(self) -> None:
        self.heard: list[tuple[Channel, Sequence[Reply]]] = []
        self.channels: set[Address] = set()

    def __call__(self, channel: Channel, replies: Sequence[Reply], /) -> None:
        """Keep the replies until they are shown."""
        self.heard.append((channel, replies))

    def reaches(self, channel: Channel) -> bool:
        """Return whether somebody talks on the channel in this chat."""
        return channel.address in self.channels
