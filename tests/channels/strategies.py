"""Strategies of the channel tests: any JSON, any replies, and the options that a member can reach."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from vimbiso_fsm.channels.plain import options, question
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
any_json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)

AWKWARD = [
    "",
    " ",
    "\n",
    "a" * 30,
    "long title " * 8,
    "word\n\nword ",
    "é\u0301" * 40,
    "👩🏽‍🚀" * 12,
    "🇿🇼🇨🇦" * 9,
    "€{}" * 70,
    "\ud800",
]
words = st.one_of(st.sampled_from(AWKWARD), st.text(max_size=60))
long_words = st.builds(lambda text, times: text * times, words, st.sampled_from([1, 1, 20, 200]))
ids = st.one_of(
    st.text(max_size=8), st.sampled_from(["yes", "no", " ", "x" * 65, "x" * 201, "x" * 257, "é" * 33, "\ud800"])
)

texts = st.builds(Text, long_words)
buttons = st.builds(Button, ids, words)
rows = st.builds(Row, ids, words, st.none() | words)
any_reply: st.SearchStrategy[Reply] = st.one_of(
    texts,
    st.builds(Buttons, texts, st.lists(buttons, max_size=12).map(tuple)),
    st.builds(Menu, texts, st.lists(rows, max_size=14).map(tuple)),
)


@st.composite
def broken(draw: st.DrawFn, whole: Any) -> bytes:
    """A JSON document with one part, or an empty one as a whole, replaced by any other JSON, as bytes."""
    changed = copy.deepcopy(whole)
    places = list(_places(changed))
    if not places:
        return json.dumps(draw(any_json)).encode()
    holder, key = draw(st.sampled_from(places))
    holder[key] = draw(any_json)
    return json.dumps(changed).encode()


def _places(value: Any) -> Iterable[tuple[Any, Any]]:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def bare(text: str) -> str:
    """Return the text without white space, which a split must keep."""
    return "".join(text.split())


def says_all(reply: Reply, said: Iterable[str]) -> bool:
    """Return whether all words of the question are there."""
    return bare(question(reply)) in bare("".join(said))


def reachable(reply: Reply, shown: Iterable[str], said: Iterable[str]) -> bool:
    """Return whether each option can be pressed (its id is in `shown`) or typed (its number starts a line)."""
    pressed, numbers = set(shown), set(re.findall(r"^(\d+)\.", "\n".join(said), re.MULTILINE))
    return all(option.id in pressed or str(n) in numbers for n, option in enumerate(options(reply), 1))
