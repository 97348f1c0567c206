"""One connection of an event loop, on which commands leave as they come and replies come back in order.

redis-py opens the connection: the address, Sentinels, TLS, passwords and the handshake are its part. `Wire` then takes
the transport over. A command does not wait for the replies to those before it, no task and no timer belongs to a single
command, and a reply that arrives is given to its command at once.

Four rules keep what is told true:

- A reply is that of the oldest command without one. A reply that no command waits for ends the connection.
- A reply of the script carries the tag of its request (`script.py`), so one in a wrong place is noticed. An error
  carries none, and may be that of a later command, if it is the reply before it that never arrived. It therefore counts
  only once every command that was sent has its reply; until then nothing more is sent. If the connection ends before,
  what the error answered counts as lost.
- A connection that was idle is looked at before it is used: what is sent to a server that has ended is not known to be
  lost until much later.
- The time limit of redis-py's connection (`socket_timeout`) is that between two replies. A server that has much to do
  and answers is not given up.

What is used of redis-py beyond its public names: `_writer.transport` of a connection, because it offers its transport
in no other way, and `_parser` for the classes of errors and for push messages.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast

import hiredis
import redis
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError

from vimbiso_fsm.store.connections import AsyncConnection
from vimbiso_fsm.store.pending import Asking, Confirmation, Due, Pending, Probe
from vimbiso_fsm.store.pipeline import packed
from vimbiso_fsm.store.script import SCRIPT

_PUSH: Final[type] = cast(Any, hiredis).PushNotification
_INCOMPLETE: Final = object()


class Owner(Protocol):
    """The owner of a wire."""

    def send_again(self, commands: list[Pending]) -> None:
        """Send these commands before all that wait."""

    def is_ready(self, wire: Wire) -> None:
        """Use the wire: all is answered, or it can be written to again."""

    def has_ended(self, wire: Wire, cause: BaseException | None) -> None:
        """Forget the wire."""

    def run(self, work: Coroutine[Any, Any, None]) -> object:
        """Run a task beside the wire."""


class Wire(asyncio.Protocol):
    """One connection of redis-py, whose transport is taken over until it is given back or has ended."""

    def __init__(self, connection: AsyncConnection, owner: Owner) -> None:
        """Take the transport over, in its event loop.

        Args:
            connection: The connection. It has just been taken from its pool, so no reply is left on it.
            owner: The owner.

        Raises:
            redis.ConnectionError: The connection has ended meanwhile.
        """
        self.connection: Final = connection
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        transport = getattr(connection._writer, "transport", None)
        if transport is None or transport.is_closing():
            raise redis.ConnectionError("the connection has ended")
        self._transport: asyncio.Transport = transport
        self._reader: Any = cast(Any, hiredis).Reader(
            protocolError=redis.InvalidResponse, replyError=connection._parser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._due: deque[Due] = deque()
        self._errors: list[Pending] = []  # commands whose reply is an error that does not count yet
        self._is_confirming = self._is_probing = False  # a reply to WAIT or PING is due
        self._is_full = self._is_unchecked = self._is_retiring = self._is_over = False
        self._last = self._loop.time()  # the time of the latest reply, or of the first command after a pause
        self._watch: asyncio.TimerHandle | None = None
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._former = transport.get_protocol()
        transport.set_protocol(self)

    @property
    def is_idle(self) -> bool:
        """Whether no reply is due."""
        return not self._due

    def check(self, *, joining: bool) -> bool:
        """Return whether commands can be sent now. If not, the owner hears when they can, or that this has ended.

        Args:
            joining: Whether they may follow commands whose replies are due.
        """
        if self._is_confirming or self._is_probing or self._is_full or self._is_unchecked or self._is_retiring:
            return False
        if self._errors or self._is_over or self._transport.is_closing():
            return False
        if self._due:
            return joining
        if self._poll.poll(0):  # the end of the connection, or what TLS sends by itself: the event loop reads it first
            self._is_unchecked = True
            self._loop.call_soon(self._loop.call_soon, self._checked)
            return False
        interval = self.connection.health_check_interval
        if interval and self._loop.time() > self._last + interval:
            self._is_probing = True
            self._write([packed(("PING",))], [Probe()])
            return False
        return True

    def send(self, batch: Sequence[Pending]) -> None:
        """Send commands together, after `check` has returned True."""
        out: list[bytes] = []
        due: list[Due] = []
        confirmation: Confirmation | None = None
        for pending in batch:
            if pending.asking:
                out.append(packed(("ASKING",)))
                due.append(Asking(pending))
            if pending.confirm is not None:
                confirmation = pending.confirmation = confirmation or Confirmation(pending.confirm)
            out.append(packed(pending.words))
            due.append(pending)
        if confirmation is not None:  # on this connection: on another one it would not cover these writes
            out.append(packed(confirmation.words))
            due.append(confirmation)
            self._is_confirming = True
        self._write(out, due)

    def give_back(self) -> None:
        """Give the transport of an idle wire back to redis-py."""
        self._finish()
        self._transport.set_protocol(self._former)

    def end(self, cause: BaseException | None) -> None:
        """Close the connection. Commands without a reply are lost, and so are errors that do not count yet."""
        if self._is_over:
            return
        self._finish()
        self._transport.abort()
        due, errors = self._due, self._errors
        self._due, self._errors = deque(), []
        for pending in errors:
            pending.lose(cause)
        for each in due:
            if isinstance(each, Pending):
                each.lose(cause)
            elif isinstance(each, Confirmation):
                each.give(confirmed=False)
        self._owner.has_ended(self, cause)

    # What the event loop calls -----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Give each reply to its command."""
        if self._take(data):
            self._last = self._loop.time()
        if self._errors and not self._due:
            self._settle()
        if self._is_retiring and not self._due:
            self.end(None)
        if not self._is_over:
            self._owner.is_ready(self)

    def pause_writing(self) -> None:
        """Send nothing more for now: the server reads more slowly than commands come."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False
        if not self._is_over:
            self._owner.is_ready(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End. redis-py hears of it too: its `disconnect` waits for that."""
        self._former.connection_lost(exc)
        if not self._loop.is_closed():
            self.end(exc)

    # Its own -----------------------------------------------------------------------------------------------------

    def _write(self, out: list[bytes], due: list[Due]) -> None:
        limit = self.connection.socket_timeout
        if not self._due:
            self._last = self._loop.time()
        if self._watch is None and limit is not None:
            self._watch = self._loop.call_later(limit, self._look)
        self._due += due
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _take(self, data: bytes) -> bool:
        """Read replies; return whether there was a whole one."""
        reader, due = self._reader, self._due
        found = False
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if type(reply) is _PUSH:
                    self._owner.run(self._pushed(reply))
                    continue
                found = True
                each = due.popleft()
                if type(each) is not Pending:
                    self._take_other(each, reply)
                elif isinstance(reply, Exception):
                    self._refuse(each, reply)
                elif each.confirmation is not None:
                    each.reply = reply
                    each.confirmation.answered.append(each)
                elif not each.answer.done():
                    each.answer.set_result((reply, True))
        except Exception as error:  # noqa: BLE001  # no reply of the protocol, or one that no command waits for
            self.end(error)
        return found

    def _take_other(self, each: Due, reply: Any) -> None:
        if isinstance(each, Asking):
            each.pending.refusal = reply if isinstance(reply, Exception) else None
            return
        if isinstance(each, Confirmation):
            self._is_confirming = False
            each.give(confirmed=isinstance(reply, int) and reply >= 1)
        else:
            self._is_probing = False

    def _refuse(self, pending: Pending, error: Exception) -> None:
        """Keep an error until it counts."""
        if pending.refusal is not None and isinstance(error, MovedError):
            error = pending.refusal  # the command was redirected only because ASKING was refused
        pending.reply = error
        self._errors.append(pending)

    def _settle(self) -> None:
        """Give the errors, which count now. Commands that the server knew no script for are sent again."""
        errors, self._errors = self._errors, []
        again: list[Pending] = []
        for pending in errors:
            if isinstance(pending.reply, NoScriptError) and pending.words[0] == "EVALSHA":
                again.append(pending)
            else:
                pending.give(pending.reply)
        if again:
            again[0].words = ("EVAL", SCRIPT, *again[0].words[2:])  # EVAL brings the script along
            self._owner.send_again(again)
        ending = [each.reply for each in errors if isinstance(each.reply, redis.ConnectionError | ReadOnlyError)]
        if ending:  # it serves no longer, or is no longer the primary
            self.end(ending[0])

    async def _pushed(self, message: Any) -> None:
        """Pass a push message of protocol 3 on to redis-py, which may want the connection to be made anew."""
        with suppress(Exception):
            await self.connection._parser.handle_push_response(message)
        asks: Any = getattr(self.connection, "should_reconnect", None)  # since redis-py 7
        self._is_retiring = asks is not None and asks()
        if self._is_retiring and not self._due:
            self.end(None)

    def _look(self) -> None:
        """End if the server has not replied for too long."""
        self._watch, limit = None, self.connection.socket_timeout
        if not self._due or limit is None:
            return
        left = self._last + limit - self._loop.time()
        if left <= 0:
            self.end(redis.TimeoutError(f"timeout, no reply within {limit:g} s"))
        else:
            self._watch = self._loop.call_later(left, self._look)

    def _checked(self) -> None:
        self._is_unchecked = False
        if not self._is_over:
            self._owner.is_ready(self)

    def _finish(self) -> None:
        self._is_over = True
        if self._watch is not None:
            self._watch.cancel()
