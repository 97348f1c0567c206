"""A digest that is stored, logged or exported tells nothing of what a member wrote: it has a key, or covers a salt."""

from __future__ import annotations

import hashlib
import json
import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from unittest import mock

import attrs
import pytest

from tests.digests import DIGESTS, digests_at, token_of
from tests.engines import Server
from vimbiso_fsm import (
    SECRET,
    Bot,
    Call,
    Caller,
    Channel,
    Flow,
    FlowStateManager,
    Message,
    State,
    Text,
    Transition,
    Turn,
    call,
    remind,
)
from vimbiso_fsm.audit.export import export_lines
from vimbiso_fsm.audit.trail import read_trail
from vimbiso_fsm.engine import commit
from vimbiso_fsm.engine.commit import as_stored
from vimbiso_fsm.engine.events import content_digest, earlier_contents
from vimbiso_fsm.flow.turn import Changes
from vimbiso_fsm.legacy.convert import import_token
from vimbiso_fsm.messages.content_readers import file
from vimbiso_fsm.messages.contents import Attachment
from vimbiso_fsm.messages.digests import UNKEYED, Digests
from vimbiso_fsm.messages.given import WordsGiven
from vimbiso_fsm.messages.readers import free_text
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.messages.told import Edited
from vimbiso_fsm.operations.effects import LegacyRecord
from vimbiso_fsm.store.requests import Load
from vimbiso_fsm.testing.chat import Chat

PHONE: Final = Channel("whatsapp", "263771000001")
PIN, GOODS, NAME, ALBUM, KEY = "pin 4711", "two shirts", "Lovelace", "album of 263771000001", "invoice of Lovelace"
SECRETS: Final = tuple(text.encode() for text in (PHONE.identifier, PIN, GOODS, NAME, ALBUM))
HASHES: Final = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s")


@attrs.frozen
class Card:
    """The data of the flow: a secret, and an answer that is none."""

    pin: str = attrs.field(default="", metadata=SECRET)
    goods: str = ""
    photo: Attachment | None = None


class Bank:
    """A service that is given what the member wrote, and logs its keys."""

    def pay(self, pin: str, goods: str, *, caller: Caller = Caller()) -> str:  # noqa: B008  # the manager gives its own
        logging.getLogger("bank").warning("paid under %s", caller.key)
        return "receipt"


def logged_in(turn: Turn[Card]) -> Changes[Card]:
    """Make the guest a member, with a profile."""
    member = attrs.evolve(turn.member, id="m-1", guest=False, profile={"name": NAME})
    return turn.changes(member=member)


def reminding(turn: Turn[Card]) -> Changes[Card]:
    """Set a reminder whose key is what the member wrote."""
    return turn.changes(reminders=[remind(turn.now + timedelta(days=9), turn.data.goods, Text("Soon."))])


def paying(turn: Turn[Card]) -> Call[str]:
    """Give the service what the member wrote."""
    return call(Bank.pay, pin=turn.data.pin.upper(), goods=turn.data.goods)


card = Flow(
    "card", data=Card, initial="pin",
    states=[
        State("pin", ask=Text("Which PIN?"), reads=free_text(40), into="pin"),
        State("goods", ask=Text("For what?"), reads=free_text(40), into="goods"),
        State("sure", ask=Text("Sure?")),
        State("photo", ask=Text("A photo?"), reads=file("image"), into="photo"),
        State("paying", call=paying),
        State("done", ask=Text("Paid.")),
    ],
    transitions=[
        Transition("answer", "pin", "goods"),
        Transition("answer", "goods", "sure", prepare=logged_in),
        Transition("yes", "sure", "photo", prepare=reminding),
        Transition("answer", "photo", "paying"),
        Transition(["done", "failed"], "paying", "done"),
        Transition("again", "done", "goods"),
    ],
)  # fmt: skip
BOT = Bot(card, services={"bank": Bank()}, on={Edited: lambda turn, fact: Text("An edit changes nothing.")})


class Tried:
    """The digests without a key that are made of the secrets of a conversation, and not of a salt beside them."""

    def __init__(self, salts: set[bytes]) -> None:
        self._salts, self._originals = salts, {name: getattr(hashlib, name) for name in HASHES}
        self.made: dict[bytes, tuple[str, bytes]] = {}

    def hash(self, name: str, data: bytes = b"", **options: Any) -> Any:
        """Make a hash, and note its digest."""
        made = self._originals[name](data, **options)
        data = bytes(data)
        if (
            not options.get("key")
            and any(secret in data for secret in SECRETS)
            and not any(salt in data for salt in self._salts)
        ):
            self.made[made.digest()] = name, data
        return made

    def found(self, text: bytes) -> Iterator[str]:
        """Yield what the digests are made of that stand in a text, in hexadecimal digits or Base64.

        The checks of the store are SHA-1, and stand beside the bytes that they are checks of.
        """
        for digest, (name, data) in self.made.items():
            if name == "sha1" and all(secret in text for secret in SECRETS if secret in data):
                continue
            encoded = (digest.hex().encode(), b64encode(digest), urlsafe_b64encode(digest))
            if digest in text or any(each[:8] in text for each in encoded):
                yield f"{name} of {data[:200]!r}"


def values(client: Any) -> Iterator[bytes]:
    """Yield every key and every value of a server; a hash is one value."""
    for key in client.scan_iter():
        yield key
        match client.type(key):
            case b"hash":
                yield b"\n".join(part for item in client.hgetall(key).items() for part in item)
            case b"list":
                yield from client.lrange(key, 0, -1)
            case b"zset":
                yield from client.zrange(key, 0, -1)
            case b"set":
                yield from client.smembers(key)
            case _:
                yield client.get(key) or b""


@pytest.mark.embedded
@pytest.mark.parametrize("secret", [None, "the-secret-of-this-store"], ids=["random", "secret"])
def test_no_digest_without_a_key_is_made_of_what_a_member_wrote(
    secret: str | None, valkey_url: str, valkey_server: Server, caplog: pytest.LogCaptureFixture
):
    """No stored value, audit export, export for a person or log has a digest by which a secret could be tried."""
    salts: set[bytes] = set()
    tried, client = Tried(salts), valkey_server.client()
    digests = digests_at(valkey_url, secret=secret)
    senders = {"whatsapp": lambda channel, replies: Sent(f"wamid of {PHONE.identifier}")}
    with client, FlowStateManager.from_url(valkey_url, BOT, secret=secret, senders=senders) as manager:
        seen = [digests.salt_of(name) for name in (digests.guest_id(PHONE), "m-1")]
        salts |= {salt.encode() for salt in seen}
        patches = [mock.patch.object(hashlib, name, lambda *a, n=name, **o: tried.hash(n, *a, **o)) for name in HASHES]
        for patch in patches:
            patch.start()
        try:
            stored: list[bytes] = []
            for number, text in enumerate(["hi", PIN, GOODS, "yes", None, "menu"]):
                content = Attachment("image", ALBUM, caption=NAME) if text is None else None
                said = Message(PHONE, f"w{number}", text, content=content, burst=ALBUM if content else "")
                assert manager.handle(said).status == "advanced", text
                assert manager.handle(said).status == "duplicate"
                assert manager.handle(attrs.evolve(said, text=f"{PIN} {NAME}", content=None)).status == "refused"
                stored += values(client)
            assert manager.tell("m-1", Text(f"Hello {NAME}."), key=KEY).status
            told = Edited(id="e1", channel=PHONE, message_id="w1", text=PIN)
            assert manager.handle_event(told).status == "advanced"
            manager._recorder.record()
            assert getattr(manager._perform(Load("m-1")), "messages", ()), "the messages that were sent are noted"
            stored += values(client)
            exported = json.dumps(manager.export("m-1").value).encode()
            lines = "\n".join(export_lines(read_trail(manager._store, "m-1"))).encode()
        finally:
            for patch in patches:
                patch.stop()
        assert tried.made, "the check of a turn record, at least, is such a digest"
        checks = [name for name, _ in tried.made.values()]
        assert "sha1" in checks
        logged = "\n".join(record.getMessage() for record in caplog.records).encode()
        assert b"paid under" in logged
        for place, texts in {"store": stored, "export": [exported], "audit": [lines], "log": [logged]}.items():
            assert not {what for text in texts for what in tried.found(text)}, place
        document = manager.state("m-1")
        assert document is not None
        assert document.salt in seen
        assert document.salt.encode() not in exported + lines + logged


# Records of other keys, and of an earlier release ---------------------------------------------------------------------


def as_an_earlier_release() -> Any:
    """Make digests of contents without a key meanwhile."""
    return mock.patch.object(commit, "content_digest", lambda event, key: content_digest(event, b""))


def keyed(chat: Chat, *keys: bytes) -> Chat:
    """Let the next operations of a chat be those of a worker with these keys, the current one first."""
    chat._bot = chat.bot.with_digests(Digests(keys))
    return chat


def test_a_record_of_an_earlier_release_answers_a_repeated_message():
    """A record whose digest has no key is no contradiction to the message that it answers."""
    said = Message(PHONE, "w1", PIN)
    with as_an_earlier_release():
        chat = Chat(BOT, channel=PHONE)
        first = chat.handle(said)
    again = chat.handle(said)
    assert (again.status, [str(reply) for reply in again.replies]) == ("duplicate", [str(r) for r in first.replies])


@pytest.mark.parametrize("keys", [(b"the second", b"the first"), (b"the first", b"the second")])
def test_the_content_of_a_message_is_known_under_each_key(keys: tuple[bytes, ...]):
    """After a rotation a repeated message is a duplicate, and one with other words under its id is refused."""
    chat = keyed(Chat(BOT, channel=PHONE), b"the first", b"the second")
    said = Message(PHONE, "w1", PIN)
    chat.handle(said)
    assert keyed(chat, *keys).handle(said).status == "duplicate"
    assert chat.handle(attrs.evolve(said, text=GOODS)).status == "refused"


def test_what_another_system_gives_has_a_token_and_a_content_by_each_key():
    """The key that another system gives may name a person, so its token has a key, and earlier ones are looked for."""
    fact = WordsGiven(member_id="m-1", key=KEY, text=Text("Hello."))
    digests = Digests((b"the second", b"the first", UNKEYED))
    contents = (content_digest(fact, digests.words_key), *earlier_contents(fact, digests))
    assert len(set(contents)) == 3
    assert contents[2] == content_digest(fact, b"")
    assert token_of(fact, digests) != token_of(fact, Digests((b"the first",)))


def test_the_import_of_a_record_has_a_token_with_a_key():
    """The token of an import is made of the number and of the record, and cannot be tried without the key."""
    record = LegacyRecord(PHONE.identifier, b"{}")
    assert import_token(record, DIGESTS.token_key) != import_token(record, b"")
    assert {import_token(record, key) for key in Digests((b"a key",)).every_token_key} >= {import_token(record, b"")}


def test_a_document_without_a_salt_gets_one_with_the_next_commit():
    """A document of an earlier release is read, and each commit on it stores a salt, that of an operator too."""
    chat = Chat(BOT, channel=PHONE)
    with mock.patch.object(Digests, "salt_of", return_value=""):
        chat.say("hi", PIN)
    assert b"_salt" not in (chat.stored().document or b"")
    chat.say("nothing that is read here" * 9)
    document = chat.document()
    assert document.salt == DIGESTS.salt_of(chat.member_id())
    assert as_stored(chat.bot, attrs.evolve(document, salt=""))[0].salt == document.salt
