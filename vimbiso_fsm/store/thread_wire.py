"""One connection of threads, on which commands leave together and their replies are waited for; `wire.py` is for tasks.

redis-py opens the connection: the address, Sentinels, TLS, passwords, timeouts and the handshake are its part.
`ThreadWire` then sends and reads on the socket itself, without the layers of redis-py, which cost a turn about a dozen
calls. Push messages and the check of the connection's health are passed on to redis-py.

What is used of redis-py beyond its public names: `_sock` of a connection, `_conn` of one that keeps a cache of the
client, and `_parser` for the classes of errors and for push messages.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, cast

import hiredis
import redis
from redis.exceptions import ReadOnlyError, RedisError

RECEIVED: Final = 16_384
"""Bytes that are read from a socket at once, at most."""

_PUSH: Final[type] = cast(Any, hiredis).PushNotification
_INCOMPLETE: Final = object()


class Connection(Protocol):
    """A connection of redis-py, as far as the store uses it."""

    socket_timeout: float | None
    health_check_interval: float
    next_health_check: float
    _sock: Any
    _parser: Any

    def connect(self) -> None:
        """Connect, unless it is connected."""

    def disconnect(self) -> None:
        """Close the connection. It connects again when it is used."""

    def check_health(self) -> None:
        """Send PING and wait for the reply, if the latest reply is older than the interval."""


class ThreadWire:
    """One connection of redis-py, whose socket is used directly. One thread at a time may use it.

    Attributes:
        connection: The connection, as its pool knows it.
    """

    __slots__ = ("_inner", "_is_readable", "_is_retiring", "_reader", "_socket", "connection")

    def __init__(self, connection: Connection) -> None:
        """Take a connection that its pool has just made or checked, so no reply is left on it."""
        self.connection: Final = connection
        self._inner: Connection = getattr(connection, "_conn", connection)
        self._take_over()

    def prepare(self) -> None:
        """Make sure that commands can be sent: connect anew if the connection has ended or a reply was left on it.

        The end of a connection must be found before something is sent on it: what is sent to a server that has ended
        is not known to be lost.

        Raises:
            redis.ConnectionError: It cannot be connected.
        """
        inner = self._inner
        try:
            is_clean = inner._sock is self._socket and not (self._reader.has_data() or self._is_readable())
        except Exception:  # noqa: BLE001  # a connection that another thread closes raises whatever it meets
            is_clean = False
        if not is_clean:
            self.disconnect()
            self.connection.connect()
        if inner.health_check_interval:
            inner.check_health()
        if inner._sock is not self._socket:
            self._take_over()

    def exchange(self, data: bytes, due: int) -> list[Any]:
        """Send commands, and return their replies; after a failure, errors in place of those that did not arrive.

        Args:
            data: The commands, packed.
            due: Their number.
        """
        replies: list[Any] = []
        usable = False
        socket, reader = self._socket, self._reader
        try:
            socket.sendall(data)
            while len(replies) < due:
                received = socket.recv(RECEIVED)
                if not received:
                    raise redis.ConnectionError("the server has closed the connection")  # noqa: TRY301  # as below
                reader.feed(received)
                while len(replies) < due and (reply := reader.gets()) is not _INCOMPLETE:
                    if type(reply) is _PUSH:
                        self._pushed(reply)
                    elif isinstance(reply, redis.ConnectionError):
                        raise reply  # noqa: TRY301  # a function for it would be a call in each turn
                    else:
                        replies.append(reply)
            if interval := self._inner.health_check_interval:
                self._inner.next_health_check = time.monotonic() + interval
            is_primary = ReadOnlyError not in map(type, replies)  # or it is no longer
            usable = is_primary and not self._is_retiring
        except TimeoutError:
            limit = self._inner.socket_timeout or 0
            _fill(replies, redis.TimeoutError(f"timeout, no reply within {limit:g} s"), due)
        except Exception as error:  # noqa: BLE001  # a connection that another thread closes raises whatever it meets
            _fill(replies, error, due)
        finally:
            if not usable:
                self.disconnect()
        return replies

    def disconnect(self) -> None:
        """Close the connection. It is connected again when it is prepared."""
        self.connection.disconnect()

    def _take_over(self) -> None:
        inner = self._inner
        self._socket: Any = inner._sock
        self._is_retiring = False
        self._is_readable = _readable(self._socket)
        self._reader: Any = cast(Any, hiredis).Reader(
            protocolError=redis.InvalidResponse, replyError=inner._parser.parse_error, notEnoughData=_INCOMPLETE
        )

    def _pushed(self, message: Any) -> None:
        """Pass a push message of protocol 3 on to redis-py, which may want the connection to be made anew."""
        self._inner._parser.handle_push_response(message)
        asks: Any = getattr(self._inner, "should_reconnect", None)  # since redis-py 7
        self._is_retiring = asks is not None and asks()


def _readable(socket: Any) -> Callable[[], object]:
    """Return a function that tells whether there is something to read on a socket, which may be its end.

    Raises:
        redis.ConnectionError: There is no socket: another thread has closed the connection meanwhile.
    """
    if socket is None:
        raise redis.ConnectionError("the connection has ended")
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        waits: Callable[[], object] = partial(poll.poll, 0)
    else:  # on Windows
        waits = partial(_selected, socket)
    pending = getattr(socket, "pending", None)  # of TLS: bytes that were decrypted and not read
    return waits if pending is None else lambda: pending() or waits()


def _selected(socket: Any) -> list[Any]:
    return select.select([socket], [], [], 0)[0]


def _fill(replies: list[Any], error: Exception, due: int) -> None:
    """Report a failure for the command that it met, and the remaining replies as lost.

    An error that has arrived before counts as lost too. It carries no tag, so it may be that of a later command, if it
    is the reply before it that never arrived.
    """
    lost = redis.ConnectionError(f"the connection ended: {str(error) or type(error).__name__}")
    lost.__cause__ = error
    replies[:] = [lost if isinstance(reply, Exception) else reply for reply in replies]
    replies.append(error if isinstance(error, RedisError | OSError) else lost)
    replies += [lost] * (due - len(replies))
