"""The digests of the addresses of channels, by key and purpose."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm.document.ids import is_guest_id
from vimbiso_fsm.messages.digests import UNKEYED, Digests
from vimbiso_fsm.messages.message import Address, Channel

PHONE = Channel("whatsapp", "263771000001")

addresses = st.builds(
    Address, st.sampled_from(["sms", "s", "sms:1"]), st.text(min_size=1, max_size=3), st.sampled_from(["", "1", "1:1"])
)
keys = st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=3, unique=True).map(tuple)


@given(st.lists(addresses, min_size=2, max_size=2, unique=True), keys)
def test_two_addresses_have_no_digest_in_common(pair: list[Address], made: tuple[bytes, ...]):
    """No two addresses share an id of a guest or a name in the index, under whatever key."""
    digests = Digests((*made, UNKEYED))
    for names in (digests.guest_ids, digests.index_names):
        one, other = (set(names(address)) for address in pair)
        assert one.isdisjoint(other)
        assert len(one) == len(made) + (names == digests.guest_ids)


@given(addresses, keys)
def test_the_purposes_cannot_be_compared(address: Address, made: tuple[bytes, ...]):
    """With a key, the digests of an address for the audit, the index and the guest have nothing in common."""
    digests = Digests(made)
    shown = [digest for _, digest in digests.all_shown(address)]
    guests = [guest.removeprefix("guest-") for guest in digests.guest_ids(address)]
    assert all(map(is_guest_id, digests.guest_ids(address)))
    starts = [digest[:16] for digest in (*shown, *guests, *digests.index_names(address))]
    assert len(set(starts)) == len(starts)


def test_names_without_a_key_are_those_of_earlier_releases():
    """Under the key of earlier releases, a guest and a channel in the audit have the names that they had there."""
    digests = Digests((b"key", UNKEYED))
    plain = hashlib.sha256(b"8:whatsapp:263771000001").hexdigest()
    assert digests.guest_ids(PHONE)[1] == f"guest-{plain[:24]}"
    assert digests.all_shown(PHONE)[1] == ("whatsapp", plain[:16])
    assert (digests.guest_id(PHONE), digests.shown(PHONE)) == (digests.guest_ids(PHONE)[0], digests.all_shown(PHONE)[0])
    assert len(digests.index_names(PHONE.address)) == 1, "the index never had a name without a key"


def test_the_audit_shows_a_channel_without_the_account():
    """The audit shows the channel of a member alike, whichever account of the bot it is reached from."""
    digests = Digests((b"key",))
    assert digests.shown(PHONE.with_account("100200")) == digests.shown(PHONE)
    assert digests.guest_id(PHONE.with_account("100200")) != digests.guest_id(PHONE)


def test_no_key_is_shown():
    """The `repr` of the digests shows no key."""
    assert "key" not in repr(Digests((b"a secret key",))).replace("keys", "")


def test_a_message_has_a_name_by_each_key_and_in_each_chat():
    """An id of a channel is a small number, so its digest has a key, and counts in its chat. Earlier keys are known."""
    digests, chat = Digests((b"new", b"old")), Channel("telegram", "77")
    now, before = digests.message_names(chat, "17")
    assert (before,) == Digests((b"old",)).message_names(chat, "17")
    assert len({now, before, hashlib.sha256(b"8:telegram:77:2:17").hexdigest()[:12]}) == 3
    assert now not in digests.message_names(Channel("telegram", "78"), "17")
    assert digests.message_names(PHONE, "wamid.A") == digests.message_names(Channel("whatsapp", "ZW.1"), "wamid.A")
