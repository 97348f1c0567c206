"""Count what a turn costs: the figures that are the same on every machine, loaded or not.

`make bench ARGS=--counts` prints them: the calls in the client, by `sys.setprofile`; the trips, the commands of the
script and the bytes on the wire, by the counters of the server; the trips of a member's first turns; and the bytes that
the server keeps of a conversation. `test_counts.py` holds them below bounds.
"""

from __future__ import annotations

import _weakrefset
import gc
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count, cycle
from types import FrameType
from typing import Final

import attrs
import redis

from tests.bench.contenders import AT_ONCE, TurnsAsync, recorded_late, senders
from tests.bench.conversation import OFFER, PICK, POST, TILL, Script
from tests.bench.server import Server
from vimbiso_fsm import Channel, FlowStateManager, Message, Outcome, Rate, Rates
from vimbiso_fsm.messages.replies import Buttons
from vimbiso_fsm.store.layout import Keys

__all__ = ["KINDS", "MEMORY_AFTER", "Counted", "Kind", "awaited", "counts", "first_turns", "kept", "table"]


@attrs.frozen
class Kind:
    """A kind of turn: the last message of a round that a member repeats.

    Attributes:
        name: The name of its row.
        script: The conversation, whose opening is said first.
        round: The messages of the round. `*` presses the first button that was shown.
        status: The status of the turn.
        sends: Whether the manager sends the replies itself.
    """

    name: str
    script: Script
    round: tuple[str, ...]
    status: str = "advanced"
    sends: bool = False


KINDS: Final = (
    Kind("plain turn with a guard", TILL, ("bread and milk", "12.50 USD")),
    Kind("plain turn", TILL, ("12.50 USD", "bread and milk")),
    Kind("plain turn, sent", TILL, ("12.50 USD", "bread and milk"), sends=True),
    Kind("button", PICK, ("*",)),
    Kind("typed choice", PICK, ("flip",)),
    Kind("call", POST, ("hello", "Alan")),
    Kind("refusal", TILL, ("nothing",), "refused"),
    Kind("VimbisoPay's offer", OFFER, ("back", "10 USD")),
    Kind("VimbisoPay's back", OFFER, ("10 USD", "back")),
)
ROUNDS: Final = 3
"""Rounds before the one that is counted: the caches of the process and of the worker are filled then."""
_OF_THREADS: Final = frozenset({threading.__file__, _weakrefset.__file__})
"""The modules whose calls are not counted: how often a thread waits for that of a service depends on the machine."""
MEMORY_AFTER: Final = (4, 20, 200)
"""Turns after which the bytes of a conversation are counted."""


@attrs.frozen
class Counted:
    """What one turn cost.

    Attributes:
        python: Calls of Python functions in the client.
        builtin: Calls of functions in C in the client.
        trips: How often the server read from the client.
        commands: The commands that the script called.
        sent: Bytes to the server.
        received: Bytes from the server.
    """

    python: int
    builtin: int
    trips: int
    commands: int
    sent: int
    received: int


class _Member:
    """A member of a manager, who says texts and presses buttons."""

    _numbers = count(1)

    def __init__(self, manager: FlowStateManager) -> None:
        self._manager = manager
        self._channel = Channel("whatsapp", f"263770{next(self._numbers):08}")
        self._ids = count(100_000)  # all ids have the same length, and so have the bytes on the wire
        self._outcome: Outcome

    @property
    def id(self) -> str:
        """The member's id."""
        return self._outcome.state.member_id

    @property
    def status(self) -> str:
        """The status of the latest turn."""
        return self._outcome.status

    def say(self, texts: Iterable[str]) -> None:
        """Handle a message for each text; `*` presses the first button."""
        for text in texts:
            self.turn(text)()

    def turn(self, text: str) -> Callable[[], Outcome]:
        """Return the turn of one message, which is made when it is called."""
        number, choice = f"{self._channel.identifier} {next(self._ids)}", None
        if text == "*":
            choice = next(reply.buttons[0].id for reply in self._outcome.replies if isinstance(reply, Buttons))
        message = Message(self._channel, id=number, text=None if choice else text, choice=choice)

        def turn() -> Outcome:
            self._outcome = self._manager.handle(message)
            return self._outcome

        return turn


class _Counters:
    """The counters of the server, and what was counted between two readings."""

    _OUTSIDE = frozenset(["info", "eval", "evalsha", "script|load", "client|setinfo", "hello", "select"])

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)

    def _read(self) -> dict[str, int]:
        info = self._client.info("everything")
        inside = {
            name: each["calls"]
            for name, each in info.items()
            if name.startswith("cmdstat_") and name.removeprefix("cmdstat_") not in self._OUTSIDE
        }
        return {
            "trips": info["total_reads_processed"],
            "commands": sum(inside.values()),
            "sent": info["total_net_input_bytes"],
            "received": info["total_net_output_bytes"],
        }

    def during(self, work: Callable[[], object]) -> dict[str, int]:
        """Return what was counted during `work`, without the reading itself.

        The server's answers to two readings differ by some digits, so the bytes received are exact to about 30.
        """
        first, before = self._read(), self._read()
        work()
        return {name: number - 2 * before[name] + first[name] for name, number in self._read().items()}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _calls(work: Callable[[], object]) -> tuple[int, int]:
    """Return the calls of Python functions and of functions in C that `work` makes."""
    python, builtin = -1, -1  # without the call of `work`, and without that of `sys.setprofile` at the end

    def counting(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal python, builtin
        if frame.f_code.co_filename not in _OF_THREADS:
            python += event == "call"
            builtin += event == "c_call"

    gc.disable()  # a collection would call the finalizers of others
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return python, builtin


def _manager(server: Server, script: Script, *, sends: bool = False) -> FlowStateManager:
    rates = Rates(Rate(1_000_000, every=1.0))  # the count of each message is a part of the turn
    options = senders(sends)
    return FlowStateManager.from_url(server.url, script.bot, namespace=script.namespace, rates=rates, **options)


def counts(server: Server, kinds: Iterable[Kind] | None = None) -> Iterator[tuple[Kind, Counted]]:
    """Yield each kind of turn with what it cost; without `kinds`, all of `KINDS`.

    Raises:
        RuntimeError: A turn had another status than its kind.
    """
    counters = _Counters(server.url)
    for kind in KINDS if kinds is None else kinds:
        *before, text = kind.round
        with recorded_late(), _manager(server, kind.script, sends=kind.sends) as manager:
            member = _Member(manager)
            member.say((*kind.script.opening, *kind.round * ROUNDS, *before))
            turn = member.turn(text)
            python, builtin = _calls(turn)
            member.say(before)
            turn = member.turn(text)
            on_the_wire = counters.during(turn)
        if member.status != kind.status:
            raise RuntimeError(f"the turn that was counted as {kind.name!r} was {member.status}")
        yield kind, Counted(python, builtin, **on_the_wire)
    counters.close()


def awaited(server: Server) -> Iterator[tuple[int, float, float, float]]:
    """Yield the calls of Python functions and of functions in C of an awaited turn, and its trips.

    The first is of one task, the second of many, and the third of one whose replies the manager sends itself.

    They are means over many turns. Those of many tasks depend a little on how often the replies to some of them arrive
    together.
    """
    counters = _Counters(server.url)
    for tasks, turns, sends in ((1, 200, False), (AT_ONCE, 10, False), (1, 50, True)):
        with recorded_late():
            contender = TurnsAsync(server.url, TILL, tasks, sends=sends)
            contender.often(ROUNDS)
            python, builtin = _calls(partial(contender.often, turns))
            trips = counters.during(partial(contender.often, turns))["trips"]
            contender.close()
        yield tasks, python / tasks / turns, builtin / tasks / turns, trips / tasks / turns
    counters.close()


def first_turns(server: Server) -> tuple[int, ...]:
    """Return the trips of the first four turns of a new member, in a process that has served others before."""
    counters = _Counters(server.url)
    with _manager(server, TILL) as manager:
        _Member(manager).say((*TILL.opening, *TILL.round))
        member, texts = _Member(manager), (*TILL.opening, *TILL.round, TILL.round[0])
        trips = [counters.during(member.turn(text))["trips"] for text in texts]
    counters.close()
    return tuple(trips)


def kept(server: Server, members: int = 20) -> Iterator[tuple[int, int]]:
    """Yield, for each number of turns, the bytes that the server keeps of one conversation, as a mean."""
    keys = Keys(TILL.namespace)
    texts = cycle(TILL.round)
    with _manager(server, TILL) as manager, redis.Redis.from_url(server.url) as client:
        people, turns = [_Member(manager) for _ in range(members)], 0
        for each in people:
            each.say(TILL.opening)
        for most in MEMORY_AFTER:
            said = [next(texts) for _ in range(most - turns - (turns == 0))]
            turns = most
            for each in people:
                each.say(said)
            used = [int(client.memory_usage(key, samples=0) or 0) for each in people for key in keys.member(each.id)]
            yield turns, round(sum(used) / members)


HEADING: Final = f"  {'':<26}" + "".join(
    f"{name:>12}" for name in ("Python", "built-in", "trips", "commands", "sent", "received")
)
"""Above the lines of the table: calls in the client, trips, commands of the script, bytes on the wire."""


def table(server: Server) -> Iterator[str]:
    """Yield the lines of the figures."""
    yield HEADING
    for kind, counted in counts(server):
        yield f"  {kind.name:<26}" + "".join(f"{number:>12,}" for number in attrs.astuple(counted))
    for sent, (tasks, python, builtin, trips) in zip(("", "", ", sent"), awaited(server), strict=True):
        yield f"  {f'plain turn, {tasks} awaited{sent}':<26}{python:>12.1f}{builtin:>12.1f}{trips:>12.2f}"
    yield f"\ntrips of the first turns     {', '.join(map(str, first_turns(server)))}"
    for turns, size in kept(server):
        yield f"bytes kept after {turns:>3} turns   {size:,}"
