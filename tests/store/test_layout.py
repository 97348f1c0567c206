"""The table of keys, namespaces, and the number that a store's layout has."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import texts
from vimbiso_fsm.document import document
from vimbiso_fsm.document.shape import BOOKKEEPING, SEED
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.store import layout
from vimbiso_fsm.store.layout import (
    LAYOUT,
    LAYOUTS,
    OLDEST_LAYOUT,
    TABLE,
    Keys,
    table_digest,
    unword,
    word,
    words_of,
)
from vimbiso_fsm.store.requests import (
    NO_HEAD,
    Claim,
    Heartbeat,
    KeepKey,
    Lease,
    Link,
    Load,
    MemberKey,
    Quarantine,
    ReadIncidents,
    Request,
    SetAside,
    TakePace,
)
from vimbiso_fsm.store.script import encode

STORED: list[type[Any]] = [
    Address,
    *(
        kind
        for kind in vars(document).values()
        if isinstance(kind, type) and kind.__module__ == document.__name__ and kind is not document.Judged
    ),
]
"""The classes of which a document holds instances in the store."""
NAMESPACES = st.text("abAB09_.-", min_size=1, max_size=40)


def fields() -> list[str]:
    """Return every field of a document on the wire, and of the classes in it."""
    named = [
        f"{kind.__name__}.{field.name}"
        for kind in STORED
        if attrs.has(kind)
        for field in attrs.fields(kind)
        if field.init and field.name != "ahead"  # it is never stored
    ]
    return [*named, *SEED, *BOOKKEEPING]


def test_a_change_of_keys_or_fields_raises_the_layout():
    """An older release that met such keys or fields would take them for damage, so it has to be refused."""
    assert table_digest(fields()) == LAYOUTS[-1].digest, (
        f"the keys or the fields of documents have changed: the digest is {table_digest(fields())!r}. If the last of "
        "LAYOUTS in store/layout.py was released, add a layout with this digest that says what becomes of older "
        "stores; else give the last one this digest"
    )


def test_layouts_are_counted_without_gaps():
    """Each layout has the next number, and the range of those that are converted ends at the last one."""
    assert [layout.number for layout in LAYOUTS] == list(range(1, len(LAYOUTS) + 1))
    assert 1 <= OLDEST_LAYOUT <= LAYOUT == LAYOUTS[-1].number
    assert all(layout.change for layout in LAYOUTS)


def requests_of(member: str, channel: Channel) -> list[Request]:
    """Return requests that name keys of every kind."""
    return [
        Load(member),
        Quarantine(member, NO_HEAD),
        ReadIncidents(member),
        ReadIncidents(None),
        Link(channel, member),
        SetAside(Link(channel, member)),
        Link(channel.with_account("1001"), member),
        Link(channel, member, way="token of a way"),
        Lease(7, "w", 1.0),
        Heartbeat("w", 1.0),
        TakePace("whatsapp", "1001", "guest-1", 1.0, 30),
        Claim(b"{}", None),
        KeepKey(member, MemberKey("~1", b"key")),
    ]


def keys_of(request: Request, namespace: str) -> set[bytes]:
    """Return the keys of the command of a request."""
    words = encode(request, Digests((b"k",)), 0.0, Keys(namespace)).words
    return {key for key in words[3 : 3 + int(words[2])] if isinstance(key, bytes)}


@given(NAMESPACES, NAMESPACES, texts, texts)
def test_two_namespaces_share_no_key(one: str, other: str, member: str, identifier: str):
    """Whatever the ids: no key of one is a key of the other, and each ACL pattern matches its own keys alone."""
    if one == other or not identifier.strip() or not identifier.isprintable():
        return
    asked = requests_of(member, Channel("sms", identifier[:100]))
    spaces = {name: {key for request in asked for key in keys_of(request, name)} for name in ("", one, other)}
    for name, keys in spaces.items():
        pattern = Keys(name).acl_pattern.removeprefix("~")
        assert all(fnmatchcase(key.decode(), pattern) for key in keys)
        assert not any(fnmatchcase(key.decode(), pattern) for rest in spaces if rest != name for key in spaces[rest])


def test_every_kind_of_key_is_used():
    """The table lists no key that the store does not write, and the store writes none beside it."""
    asked = requests_of("m-42", Channel("sms", "263"))
    made = {key.decode() for request in asked for key in keys_of(request, "")} | {"vimbiso:shards", "vimbiso:index"}
    any_word = dict.fromkeys(
        (
            "shard",
            "member",
            "version",
            "nanoseconds",
            "name",
            "place",
            "type",
            "identifier",
            "account",
            "digest",
            "way",
        ),
        "~",
    )
    patterns = {
        name: re.compile(re.escape(kind.pattern.format(space="vimbiso", **any_word)).replace(r"\~", "[^:]+"))
        for name, kind in TABLE.items()
    }
    assert {name for name in patterns if any(patterns[name].fullmatch(key) for key in made)} == TABLE.keys()
    assert all(any(pattern.fullmatch(key) for pattern in patterns.values()) for key in made)


@pytest.mark.parametrize("name", ["a b", "a:b", "a/b", "{a}", "*", "é", "a" * 41, "a\n"])
def test_a_namespace_of_another_form_is_refused(name: str):
    """A name that could close a tag, match more keys, or equal another one is refused in a sentence."""
    with pytest.raises(ValueError, match="it is a part of every key"):
        Keys(name)


@given(st.lists(st.one_of(st.text("abAB09_-", max_size=8), texts), max_size=5))
def test_words_that_are_encoded_together_are_those_that_are_encoded_alone(given_texts: list[str]):
    """Words do not depend on the words beside them, hold no space, and are read back as the texts that they encode."""
    found = words_of(*given_texts)
    assert found == [word(text) for text in given_texts]
    assert not any(b" " in each for each in found)
    assert [unword(each) for each in found] == given_texts


def test_a_turn_costs_the_same_whatever_its_digests_are(monkeypatch: pytest.MonkeyPatch):
    """Each digest and token of a commit is its own word, also one with the two signs of URL-safe Base64."""
    monkeypatch.setattr(layout, "quote", None)  # no word of a commit comes so far
    assert words_of("5b099311c643b18b", "-9gnOtNcqXnICEJCzCtOUg", "_WXIS2MstYCrBdjI6janFA") == [
        b"5b099311c643b18b",
        b"-9gnOtNcqXnICEJCzCtOUg",
        b"_WXIS2MstYCrBdjI6janFA",
    ]
