"""The channel index: its names are keyed digests, and entries with earlier names are found and moved."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deployments import cluster
from tests.engines import Server, valkey_program
from vimbiso_fsm.errors import StoreUnavailable
from vimbiso_fsm.messages.digests import UNKEYED, Digests
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.store.index import SHORTEST_SECRET, digests_of, is_record, record_of, secrets_of
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import (
    FindOwner,
    FreeChannels,
    Link,
    Linked,
    Load,
    ReadIndexKeys,
    Request,
    Store,
    Unlink,
)
from vimbiso_fsm.store.retention import TOKEN_KEPT, WAY_LIFE
from vimbiso_fsm.testing.store_contract import waiting

PHONE = "263771734512"
YOU = Channel("whatsapp", PHONE)
OLD, NEW, NEWER = "the first secret", "the second secret", "the third secret"
PLAIN = b"vimbiso:{%d}:channel:whatsapp:263771734512"
"""The key of releases before the keyed index."""


@contextmanager
def opened(kind: str, url: str, secret: Any = None) -> Generator[Store]:
    """Open a store of a kind with a secret."""
    if kind == "sync":
        with AtomicStateManager.from_url(url, secret=secret) as store:
            yield store
    else:
        with waiting(lambda: AsyncAtomicStateManager.from_url(url, secret=secret)) as store:
            yield store


@pytest.fixture
def client(server: Server) -> Generator[Any]:
    """Return a client of the server."""
    with server.client() as found:
        yield found


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


def plain_key() -> bytes:
    """Return the key under which older releases kept the channel."""
    from zlib import crc32

    return PLAIN % (crc32(b"whatsapp:" + PHONE.encode()) % 1024)


def entries(client: Any) -> list[bytes]:
    """Return the keys of the index."""
    return sorted(client.keys("vimbiso:*:channel:*"))


@KINDS
@pytest.mark.parametrize("secret", [None, OLD])
def test_no_key_names_the_number(kind: str, secret: str | None, server: Server, client: Any):
    """A linked channel stands in the index under 64 digits, which differ from store to store without a secret."""
    with opened(kind, server.url, secret) as store:
        assert store.perform(Link(YOU, "m-1")) == Linked("m-1")
        assert store.perform(FindOwner(YOU)) == Linked("m-1")
    [first] = entries(client)
    assert PHONE.encode() not in b"".join(client.keys("*"))
    client.flushall()
    with opened(kind, server.url, secret) as store:
        store.perform(Link(YOU, "m-1"))
    assert (entries(client) == [first]) == (secret is not None)


@KINDS
@pytest.mark.parametrize(
    "request_", [FindOwner(YOU), Link(YOU, "thief"), Unlink(YOU, "thief")], ids=["find", "link", "unlink"]
)
@pytest.mark.parametrize("secret", [None, OLD])
def test_an_entry_of_an_older_release_is_found_and_moved(
    kind: str, request_: Any, secret: str | None, server: Server, client: Any
):
    """The plain key of an older release is found by the first request, in the same call, and is gone after it."""
    client.set("vimbiso:shards", 1024)
    client.set(plain_key(), b"m-1")
    with opened(kind, server.url, secret) as store:
        store.perform(Load("m-1"))  # the manager has read its keys
        client.config_resetstat()
        assert store.perform(request_) == Linked("m-1")
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    [moved] = entries(client)
    assert moved != plain_key()
    assert client.get(moved) == b"m-1"
    assert client.ttl(moved) == -1


@KINDS
def test_an_old_entry_is_unlinked_under_every_name(kind: str, server: Server, client: Any):
    """After an unlink the channel has no entry under any name."""
    with opened(kind, server.url, OLD) as store:
        store.perform(Link(YOU, "m-1"))
    client.set(plain_key(), b"m-1")  # a process of an older release went on for a while
    with opened(kind, server.url, [NEW, OLD]) as store:
        assert store.perform(Unlink(YOU, "m-1")) == Linked(None)
        assert store.perform(FindOwner(YOU)) == Linked(None)
    assert entries(client) == []


@KINDS
def test_a_mark_of_a_way_is_no_entry_is_known_under_every_name_and_ends(kind: str, server: Server, client: Any):
    """A way that was marked under an earlier secret is not made again; its mark counts as no channel, and ends."""
    with opened(kind, server.url, OLD) as store:
        store.perform(Link(YOU, "m-1"))
        assert store.perform(Link(YOU, "m-2", "m-1", way="w")) == Linked("m-2")
        [mark] = client.keys("vimbiso:*:way:*")
        assert 0 < client.ttl(mark) <= WAY_LIFE
    with opened(kind, server.url, [NEW, OLD]) as store:
        assert store.perform(ReadIndexKeys()).entries == 1
        assert store.perform(Link(YOU, "m-1", "m-2")) == Linked("m-1")
        assert store.perform(Link(YOU, "m-2", "m-1", way="w")) == Linked("m-1")
        assert store.perform(Unlink(YOU, "m-1", way="w")) == Linked("m-1")
        assert store.perform(FreeChannels("m-1")) == 1
        client.delete(mark)
        assert store.perform(Link(YOU, "m-2", way="w")) == Linked("m-2")
    assert len(client.keys("vimbiso:*:way:*")) == 1


@KINDS
def test_a_store_gets_its_first_secret_and_another_one(kind: str, server: Server, client: Any):
    """Channels named with the store's own key, and with an earlier secret, are found with later ones and move."""
    secret: Any
    for secret in (None, OLD, [NEW, OLD], [NEWER, NEW, OLD]):
        with opened(kind, server.url, secret) as store:
            assert store.perform(Link(YOU, "m-1")) == Linked("m-1"), secret
            assert store.perform(Link(YOU, "m-2")) == Linked("m-1"), secret
        assert len(entries(client)) == 1
    assert [word.partition(":")[0] for word in client.get("vimbiso:index").decode().split()] == [
        "4", "secret", "secret", "secret", "random"
    ]  # fmt: skip


@KINDS
@pytest.mark.parametrize("given", [None, NEW, [NEW, NEWER]])
def test_a_manager_without_the_secret_is_refused(kind: str, given: Any, server: Server, client: Any):
    """A store that is keyed with a secret takes no manager without it, and stays as it is."""
    with opened(kind, server.url, OLD) as store:
        store.perform(Link(YOU, "m-1"))
    before = {key: client.dump(key) for key in client.keys("*")}
    with opened(kind, server.url, given) as store:
        requests: list[Request] = [FindOwner(YOU), Load("m-1")]
        for request in requests:
            with pytest.raises(StoreUnavailable, match="keyed with a secret that was not given") as error:
                store.perform(request)
            assert OLD not in str(error.value)
    assert {key: client.dump(key) for key in client.keys("*")} == before
    with opened(kind, server.url, OLD) as store:
        assert store.perform(FindOwner(YOU)) == Linked("m-1")


@KINDS
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("secret", [OLD, [NEW, OLD]], ids=["kept", "changed"])
def test_an_account_is_found_by_the_entry_without_one(kind: str, plain: bool, secret: Any, server: Server, client: Any):
    """The entry without an account answers for an account without its own, also under an earlier name of it."""
    here = YOU.with_account("100200")
    with opened(kind, server.url, OLD) as store:
        store.perform(Link(YOU, "m-1"))
    if plain:
        client.delete(*entries(client))
        client.set(plain_key(), b"m-1")
    with opened(kind, server.url, secret) as store:
        assert store.perform(FindOwner(here)) == Linked("m-1", own=False)
        assert store.perform(Link(here, "m-2")) == Linked("m-2")
        assert store.perform(FindOwner(here)) == Linked("m-2")
        assert store.perform(FindOwner(YOU)) == Linked("m-1")
        assert plain_key() not in entries(client)
        assert len(entries(client)) == 2
        assert store.perform(Unlink(here, "m-2")) == Linked("m-1", own=False)
        assert store.perform(Unlink(here, "m-1")) == Linked(None)
    assert entries(client) == []


def test_names_are_found_in_a_cluster():
    """In a cluster all names of a channel are on one node, so that an earlier one is found and moved."""
    channels = [Channel("sms", f"26377100{number:04}") for number in range(20)]
    with cluster(valkey_program()) as nodes:
        with AtomicStateManager.from_url(nodes.url) as store:
            for channel in channels:
                store.perform(Link(channel, f"m of {channel.identifier}"))
        with AtomicStateManager.from_url(nodes.url, secret=OLD) as store:
            for channel in channels:
                assert store.perform(FindOwner(channel)) == Linked(f"m of {channel.identifier}")
                assert store.perform(Unlink(channel, f"m of {channel.identifier}")) == Linked(None)


@pytest.mark.parametrize("given", ["short", "x" * (SHORTEST_SECRET - 1), [OLD, ""]])
def test_a_short_secret_is_refused(given: Any):
    """A secret of fewer than 16 characters is refused when the store is made, and is not quoted."""
    with pytest.raises(ValueError, match="fewer than 16 characters") as error:
        AtomicStateManager.from_url("redis://localhost", secret=given)
    assert "short" not in str(error.value)
    assert "x" * 15 not in str(error.value)


SECRETS = st.lists(st.integers(0, 4).map(lambda n: f"secret number {n:04}"), max_size=3, unique=True).map(tuple)


@given(st.lists(SECRETS, min_size=1, max_size=6), st.booleans(), st.sampled_from(["", f"random:{'ab' * 32}"]))
def test_a_record_names_every_key_that_was_current(given: list[tuple[str, ...]], is_new: bool, record: str):
    """After any sequence of managers that were let in, the record holds each key that was current, once.

    What the store had before is known too: names without a key, unless it was new.
    """
    used = set[bytes]() if is_new and not record else {UNKEYED}
    used |= {bytes.fromhex("ab" * 32)} if record else set()
    for secrets in given:
        try:
            digests_of(secrets, record_of((), record, is_new=is_new) if record else record, "store")
        except StoreUnavailable:
            continue
        record = record_of(secrets, record, is_new=is_new)
        keys = digests_of(secrets, record, "store").keys
        used.add(keys[0])
        assert used <= set(keys) <= used | {secret.encode() for secret in secrets}
        assert len(keys) == len(set(keys))
        assert keys[0] != UNKEYED
        assert UNKEYED not in keys[:-1]
        assert record_of(secrets, record) == record


def digests_after(*secrets: tuple[str, ...], found: str = "", at: float = 0.0, later: float = 0.0) -> Digests:
    """Return the digests of the last of some managers that are made at an instant, a while later."""
    record, instant = found, f"{at:.0f}"
    check = hashlib.sha1(instant.encode()).hexdigest()[:8]
    for of_manager in secrets:
        record = record_of(of_manager, record, is_new=not record).replace("@now", f"@{instant}.{check}")
        assert is_record(record.encode())
    return digests_of(secrets[-1], record, "store", at + later)


def test_tokens_of_earlier_keys_are_looked_for_while_they_are_kept():
    """A key that was the current one has tokens for `TOKEN_KEPT` after that, and one that is given may have some."""
    for later in (0, TOKEN_KEPT - 1):
        assert digests_after((OLD,), (NEW, OLD), later=later).of_tokens == (OLD.encode(),)
        assert digests_after((OLD,), (NEW, OLD), (NEWER, NEW, OLD), later=later).of_tokens == (
            NEW.encode(), OLD.encode()
        )  # fmt: skip
        assert digests_after((OLD,), (NEW, OLD), (OLD, NEW), later=later).of_tokens == (NEW.encode(),)
        assert len(digests_after((), (OLD,), later=later).of_tokens) == 1
    assert digests_after((OLD,), (OLD,)).of_tokens == ()
    assert digests_after((OLD,), (NEW, OLD), later=TOKEN_KEPT).of_tokens == ()
    assert digests_after((OLD,), (NEW, OLD), later=TOKEN_KEPT).keys == (NEW.encode(), OLD.encode())
    assert digests_after((OLD,), (OLD, NEW), later=TOKEN_KEPT).of_tokens == (NEW.encode(),)


@pytest.mark.parametrize("found", [f"random:{'ab' * 32}", f"2 random:{'ab' * 32}", f"2 random:{'ab' * 32} unkeyed"])
def test_tokens_of_an_earlier_release_have_no_key(found: str):
    """Tokens without a key are looked for in a store of an earlier release, while they are kept."""
    for later, expected in ((0, (UNKEYED,)), (TOKEN_KEPT - 1, (UNKEYED,)), (TOKEN_KEPT, ())):
        assert digests_after((), found=found, later=later).of_tokens == expected
        assert digests_after((), (), found=found, later=later).of_tokens == expected
        assert digests_after((), (OLD,), found=found, later=later).of_tokens == tuple(
            key for key in (bytes.fromhex("ab" * 32), *expected) if expected
        )


def test_two_channels_have_two_names():
    """No two channels share a name, with any key, and two keys give two names."""
    digests = Digests((b"a", b"b"))
    pairs = [("sms", "1"), ("sms:1", "x"), ("s", "ms:1"), ("sms", "1 "), ("SMS", "1"), ("1", "sms")]
    names = [name for pair in pairs for name in digests.index_names(Address(*pair))]
    assert len(set(names)) == 2 * len(pairs)


def test_secrets_are_given_as_one_or_several():
    """A text is one secret, a sequence several, and nothing none."""
    assert secrets_of(None) == secrets_of(()) == ()
    assert secrets_of(OLD) == (OLD,)
    assert secrets_of([NEW, OLD]) == (NEW, OLD)
