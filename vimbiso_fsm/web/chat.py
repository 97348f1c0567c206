"""The web chat: its settings, and the connections of its visitors in this process.

A chat is given to a manager, which delivers by it what answers no message, and to the app, which serves its page and
its web socket:

    chat = WebChat(secrets=…)
    manager = AsyncFlowStateManager.from_url(url, bot, deliver=chat)
    application = app(manager, {"chat": chat}, base="https://bot.example.org")
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import attrs

from vimbiso_fsm.channels import web
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Later, Sent
from vimbiso_fsm.web.peers import network_of
from vimbiso_fsm.web.rest import check_secrets, secrets_of

MAX_TABS: Final = 8
"""Connections of one visitor. One more closes the oldest."""
MAX_CONNECTIONS: Final = 10_000
"""Connections in one process, unless a chat is given another number."""
MAX_OF_NETWORK: Final = 1_000
"""Connections of one public network address in one process. Many people can share one."""
SHOWN_WITHIN: Final = 5.0
"""Seconds within which a page says that it has shown what was pushed to it."""
REPLACED: Final = 4000
"""The code with which the oldest of too many connections of a visitor is closed."""
GOING_AWAY: Final = 1001
"""The code with which connections are closed when the process ends."""


class Connected(Protocol):
    """A connection of a visitor."""

    @property
    def channel(self) -> Channel:
        """The channel of the visitor."""
        ...

    @property
    def host(self) -> str | None:
        """The network address that it comes from."""
        ...

    async def send(self, frame: dict[str, Any]) -> bool:
        """Send a frame; return whether the connection has taken it."""
        ...

    @property
    def gone(self) -> asyncio.Event:
        """Set when the connection has ended."""
        ...

    def end(self, code: int) -> None:
        """End the connection."""
        ...


def _life(value: timedelta | float) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _check_life(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 60 <= value <= 400 * 86_400:
        raise ValueError(f"{attribute.name} is {value!r}; give a time from a minute to 400 days")


def _check_count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{attribute.name} is {value!r}; give a number from 1")


@attrs.define(kw_only=True, eq=False)
class WebChat:
    """A chat on a page of the app, for visitors with a browser. See `channels.web`.

    It is what a manager delivers by: `AsyncFlowStateManager(…, deliver=chat)`. Replies to messages leave with the
    answer to them. It belongs to one event loop.

    Attributes:
        secrets: The secret that signs the cookies of visitors: one random text of at least 32 characters, or several
            while one takes the place of another; the first one signs. Each process of the app has the same.
        title: The title of the page.
        type: The type of the channel. What it proves is "nothing", unless the bot says otherwise.
        account: The bot's address on the channel; empty without one.
        life: The time for which a browser stays that of its visitor after the page was last opened, in seconds or as a
            `timedelta`.
        begins: Whether the bot begins when a page is opened. Otherwise the visitor does.
        max_connections: Connections in this process. Further ones are refused with 503.
        is_warned: Whether the log has said that a web socket of another page was refused.

    Raises:
        ValueError: There is no secret, one is too short, or a bound is none.
    """

    secrets: tuple[str, ...] = attrs.field(repr=False, converter=secrets_of, validator=check_secrets)
    title: str = attrs.field(default="Chat", validator=attrs.validators.instance_of(str))
    type: str = web.TYPE
    account: str = ""
    life: float = attrs.field(default=float(web.COOKIE_LIFE), converter=_life, validator=_check_life)
    begins: bool = True
    max_connections: int = attrs.field(default=MAX_CONNECTIONS, validator=_check_count)
    is_warned: bool = attrs.field(init=False, default=False, repr=False)
    _of_visitor: dict[str, dict[Connected, None]] = attrs.field(init=False, factory=dict, repr=False)
    _of_network: Counter[str] = attrs.field(init=False, factory=Counter[str], repr=False)
    _shown: dict[tuple[str, str], asyncio.Future[bool]] = attrs.field(init=False, factory=dict, repr=False)
    _sending: set[asyncio.Task[bool]] = attrs.field(init=False, factory=set[asyncio.Task[bool]], repr=False)
    _count: int = attrs.field(init=False, default=0, repr=False)
    _loop: asyncio.AbstractEventLoop | None = attrs.field(init=False, default=None, repr=False)
    _is_closed: bool = attrs.field(init=False, default=False, repr=False)

    # What a manager asks ---------------------------------------------------------------------------------------------

    def reaches(self, channel: Channel) -> bool:
        """Return whether this process has a connection to a visitor now, in the event loop that asks."""
        if channel.type != self.type or channel.identifier not in self._of_visitor:
            return False
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    async def __call__(self, channel: Channel, replies: Sequence[Reply], key: str) -> Sent | Later:
        """Push replies to the pages of a visitor, and wait until one has shown them.

        Args:
            channel: The channel of the visitor.
            replies: The replies with their final words.
            key: A text that is the same in each attempt to send the same replies. A page shows them once.

        Returns:
            `Sent`, or `Later` if no page has said within `SHOWN_WITHIN` that it has shown them.
        """
        visitor = channel.identifier
        if not self.reaches(channel):
            return Later(1.0, address=True)
        frame = {"type": "push", "key": key, "replies": web.render(channel, replies)}
        shown = self._shown.setdefault((visitor, key), asyncio.get_running_loop().create_future())
        try:
            for connection in tuple(self._of_visitor.get(visitor, ())):
                task = asyncio.create_task(connection.send(frame))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            is_shown = await asyncio.wait_for(asyncio.shield(shown), SHOWN_WITHIN)
        except TimeoutError:
            is_shown = False
        finally:
            self._shown.pop((visitor, key), None)
        return Sent() if is_shown else Later(1.0, address=True)

    # What connections tell -------------------------------------------------------------------------------------------

    def has_room(self, host: str | None) -> bool:
        """Return whether one more connection is taken, from a network address."""
        network = network_of(host)
        is_full = self._count >= self.max_connections
        return not (self._is_closed or is_full or (network and self._of_network[network] >= MAX_OF_NETWORK))

    def add(self, connection: Connected) -> None:
        """Take a connection in. The oldest one of too many of its visitor is ended."""
        self._loop = asyncio.get_running_loop()
        own = self._of_visitor.setdefault(connection.channel.identifier, {})
        own[connection] = None
        self._count += 1
        if network := network_of(connection.host):
            self._of_network[network] += 1
        if len(own) > MAX_TABS:
            next(iter(own)).end(REPLACED)

    def remove(self, connection: Connected) -> None:
        """Forget a connection that has ended."""
        visitor = connection.channel.identifier
        own = self._of_visitor.get(visitor, {})
        if own.pop(connection, connection) is connection:
            return
        self._count -= 1
        if not own:
            del self._of_visitor[visitor]
            for (of, _), shown in self._shown.items():
                if of == visitor and not shown.done():
                    shown.set_result(False)
        if network := network_of(connection.host):
            self._of_network[network] -= 1
            if self._of_network[network] <= 0:
                del self._of_network[network]

    def is_first(self, connection: Connected) -> bool:
        """Return whether a connection is the one of its visitor that asks the store for them all."""
        return next(iter(self._of_visitor.get(connection.channel.identifier, ())), None) is connection

    def was_shown(self, connection: Connected, key: str) -> None:
        """Take note that a page has shown what was pushed under a key."""
        shown = self._shown.get((connection.channel.identifier, key))
        if shown is not None and not shown.done():
            shown.set_result(True)

    async def close(self) -> None:
        """End all connections, and take no new one. The pages come back to another process, or later to this one."""
        self._is_closed = True
        ending = [connection for own in self._of_visitor.values() for connection in own]
        for connection in ending:
            connection.end(GOING_AWAY)
        for connection in ending:
            await connection.gone.wait()
