"""The wires of an event loop: each reply goes to its command, no write is called refused, and nothing piles up.

Most tests hold both ends of the connections in their hands; the last ones use real servers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import hiredis
import pytest
import redis
import redis.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st
from redis._parsers.base import BaseParser
from redis.exceptions import MovedError

from tests.engines import Server, running, valkey_program
from vimbiso_fsm.store.attempts import Attempts, NotSent
from vimbiso_fsm.store.lines import REQUESTS_PER_PIPELINE, Line
from vimbiso_fsm.store.pending import Pending
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
from vimbiso_fsm.store.requests import NO_HEAD, Commit, Committed, Entry, Stored, digest
from vimbiso_fsm.store.wire import Wire

HIGH_WATER = 64 * 1024


class Far:
    """The server's end of a connection: a transport that keeps what is written, and answers when it is told to.

    `ECHO n` is answered with n, `FAIL n` with an error, `MOVED` with a redirect, `WAIT` with 1, and the rest with a
    status; ASKING with an error if `refuses_asking`.
    """

    def __init__(self, capacity: int = 1 << 40) -> None:
        self.asked: list[list[bytes]] = []
        self.written, self.writes, self.refuses_asking = 0, 0, False
        self._capacity = capacity
        self._reader: Any = cast(Any, hiredis).Reader()
        self._replies: list[bytes] = []
        self._bytes = b""
        self._closing = False
        self._ends = socket.socketpair()
        self.protocol: Any = SimpleNamespace(connection_lost=lambda _: self._lost.append(True))
        self._lost: list[bool] = []

    # As a transport

    def get_extra_info(self, name: str) -> Any:
        return self._ends[0] if name == "socket" else None

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self.writes += 1
        self._reader.feed(data)
        while (words := self._reader.gets()) is not False:
            self.asked.append(words)
            self._replies.append(self._answer(words))
        if self.written > self._capacity:
            self.protocol.pause_writing()

    def abort(self) -> None:
        self._closing = True

    def close(self) -> None:
        for end in self._ends:
            end.close()

    # As a server

    def _answer(self, words: list[bytes]) -> bytes:
        match words[0]:
            case b"ECHO":
                return b"$%d\r\n%b\r\n" % (len(words[1]), words[1])
            case b"FAIL":
                return b"-ERR refused %b\r\n" % words[1]
            case b"MOVED":
                return b"-MOVED 1 elsewhere:6379\r\n"
            case b"ASKING" if self.refuses_asking:
                return b"-ERR no cluster\r\n"
            case b"WAIT":
                return b":1\r\n"
            case b"EVALSHA":
                return b"-NOSCRIPT No matching script.\r\n"
            case b"EVAL":
                return b"$%d\r\n%b\r\n" % (len(words[2]), words[2])
            case _:
                return b"+OK\r\n"

    def drop(self) -> None:
        """Lose the next reply that has not begun to leave."""
        if self._replies:
            self._replies.pop(0)

    def reply(self, count: int) -> None:
        """Send so many bytes of the replies, or all there are."""
        while self._replies and len(self._bytes) < count:
            self._bytes += self._replies.pop(0)
        data, self._bytes = self._bytes[:count], self._bytes[count:]
        if data and not self._closing:
            self.protocol.data_received(data)

    def end(self, error: Exception | None = None) -> None:
        """End the connection."""
        if not self._closing:
            self.abort()
            self.protocol.connection_lost(error)


class Pool:
    """A pool of such connections. `refuses`: whether it has none."""

    def __init__(self, size: int = 4, capacity: int = 1 << 40, interval: float = 0) -> None:
        self.max_connections, self.refuses = size, False
        self.fars: list[Far] = []
        self.released: list[Any] = []
        self._capacity, self._interval = capacity, interval

    async def get_connection(self) -> Any:
        if self.refuses:
            raise redis.ConnectionError("refused")
        far = Far(self._capacity)
        self.fars.append(far)
        pushed: list[Any] = []

        async def handle(message: Any) -> None:
            pushed.append(message)

        async def disconnect(nowait: bool = False) -> None: ...

        return SimpleNamespace(
            _writer=SimpleNamespace(transport=far),
            _parser=SimpleNamespace(parse_error=BaseParser.parse_error, handle_push_response=handle),
            socket_timeout=2.0,
            health_check_interval=self._interval,
            disconnect=disconnect,
            pushed=pushed,
        )

    async def release(self, connection: Any) -> None:
        self.released.append(connection)

    async def disconnect(self) -> None: ...


def asked(line: Line, *words: bytes | int | str, confirm: Any = None, asking: bool = False) -> asyncio.Future[Any]:
    """Put a command on a line, and return the future of its answer."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    line.put(Pending(words, answer, asking, confirm))
    return answer


async def rest() -> None:
    """Let everything that can go on go on."""
    for _ in range(6):
        await asyncio.sleep(0)


def on_a_line(story: Callable[[Line, Pool], Awaitable[None]], **options: Any) -> None:
    """Run a story with a line of a pool; afterwards the line can be closed, and nothing is left open or running."""

    async def told() -> None:
        pool = Pool(**options)
        line = Line(cast(Any, pool))
        try:
            await story(line, pool)
            pool.refuses = True  # else the line would open connections for what waits, as those that it has end
            for far in pool.fars:
                far.end()
            await line.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}
        finally:
            for far in pool.fars:
                far.close()

    asyncio.run(told())


# Each reply to its own command -------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["ECHO", "ECHO", "ECHO", "FAIL"]), st.integers(1, 5)),
        st.tuples(st.just("reply"), st.integers(1, 60)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.sampled_from(["rest", "end", "drop"]), st.just(0)),
    ),
    max_size=40,
)


@given(ACTIONS)
@example([("ECHO", 2), ("rest", 0), ("drop", 0), ("FAIL", 1), ("reply", 60), ("end", 0)])
@example([("FAIL", 2), ("rest", 0), ("cancel", 0)])
@example([("ECHO", 1), ("rest", 0), ("FAIL", 1), ("rest", 0), ("drop", 0), ("reply", 60), ("reply", 60)])
def test_what_a_command_is_told_is_true(actions: list[tuple[str, int]]):
    """Whatever arrives in which pieces, whoever is cancelled, whatever is lost: no answer is that of another command.

    A refused command was refused, one that counts as not sent was not sent, and every command gets its answer. A value
    in a wrong place is noticed by its tag, as the manager does, which then drops the connections.
    """

    async def story(line: Line, pool: Pool) -> None:
        answers: list[tuple[str, asyncio.Future[Any]]] = []

        def noticed() -> None:
            for number, (kind, answer) in enumerate(answers):
                if not answer.done() or answer.cancelled() or answer.exception() is not None:
                    continue
                if kind == "FAIL" or answer.result()[0] != b"%d" % number:
                    answers[number] = (kind, asyncio.get_running_loop().create_future())  # it counts as lost
                    answers[number][1].cancel()
                    line.disconnect()

        for name, number in actions:
            if name in {"ECHO", "FAIL"}:
                for _ in range(number):
                    answers.append((name, asked(line, name.encode(), len(answers))))
            elif name == "cancel" and number < len(answers):
                answers[number][1].cancel()
            elif name == "rest":
                await rest()
            elif pool.fars and name == "reply":
                pool.fars[number % len(pool.fars)].reply(number)
                noticed()
            elif pool.fars and name == "end":
                pool.fars[-1].end(OSError("cut"))
            elif pool.fars and name == "drop":
                pool.fars[-1].drop()
        while not all(answer.done() for _, answer in answers):
            await rest()
            before = sum(answer.done() for _, answer in answers)
            for far in list(pool.fars):
                far.reply(1 << 20)
                noticed()
            if sum(answer.done() for _, answer in answers) == before:
                for far in list(pool.fars):
                    far.end(OSError("silent"))
        sent = {bytes(words[1]) for far in pool.fars for words in far.asked}
        for number, (kind, answer) in enumerate(answers):
            error = None if answer.cancelled() else answer.exception()
            if isinstance(error, redis.ResponseError):
                assert (kind, str(error)) == ("FAIL", f"refused {number}")
            elif isinstance(error, NotSent):
                assert b"%d" % number not in sent
            elif error is not None:
                assert isinstance(error, redis.ConnectionError)
                assert b"%d" % number in sent

    on_a_line(story)


def test_a_command_does_not_wait_for_the_reply_to_another():
    """Commands leave while replies to others are due, also if there is one connection only."""

    async def story(line: Line, pool: Pool) -> None:
        first = asked(line, b"ECHO", 0)
        await rest()
        others = [asked(line, b"ECHO", number) for number in range(1, 100)]
        await rest()
        [far] = pool.fars
        assert [int(words[1]) for words in far.asked] == list(range(100))
        assert not first.done()
        far.reply(1 << 20)
        assert [int(each.result()[0]) for each in (first, *others)] == list(range(100))

    on_a_line(story, size=1)


def test_commands_of_one_moment_leave_in_one_write():
    """Commands that several tasks send when their replies arrive leave together, and none of them beforehand."""

    async def story(line: Line, pool: Pool) -> None:
        for moment in range(1, 4):
            answers = [asked(line, b"ECHO", number) for number in range(30)]
            await rest()
            [far] = pool.fars
            assert far.writes == moment
            far.reply(1 << 20)
            assert all(answer.done() for answer in answers)

    on_a_line(story)


def test_a_full_pipeline_leaves_before_the_moment_ends():
    """Of very many commands of one moment, the first ones leave while the others are still being made."""

    async def story(line: Line, pool: Pool) -> None:
        both = asked(line, b"ECHO", 0), asked(line, b"ECHO", 1)
        await rest()
        [far] = pool.fars
        far.reply(1 << 20)
        assert all(answer.done() for answer in both)
        _ = [asked(line, b"ECHO", number) for number in range(REQUESTS_PER_PIPELINE + 1)]
        assert (len(far.asked), far.writes) == (2 + REQUESTS_PER_PIPELINE, 2)
        await rest()
        assert (len(far.asked), far.writes) == (3 + REQUESTS_PER_PIPELINE, 3)
        assert pool.fars == [far]

    on_a_line(story)


def test_a_command_that_no_other_joins_leaves_at_once():
    """A lone task does not wait for the end of the moment. Others that come meanwhile leave together, on another wire.

    So the next command does not count as lone, and waits for others that may join it.
    """

    async def story(line: Line, pool: Pool) -> None:
        first = asked(line, b"ECHO", 0)
        await rest()
        [far] = pool.fars
        far.reply(1 << 20)
        second = asked(line, b"ECHO", 1)
        assert (len(far.asked), far.writes) == (2, 2)
        others = [asked(line, b"ECHO", number) for number in (2, 3)]
        await rest()
        assert (len(far.asked), far.writes) == (2, 2)
        [_, other] = pool.fars
        assert (len(other.asked), other.writes) == (2, 1)
        for each in pool.fars:
            each.reply(1 << 20)
        assert [answer.result()[0] for answer in (first, second, *others)] == [b"0", b"1", b"2", b"3"]
        last = asked(line, b"ECHO", 4)
        assert far.writes == 2
        await rest()
        far.reply(1 << 20)
        assert (last.result()[0], far.writes) == (b"4", 3)
        assert pool.fars == [far, other]

    on_a_line(story)


def test_a_lone_task_takes_no_further_step_of_the_loop():
    """A lone command begins no moment, so that no callback is left for the event loop."""

    async def story(line: Line, pool: Pool) -> None:
        asked(line, b"ECHO", 0)
        await rest()
        [far] = pool.fars
        far.reply(1 << 20)
        for number in (1, 2):
            answer = asked(line, b"ECHO", number)
            assert (far.writes, line._count) == (number + 1, 0)
            far.reply(1 << 20)
            assert answer.done()

    on_a_line(story)


def test_a_command_waits_for_its_moment_while_others_are_on_their_way():
    """As long as replies to other tasks are due, a command waits for those that they may send in the same moment."""

    async def story(line: Line, pool: Pool) -> None:
        _ = asked(line, b"ECHO", 0)
        await rest()
        second = asked(line, b"ECHO", 1)
        await rest()
        _, far = pool.fars
        far.reply(1 << 20)
        assert second.done()
        _ = asked(line, b"ECHO", 2), asked(line, b"ECHO", 3)
        assert far.writes == 1
        await rest()
        assert (len(far.asked), far.writes) == (3, 2)

    on_a_line(story)


def test_a_cancelled_command_that_waits_is_not_sent():
    """A command that is cancelled before it leaves is never sent."""

    async def story(line: Line, pool: Pool) -> None:
        answers = [asked(line, b"ECHO", number) for number in range(5)]
        answers[3].cancel()
        await rest()
        assert [int(words[1]) for words in pool.fars[0].asked] == [0, 1, 2, 4]

    on_a_line(story)


def test_an_error_counts_once_everything_sent_is_answered():
    """An error waits for the replies to all that was sent, and nothing is sent meanwhile; then both go on."""

    async def story(line: Line, pool: Pool) -> None:
        failed = asked(line, b"FAIL", 0)
        second = asked(line, b"ECHO", 1)
        await rest()
        [far] = pool.fars
        far.reply(len(b"-ERR refused 0\r\n"))
        third = asked(line, b"ECHO", 2)
        await rest()
        assert not failed.done()
        assert len(far.asked) == 2
        far.reply(1 << 20)
        assert isinstance(failed.exception(), redis.ResponseError)
        assert second.result()[0] == b"1"
        await rest()
        far.reply(1 << 20)
        assert third.result()[0] == b"2"

    on_a_line(story, size=1)


def test_a_script_that_the_server_lacks_is_brought_along_once():
    """Of commands that the server knew no script for, one is sent again with the source and the others as they were."""

    async def story(line: Line, pool: Pool) -> None:
        answers = [asked(line, "EVALSHA", b"sha", number, b"key") for number in range(3)]
        await rest()
        [far] = pool.fars
        later = asked(line, b"ECHO", 3)
        far.reply(len(b"-NOSCRIPT No matching script.\r\n"))
        await rest()
        assert len(far.asked) == 3
        far.reply(1 << 20)
        await rest()
        assert [words[0] for words in far.asked] == [b"EVALSHA"] * 3 + [b"EVAL", b"EVALSHA", b"EVALSHA", b"ECHO"]
        answers[1].cancel()
        far.reply(1 << 20)
        assert (answers[0].result()[0], later.result()[0]) == (b"0", b"3")

    on_a_line(story, size=1)


@pytest.mark.parametrize(
    "data", [b"+OK\r\n", b"?\r\n", b"-MOVED nonsense\r\n+OK\r\n"], ids=["surplus", "no reply", "odd"]
)
def test_a_reply_that_no_command_waits_for_ends_the_connection(data: bytes):
    """A reply without a command, or bytes that are no reply, end the connection; the next command gets another one."""

    async def story(line: Line, pool: Pool) -> None:
        first = asked(line, b"ECHO", 0)
        await rest()
        pool.fars[0].reply(1 << 20)
        assert first.result()[0] == b"0"
        pool.fars[0].protocol.data_received(data)
        second = asked(line, b"ECHO", 1)
        await rest()
        pool.fars[1].reply(1 << 20)
        assert second.result()[0] == b"1"

    on_a_line(story)


def test_a_push_message_is_no_reply():
    """A push message of protocol 3 among the replies is passed on to redis-py and answers no command."""

    async def story(line: Line, pool: Pool) -> None:
        first, second = asked(line, b"ECHO", 0), asked(line, b"ECHO", 1)
        await rest()
        [far] = pool.fars
        far.reply(len(b"$1\r\n0\r\n"))
        far.protocol.data_received(b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n")
        far.reply(1 << 20)
        await rest()
        assert (first.result()[0], second.result()[0]) == (b"0", b"1")
        [wire] = line._wires
        assert cast(Any, wire.connection).pushed == [[b"message", b"x"]]

    on_a_line(story)


def test_asking_precedes_its_command_and_its_refusal_explains_a_redirect():
    """ASKING leaves right before its command; its reply is nobody's answer."""

    async def story(line: Line, pool: Pool) -> None:
        plain, asking = asked(line, b"ECHO", 0), asked(line, b"ECHO", 1, asking=True)
        await rest()
        [far] = pool.fars
        assert [words[0] for words in far.asked] == [b"ECHO", b"ASKING", b"ECHO"]
        far.reply(1 << 20)
        assert (plain.result()[0], asking.result()[0]) == (b"0", b"1")
        far.refuses_asking = True
        moved, refused, other = (
            asked(line, b"MOVED"),
            asked(line, b"MOVED", asking=True),
            asked(line, b"FAIL", 2, asking=True),
        )
        await rest()
        far.reply(1 << 20)
        assert isinstance(moved.exception(), MovedError)
        assert (str(refused.exception()), str(other.exception())) == ("no cluster", "refused 2")

    on_a_line(story)


# Replicas ----------------------------------------------------------------------------------------------------------


def test_a_wire_that_waits_for_a_replica_takes_nothing_else():
    """Commands that must be confirmed end with one WAIT; those that come meanwhile leave on another connection."""

    async def story(line: Line, pool: Pool) -> None:
        wait = (b"WAIT", 1, 100)
        confirmed = [asked(line, b"ECHO", number, confirm=wait) for number in range(3)]
        await rest()
        [far] = pool.fars
        assert [words[0] for words in far.asked] == [b"ECHO"] * 3 + [b"WAIT"]
        far.reply(len(b"$1\r\n0\r\n") * 3)
        assert not any(answer.done() for answer in confirmed)
        read = asked(line, b"ECHO", 3)
        await rest()
        pool.fars[1].reply(1 << 20)
        assert read.result()[0] == b"3"
        far.end(OSError("cut"))
        assert [answer.result()[1] for answer in confirmed] == [False] * 3  # made, and answered all the same

    on_a_line(story)


def test_the_only_wire_that_waits_for_a_replica_lets_the_next_command_wait():
    """Without another connection, a command waits until WAIT is answered, and is not sent behind it."""

    async def story(line: Line, pool: Pool) -> None:
        confirmed = asked(line, b"ECHO", 0, confirm=(b"WAIT", 1, 100))
        await rest()
        read = asked(line, b"ECHO", 1)
        await rest()
        [far] = pool.fars
        assert [words[0] for words in far.asked] == [b"ECHO", b"WAIT"]
        far.reply(1 << 20)
        assert confirmed.result()[1]
        far.reply(1 << 20)
        assert read.result()[0] == b"1"

    on_a_line(story, size=1)


# A server that does not read, or says nothing ----------------------------------------------------------------------


def test_ten_thousand_commands_do_not_pile_up_in_a_buffer():
    """While the server does not read, no more is written than the transport takes and one pipeline; the rest waits."""

    async def story(line: Line, pool: Pool) -> None:
        answers = [asked(line, b"ECHO", b"x" * 1000) for _ in range(10_000)]
        await rest()
        [far] = pool.fars
        assert far.written <= HIGH_WATER + REQUESTS_PER_PIPELINE * 1100
        while not all(answer.done() for answer in answers):
            written, far.written = far.written, 0
            assert written <= HIGH_WATER + REQUESTS_PER_PIPELINE * 1100
            far.reply(1 << 30)
            if not answers[-1].done():
                far.protocol.resume_writing()
        assert pool.fars == [far]

    on_a_line(story, size=1, capacity=HIGH_WATER)


def test_a_connection_that_hangs_gets_nothing_more():
    """While a reply of an earlier moment is due, commands leave on another connection; the reply frees the first."""

    async def story(line: Line, pool: Pool) -> None:
        hanging = asked(line, b"ECHO", 0)
        await rest()
        other = asked(line, b"ECHO", 1)
        await rest()
        pool.fars[1].reply(1 << 20)
        assert other.result()[0] == b"1"
        assert len(pool.fars[0].asked) == 1
        pool.fars[0].reply(1 << 20)
        assert hanging.result()[0] == b"0"
        last = asked(line, b"ECHO", 2)
        await rest()
        assert len(pool.fars) == 2
        pool.fars[0].reply(1 << 20)
        assert last.result()[0] == b"2"

    on_a_line(story)


def test_a_silent_server_fails_what_was_sent_and_what_waits():
    """After a time limit without a reply, what was sent is lost, and what waits is not sent; not before."""

    async def story(line: Line, pool: Pool) -> None:
        answers = [asked(line, b"ECHO", b"x" * 1000) for _ in range(300)]
        await rest()
        [wire], [far] = line._wires, pool.fars
        wire._look()
        assert not any(answer.done() for answer in answers)
        pool.refuses = True
        wire._last -= 2.0
        wire._look()
        sent = len(far.asked)
        assert 0 < sent < len(answers)
        assert [type(answer.exception()) for answer in answers] == [redis.ConnectionError] * sent + [NotSent] * (
            len(answers) - sent
        )

    on_a_line(story, size=1, capacity=HIGH_WATER)


def test_a_reply_begins_the_time_limit_anew():
    """A server that answers is not given up, however many replies are due."""

    async def story(line: Line, pool: Pool) -> None:
        answers = [asked(line, b"ECHO", number) for number in range(3)]
        await rest()
        [wire], [far] = line._wires, pool.fars
        for answer in answers:
            wire._last -= 1.9
            far.reply(len(b"$1\r\n0\r\n"))
            wire._look()
            assert answer.result()[0] is not None

    on_a_line(story)


def test_without_a_connection_what_waits_is_not_sent():
    """If no connection can be had, everything that waits is told so at once, and the next command tries again."""

    async def story(line: Line, pool: Pool) -> None:
        pool.refuses = True
        answers = [asked(line, b"ECHO", number) for number in range(3)]
        await rest()
        assert {type(answer.exception()) for answer in answers} == {NotSent}
        pool.refuses = False
        again = asked(line, b"ECHO", 3)
        await rest()
        pool.fars[0].reply(1 << 20)
        assert again.result()[0] == b"3"

    on_a_line(story)


def test_a_cancelled_opening_refuses_what_waits():
    """Commands wait no longer if the task that opens their connection is cancelled, also before it begins."""

    async def story(line: Line, pool: Pool) -> None:
        answer = asked(line, b"ECHO", 0)
        line._send()
        for task in line._tasks:
            task.cancel()
        await rest()
        assert isinstance(answer.exception(), NotSent)
        await line.close()

    on_a_line(story)


def test_a_long_idle_connection_is_asked_first():
    """With `health_check_interval`, a connection that was idle for longer gets a PING first."""

    async def story(line: Line, pool: Pool) -> None:
        first = asked(line, b"ECHO", 0)
        await rest()
        [far], [wire] = pool.fars, line._wires
        far.reply(1 << 20)
        assert first.done()
        wire._last -= 31.0
        second = asked(line, b"ECHO", 1)
        await rest()
        assert [words[0] for words in far.asked] == [b"ECHO", b"PING"]
        pool.fars[1].reply(1 << 20)  # nothing waits for the PING: another connection is made
        assert second.result()[0] == b"1"
        far.reply(1 << 20)
        third = asked(line, b"ECHO", 2)
        await rest()
        far.reply(1 << 20)
        assert third.result()[0] == b"2"

    on_a_line(story, interval=30.0)


def test_closing_waits_for_what_is_due_and_gives_the_connection_back():
    """`close` waits for the replies, also for that of a cancelled command; redis-py then has its transport back."""

    async def story(line: Line, pool: Pool) -> None:
        answer = asked(line, b"ECHO", 0)
        await rest()
        [far] = pool.fars
        answer.cancel()
        closing = asyncio.create_task(line.close())
        await rest()
        assert not closing.done()
        far.reply(1 << 20)
        await closing
        assert not isinstance(far.protocol, Wire)
        assert len(pool.released) == 1

    on_a_line(story)


# On real servers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    """Return a server."""
    with running(valkey_program()) as found:
        yield found


def turn(member: str) -> Commit:
    """Return the commit of a first turn."""
    body = b"1"
    return Commit(member, NO_HEAD, "t", "t", "said", b"{}", Entry(1, digest(body), body), b"record")


def test_a_connection_whose_end_was_not_read_yet_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch):
    """Before an idle connection is used, its end is noticed, although the event loop did not run when it came."""
    monkeypatch.setattr(Attempts, "wait", lambda *_: pytest.fail("a command was sent in vain"))
    with asyncio.Runner() as runner, server.client() as client:
        manager = AsyncAtomicStateManager.from_url(server.url)
        runner.run(manager.load("m"))
        client.client_kill_filter(_type="normal", skipme=True)
        assert isinstance(runner.run(manager.commit(turn("killed"))), Committed)
        runner.run(manager.close())


def test_managers_of_one_client_share_its_one_connection(server: Server):
    """Managers of one client share its connections, and the client itself finds one too."""

    async def story() -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(server.url, max_connections=1, timeout=60)
        async with redis.asyncio.Redis.from_pool(pool) as client:
            one, other = AsyncAtomicStateManager(client), AsyncAtomicStateManager(client)
            for manager in (one, other, one):
                assert isinstance(await manager.load("m"), Stored)
                assert await client.ping()
            await one.close()
            await other.close()
            assert await client.ping()

    asyncio.run(story())


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_password_is_given_by_redis_py(protocol: int):
    """A server with a password is used over Unix sockets in both protocols."""

    async def story(url: str) -> None:
        client = redis.asyncio.Redis.from_url(f"{url}?password=secret", protocol=protocol)
        async with client, AsyncAtomicStateManager(client) as manager:
            answers = await asyncio.gather(*(manager.commit(turn(f"m{n}")) for n in range(30)))
            assert {type(answer) for answer in answers} == {Committed}

    with running(valkey_program()) as guarded:
        with guarded.client() as client:
            client.config_set("requirepass", "secret")
        asyncio.run(story(guarded.url))


def test_a_connection_with_tls_is_taken_over_too(server: Server, tmp_path: Path):
    """Commands and replies of any size pass over TLS."""

    async def story() -> None:
        context = _certified(tmp_path)

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            near, far = await asyncio.open_unix_connection(str(server.socket))
            await asyncio.gather(_pump(reader, far), _pump(near, writer))

        proxy = await asyncio.start_server(pass_on, "127.0.0.1", ssl=context)
        port = proxy.sockets[0].getsockname()[1]
        url = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'certificate.pem'}"
        async with AsyncAtomicStateManager.from_url(url, timeout=30) as manager:
            commits = [attrs.evolve(turn(f"tls{n}"), document=b"x" * 50_000) for n in range(9)]
            assert {type(each) for each in await asyncio.gather(*map(manager.commit, commits))} == {Committed}
            loads: list[Any] = await asyncio.gather(*(manager.load(f"tls{n}") for n in range(9)))
            assert [each.document for each in loads] == [b"x" * 50_000] * 9
        proxy.close()

    asyncio.run(story())


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def _certified(folder: Path) -> ssl.SSLContext:
    """Return the context of a server named localhost; its certificate is certificate.pem in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "certificate.pem", folder / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return context
