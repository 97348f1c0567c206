"""Measure whether a long conversation costs more: what is stored of one member and how long a turn takes.

`make bench ARGS=--length` runs it. Each conversation repeats a round. At each milestone the stored bytes are counted,
and its rounds are timed alternately with rounds of members at their tenth turn, so that a slow minute affects both
alike: once with the documents in the worker's cache, and once without it, where each turn loads what is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import count
from statistics import median

import attrs
import redis

from tests.bench.conversation import OFFER, POST, TILL, Conversation, Script
from tests.bench.server import Server
from vimbiso_fsm import FlowStateManager, Outcome
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.store.layout import Keys
from vimbiso_fsm.store.retention import AUDIT_KEPT, RECORDS_KEPT, TOKEN_LIFE

__all__ = ["CASES", "EARLY", "HEADING", "NOTES", "Stage", "line", "stages"]

EARLY = 10
"""The turn that all later ones are compared with."""


CASES = (
    attrs.evolve(TILL, name="one run for ever"),
    attrs.evolve(TILL, name="refused now and then", round=("nothing", "?", "12.50 USD", "bread and milk")),
    attrs.evolve(TILL, name="refused for ever", round=("nothing", "at all")),
    attrs.evolve(OFFER, name="back for ever"),
    attrs.evolve(OFFER, name="parked and resumed", opening=(*OFFER.opening, "10 USD"), round=("menu", "yes")),
    attrs.evolve(OFFER, name="parked and dropped", round=("10 USD", "menu", "no", "offer")),
    attrs.evolve(OFFER, name="runs that end", round=("10 USD", "cancel", "offer")),
    attrs.evolve(POST, name="runs that end with a call"),
)
"""Every way round that a conversation can take without an end. `flows.bot` is VimbisoPay."""


@attrs.frozen
class Stage:
    """A member at a milestone. Sizes are in bytes.

    Attributes:
        turn: Messages so far.
        took: Microseconds of a turn, as a median.
        took_uncached: The same without the worker's cache.
        early: Microseconds of a turn of members at turn `EARLY` in the same minute.
        early_uncached: The same without the worker's cache.
    """

    case: str
    turn: int
    document: int
    previous: int
    records: int
    entries: int
    audit: int
    tokens: int
    took: float
    early: float
    took_uncached: float
    early_uncached: float


class _Member:
    """A member who repeats one round.

    Attributes:
        turn: Messages handled. Between rounds the member stands where the first one began.
    """

    _numbers = count(1)

    def __init__(self, script: Script, manager: FlowStateManager) -> None:
        self._conversation = Conversation(script, next(self._numbers))
        self._length = len(script.round)
        self.turn = 0
        self.outcome: Outcome
        for message in self._conversation.opening:
            self._say(manager, message)

    def age(self, manager: FlowStateManager, turn: int) -> None:
        """Go on, in whole rounds, to a turn."""
        while self.turn < turn:
            self.round(manager)

    def round(self, manager: FlowStateManager) -> float:
        """Return the seconds of a turn, as the average of one round."""
        messages = [next(self._conversation) for _ in range(self._length)]
        since = time.perf_counter()
        for message in messages:
            self._say(manager, message)
        return (time.perf_counter() - since) / self._length

    def _say(self, manager: FlowStateManager, message: Message) -> None:
        self.outcome = manager.handle(message)
        self.turn += 1
        if self.outcome.status not in ("advanced", "refused"):
            raise RuntimeError(f"a turn of the benchmark was {self.outcome.status}: {message.text!r}")


def stages(server: Server, scripts: Sequence[Script], milestones: Sequence[int], rounds: int) -> Iterator[Stage]:
    """Yield each script at each milestone, with `rounds` timed there with the cache and as many without it."""
    with redis.Redis.from_url(server.url) as client:
        for script in scripts:
            keys = Keys(script.namespace)
            cached = FlowStateManager.from_url(server.url, script.bot, namespace=script.namespace, rates=None)
            uncached = FlowStateManager.from_url(
                server.url, script.bot, namespace=script.namespace, cache=0, rates=None
            )
            with cached, uncached:
                member = _Member(script, cached)
                for milestone in milestones:
                    member.age(cached, milestone)
                    turn, sizes = member.turn, _sizes(client, keys, member.outcome.state.member_id)
                    took, early = _timed(script, cached, member, rounds)
                    took_uncached, early_uncached = _timed(script, uncached, member, rounds)
                    member.round(cached)  # its cache is behind
                    yield Stage(script.name, turn, *sizes, took, early, took_uncached, early_uncached)


def _timed(script: Script, manager: FlowStateManager, member: _Member, rounds: int) -> tuple[float, float]:
    """Return the microseconds of a turn of the member, and of others at their tenth turn, measured alternately."""
    late, early = [], []
    for number in range(rounds):
        young = _Member(script, manager)
        young.age(manager, EARLY)
        if number % 2:  # neither always follows the other
            late.append(member.round(manager))
        early.append(young.round(manager))
        if not number % 2:
            late.append(member.round(manager))
    return median(late) * 1e6, median(early) * 1e6


def _sizes(client: redis.Redis, keys: Keys, member_id: str) -> tuple[int, int, int, int, int, int]:
    state, _, _, audit, tokens, *_ = keys.member(member_id)
    fields: dict[bytes, bytes] = client.hgetall(state)  # type: ignore[assignment]  # redis-py types sync and async at once
    entries: list[bytes] = client.lrange(audit, 0, -1)  # type: ignore[assignment]  # redis-py types sync and async at once
    return (
        len(fields[b"d"]),
        len(fields.get(b"p", b"")),
        sum(len(value) for name, value in fields.items() if name[:1] == b"r"),
        len(entries),
        sum(map(len, entries)),
        len(fields[b"t"]) + int(client.memory_usage(tokens, samples=0) or 0),
    )


_COLUMNS = (
    ("turn", 8, lambda stage: f"{stage.turn}"),
    ("document", 10, lambda stage: f"{stage.document}"),
    ("previous", 10, lambda stage: f"{stage.previous}"),
    ("records", 9, lambda stage: f"{stage.records}"),
    ("entries", 9, lambda stage: f"{stage.entries}"),
    ("audit", 10, lambda stage: f"{stage.audit}"),
    ("an entry", 10, lambda stage: f"{stage.audit / stage.entries:.0f}"),
    ("tokens", 10, lambda stage: f"{stage.tokens}"),
    ("µs", 7, lambda stage: f"{stage.took:.0f}"),
    ("ratio", 7, lambda stage: f"{stage.took / stage.early:.2f}"),
    ("uncached", 10, lambda stage: f"{stage.took_uncached:.0f}"),
    ("ratio", 7, lambda stage: f"{stage.took_uncached / stage.early_uncached:.2f}"),
)  # fmt: skip

HEADING = f"  {'':<26}" + "".join(f"{name:>{width}}" for name, width, _ in _COLUMNS)
"""Above the table's lines."""
NOTES = f"""\
Bytes. Bounded are: the records, the latest {RECORDS_KEPT}; the audit, the latest {AUDIT_KEPT} entries; the tokens,
those of the latest {TOKEN_LIFE // 86_400} days. µs: of a turn, client and server, the median; ratio: to members at
turn {EARLY} in the same minute. uncached: what is stored is looked up and loaded each turn."""


def line(stage: Stage) -> str:
    """Return a line of the table."""
    return f"  {stage.case:<26}" + "".join(f"{cell(stage):>{width}}" for _, width, cell in _COLUMNS)
