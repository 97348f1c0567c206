"""Following the audit of many members with a bounded number of reads."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from tests.examples import examples
from vimbiso_fsm.audit.entries import AuditEntry, entry_for
from vimbiso_fsm.audit.following import Following
from vimbiso_fsm.document.ids import instant

BEGUN = instant(1_000.0)


def entry(member: str, version: int, *, seconds: float = 1.0) -> AuditEntry:
    """Return an entry of a member, so long after the beginning."""
    at = BEGUN + timedelta(seconds=seconds)
    return entry_for("turn", f"{member}-{version}", member_id=member, version=version, at=at, channel=("sms", ""))


@examples(30)
@given(
    st.integers(2, 8),
    st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.integers(0, 3)), max_size=40),
    st.integers(1, 16),
)
@example(reads=2, talks=[("a", 0), ("b", 1), ("a", 0)], count=3)
def test_each_turn_is_shown_once_and_soon(reads: int, talks: list[tuple[str, int]], count: int) -> None:
    """Whoever talks, a look has no more reads than allowed, and each turn is shown once, within the rounds it says."""
    names = "abcdefghijklmnop"[:count]
    following, stored, shown = Following(BEGUN, reads), dict[str, list[AuditEntry]](), list[AuditEntry]()
    following.know(names)

    def look() -> None:
        found = following.next_round()
        assert len(found) == len({*found}) <= reads
        for member in found:
            shown.extend(following.take(member, stored.get(member, [])))

    for member, looks in talks:
        if member in names:
            stored.setdefault(member, []).append(entry(member, len(stored.get(member, [])) + 1))
        for _ in range(looks):
            look()
    for _ in range(following.rounds):
        look()
    assert sorted(shown, key=str) == sorted((each for member in stored.values() for each in member), key=str)


def test_entries_before_the_beginning_are_not_shown() -> None:
    """What happened before is not shown, and no older entries are asked for because of it."""
    following = Following(BEGUN, 2)
    old, new = entry("a", 7, seconds=-1), entry("a", 8)
    following.know(["a"])
    assert following.take("a", [old]) == []
    assert following.take("a", [old, new]) == [new]
    assert not following.misses("a", [old, new])
    assert not following.misses("a", [])


def test_a_gap_is_noticed() -> None:
    """If the latest entries do not go back to what was shown, older ones are missing."""
    following = Following(BEGUN, 2)
    following.know(["a"])
    following.take("a", [entry("a", 1)])
    assert following.misses("a", [entry("a", 5), entry("a", 6)])
    assert not following.misses("a", [entry("a", 2), entry("a", 3)])


def test_members_come_and_go() -> None:
    """A new member is read in the next round, and one who is gone no more."""
    following = Following(BEGUN, 2)
    following.know("abc")
    following.take("a", [entry("a", 1)])
    following.know("bcd")
    assert "d" in following.next_round()
    assert {name for _ in range(following.rounds) for name in following.next_round()} == {*"bcd"}
