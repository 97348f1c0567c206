"""Bad input, from the wire and from the store.

Each has a defined answer. The stored document is unchanged, or quarantined whole if it was damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import attrs
import pytest

from flows.credex_core import SimulatedCredexCore
from tests.engines import Proxy, Server, previous_document, running, valkey_program, write_document
from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.channels import whatsapp
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.errors import (
    CommitUnknown,
    DamagedDocument,
    ForeignState,
    InvalidMessage,
    InvalidState,
    MemberNotFound,
    StoreUnavailable,
    VimbisoError,
    WrongArgument,
)
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import Request, Store
from vimbiso_fsm.store.retention import MAX_DOCUMENT

pytestmark = pytest.mark.embedded

ACCOUNT = "1"
ADA = Channel("whatsapp", "263771000001", {"account": ACCOUNT})
NEW = Channel("whatsapp", "263771234567")
HI = {"type": "text", "text": {"body": "hi"}}

Client: TypeAlias = Any
"""A `redis.Redis`, whose answers redis-py types for sync and async at once."""

_ids = count()


class Managed(Protocol):
    """Makes managers on the test's server, each with an empty cache."""

    def __call__(self, flows: Bot | str = "flows", **options: Any) -> FlowStateManager: ...


@pytest.fixture
def managed(valkey_url: str) -> Generator[Managed, None, None]:
    """Make managers on the server, and close them after the test."""
    service = SimulatedCredexCore()
    with ExitStack() as stack:

        def make(flows: Bot | str = "flows", **options: Any) -> FlowStateManager:
            if flows == "flows":
                options = {"services": {"credex_core": service}, **options}
            return stack.enter_context(FlowStateManager.from_url(valkey_url, flows, **options))

        yield make


@pytest.fixture
def client(valkey_server: Server) -> Generator[Client, None, None]:
    """Yield a plain client, which reads and damages keys beside the store."""
    with valkey_server.client() as client:
        yield client


def say(manager: FlowStateManager, *texts: str, channel: Channel = ADA) -> Outcome:
    """Handle messages one after the other, and return the last outcome."""
    return [manager.handle(Message(channel, f"m{next(_ids)}", text)) for text in texts][-1]


def words(outcome: Outcome) -> str:
    """Return the texts of all replies, one a line."""
    return "\n".join(reply.text for reply in outcome.replies)


def was_sent(outcome: Outcome) -> bool:
    """Return whether the outcome tells that the offer was made."""
    return "offer.sent" in [getattr(reply, "key", "") for reply in outcome.replies]


def step(document: Document) -> tuple[str, str]:
    """Return the flow and the step of the document's run."""
    assert document.run is not None
    return document.run.flow, document.run.step


def everything(client: Client) -> dict[bytes, bytes]:
    """Return all keys with their values as bytes, in which the fields of a hash have one order."""
    return {
        key: repr(sorted(client.hgetall(key).items())).encode() if client.type(key) == b"hash" else client.dump(key)
        for key in client.keys("*")
    }


def key_of(client: Client, document: Document, kind: str) -> str:
    """Return the key of a kind that the server has for the member of a document."""
    (key,) = client.keys(f"*:{document.member_id}:{kind}")
    return str(key, "ascii")


def conversation(document: Document) -> Document:
    """Return the part of a document that a refused input must not change: all but its counters."""
    run = document.run
    if run is not None:
        run = attrs.evolve(run, context={}, verdict={})
    return attrs.evolve(document, run=run, version=0, last_updated=datetime(2000, 1, 1, tzinfo=UTC), deadline=None)


def webhook(*messages: Any) -> dict[str, Any]:
    """Return the body of a WhatsApp webhook with the given messages."""
    value = {"metadata": {"phone_number_id": ACCOUNT}, "messages": list(messages)}
    return {"object": "whatsapp_business_account", "entry": [{"changes": [{"field": "messages", "value": value}]}]}


def said(**changes: Any) -> dict[str, Any]:
    """Return a message of a webhook with an id of its own."""
    return {"from": ADA.identifier, "id": f"wamid.{next(_ids)}", **HI, **changes}


# From the wire: what is no message -----------------------------------------------------------------------------------


def serve(manager: FlowStateManager, body: bytes) -> list[Outcome]:
    """Parse a webhook's body, and handle its messages."""
    return [manager.handle(message) for message in whatsapp.parse(body, now=datetime.now(UTC)).messages]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"object": "whatsapp_business_account", "entry": [', "not JSON"),
        (b"[" * 100_000, "not JSON|nested"),
        (b'{"object": NaN}', "NaN"),
        (b"null", "must be an object"),
        (b"[]", "must be an object"),
        (b"{}", "no WhatsApp webhook"),
        (b'{"object": "page", "entry": []}', "no WhatsApp webhook"),
        (b'{"object": "whatsapp_business_account"}', "entry: is missing"),
        (b'{"object": "whatsapp_business_account", "entry": {}}', "must be a list"),
        (b'{"object": "whatsapp_business_account", "object": "page"}', "twice"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_body_that_is_no_webhook_stores_nothing(managed: Managed, client: Client, body: bytes, fault: str):
    """A body that is no webhook raises `InvalidMessage`, and nothing is stored."""
    manager = managed()
    say(manager, "hi", "offer")
    before = everything(client)
    with pytest.raises(InvalidMessage, match=fault):
        serve(manager, body)
    assert everything(client) == before


@pytest.mark.parametrize(
    "broken",
    [
        {"id": None},
        {"id": ""},
        {"id": "   "},
        {"id": 7},
        {"id": "wamid\n1"},
        {"id": "x" * 513},
        {"from": None},
        {"from": ""},
        {"from": "\x00"},
        {"text": None},
        {"text": {"body": 7}},
    ],
    ids=repr,
)
def test_a_message_without_id_or_sender_or_words_is_noted_and_the_others_are_handled(
    managed: Managed, client: Client, broken: dict[str, Any]
):
    """A message without an id, a sender or a text is noted as a fault, and the others are handled."""
    manager = managed()
    say(manager, "hi", "offer")
    before = everything(client)
    only = whatsapp.parse(json.dumps(webhook(said(**broken))).encode(), now=datetime.now(UTC))
    assert (len(only.messages), len(only.faults)) == (0, 1)
    assert everything(client) == before
    (outcome,) = serve(manager, json.dumps(webhook(said(**broken), said(text={"body": "10"}))).encode())
    assert step(outcome.state) == ("offer", "handle")


@pytest.mark.parametrize(
    "parts",
    [
        {"id": ""},
        {"id": None},
        {"id": "1\n"},
        {"text": 7},
        {"text": "hi", "choice": "1"},
        {"channel": ("", "1")},
        {"channel": ("whatsapp", "")},
        {"channel": ("whatsapp", "26377\n1")},
        {"channel": ("whatsapp", 263771234567)},
    ],
    ids=repr,
)
def test_a_message_made_wrongly_is_the_callers_mistake(parts: dict[str, Any]):
    """A `Message` or `Channel` with invalid parts raises `InvalidMessage`."""
    made: Any = {"id": "1", "channel": ADA, **parts}
    with pytest.raises(InvalidMessage):
        Channel(*made["channel"]) if isinstance(made["channel"], tuple) else Message(**made)


def test_handle_refuses_a_value_that_is_no_message(managed: Managed, client: Client):
    """`handle` refuses a value that is no `Message`, and a channel type that the bot does not know."""
    wrong: list[Any] = ["hi", None, {"text": "hi"}]
    for value in wrong:
        with pytest.raises(InvalidMessage, match="takes a Message"):
            managed().handle(value)
    with pytest.raises(InvalidMessage, match="pigeon"):
        say(managed(), "hi", channel=Channel("pigeon", "1"))
    assert not client.keys("*:member:*")


@pytest.mark.parametrize("metadata", [{"o": object()}, {7: 8}, {"x": float("nan")}], ids=["object", "key", "nan"])
def test_channel_details_that_cannot_be_stored_are_refused(managed: Managed, client: Client, metadata: dict[Any, Any]):
    """Channel metadata that JSON cannot hold is refused, and nothing is stored."""
    manager = managed()
    say(manager, "hi", "offer")
    before = everything(client)
    for channel in (ADA, NEW):
        with pytest.raises((VimbisoError, ValueError), match=r"stored|JSON"):
            say(manager, "hi", channel=Channel("whatsapp", channel.identifier, {**channel.metadata, **metadata}))
    assert {key: value for key, value in everything(client).items() if key in before} == before
    assert not [key for key in client.keys("*:state") if b"guest" in key and key not in before]


class Bounded:
    """A store that fails after a number of requests, so that an endless loop fails the test."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left = 100

    def perform(self, request: Request) -> Any:
        self._left -= 1
        assert self._left, "the store is asked again and again"
        return self._store.perform(request)


@pytest.mark.parametrize("size", [4_096, 100_000])
def test_channel_details_without_end_are_refused(managed: Managed, client: Client, size: int):
    """Channel metadata beyond its size limit is refused before anything is stored."""
    manager = managed()
    say(manager, "hi", "offer")
    before = everything(client)
    for channel in (ADA, NEW):
        with pytest.raises(InvalidMessage, match="limit"):
            say(manager, "10", channel=attrs.evolve(channel, metadata={**channel.metadata, "x": "y" * size}))
    assert everything(client) == before


def test_a_turn_that_makes_the_document_too_large_fails(managed: Managed, valkey_url: str):
    """A turn that makes the document too large fails in plain words, and the member can go on."""
    member = say(managed(), "hi", "offer").state.member_id
    before = managed().update(member, lambda document: attrs.evolve(document, profile={"x": "y" * 62_500}))
    large = attrs.evolve(ADA, metadata={**ADA.metadata, "x": "y" * 4_000})
    with AtomicStateManager.from_url(valkey_url) as store:
        outcome = say(FlowStateManager("flows", Bounded(store)), "?!", channel=large)
    assert outcome.status == "failed"
    assert "wrong on our side" in words(outcome)
    assert conversation(outcome.state) == conversation(before)
    assert say(managed(), "?!").status == "refused"


def test_a_document_at_the_very_limit_can_be_left(
    managed: Managed, client: Client, valkey_url: str, caplog: pytest.LogCaptureFixture
):
    """With a document of the maximum size, a message fails and is only remembered, and cancel leads out."""
    member = say(managed(), "hi", "offer").state.member_id

    def fill(document: Document) -> Document:
        emptied = attrs.evolve(document, version=9, profile={})
        room = MAX_DOCUMENT - len(encode(attrs.evolve(emptied, profile={"x": ""})))
        return attrs.evolve(document, profile={"x": "y" * room})

    while (stored := managed().state(member)) and stored.version < 8:
        managed().update(member, lambda document: document)
    document = managed().update(member, fill)
    assert (document.version, len(encode(document))) == (9, MAX_DOCUMENT)
    with AtomicStateManager.from_url(valkey_url) as store:
        manager = FlowStateManager("flows", Bounded(store))
        held = everything(client)
        outcome = say(manager, "10")
        assert outcome.status == "failed"
        assert "nothing was changed" in words(outcome)
        assert "DocumentTooLarge" in caplog.text
        kept = everything(client)
        changed = {key.rpartition(b":")[2] for key in kept.keys() | held.keys() if kept.get(key) != held.get(key)}
        assert changed == {b"tokens", b"state"}
        assert managed().state(member) == document
        assert say(manager, "cancel").status == "advanced"
        assert say(manager, "?!").status == "refused"


# From the wire: what the member sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5_000, 1_000_000])
@pytest.mark.parametrize("path", [("hi",), ("hi", "offer"), ("hi", "offer", "10")], ids=len)
def test_a_megabyte_of_text_is_refused_and_kept_nowhere(
    managed: Managed, client: Client, path: tuple[str, ...], size: int
):
    """A text or a choice that is too long is refused, and no key holds it."""
    manager = managed()
    before = say(manager, *path).state
    outcome = serve(manager, json.dumps(webhook(said(text={"body": "long" * (size // 4)}))).encode())[0]
    assert outcome.status == "refused"
    assert "too long" in words(outcome)
    assert conversation(outcome.state) == conversation(before)
    pressed = manager.handle(Message(ADA, f"m{next(_ids)}", choice="long" * (size // 4)))
    assert pressed.status == "refused"
    assert not [key for key, value in everything(client).items() if b"longlong" in value or len(value) > 60_000]


CONTROL = [
    "\x00",
    "\x07Emmy",
    "Em\x1bmy",
    "Emmy\u202egnp",
    "\u2066Emmy\u2069",
    "Em\u200bmy",
    "Em\x85my",
    "Emmy\ud800",
    "🙂",
]


@pytest.mark.parametrize("text", CONTROL, ids=ascii)
def test_control_and_direction_characters_are_refused(managed: Managed, client: Client, text: str):
    """Control and direction characters are refused where a name is asked for, and do no harm elsewhere."""
    manager = managed()
    before = say(manager, "hi", "become_member", channel=NEW).state
    outcome = say(manager, text, channel=NEW)
    assert outcome.status == "refused"
    assert conversation(outcome.state) == conversation(before)
    for path in (("hi",), ("offer",), ("10",), ("alan",)):  # everywhere else it is at worst a wrong answer
        before = say(manager, *path).state
        outcome = say(manager, text)
        assert outcome.status in ("refused", "advanced")
        assert conversation(outcome.state) == conversation(before)
    for data in (client.hget(key, "d") for key in client.keys("*:state")):
        loads(data or b"")


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u00a0"], ids=ascii)
def test_empty_words_are_a_wrong_answer(managed: Managed, text: str):
    """An empty or blank text is refused as an answer."""
    manager = managed()
    for path in (("hi",), ("offer",), ("10",)):
        before = say(manager, *path).state
        outcome = say(manager, text)
        assert outcome.status == "refused"
        assert conversation(outcome.state) == conversation(before)


@pytest.mark.parametrize("kind", ["image", "sticker", "location", "contacts", "unknown", "never_heard_of"])
def test_an_image_is_answered_in_words(managed: Managed, kind: str):
    """A message of another kind than text is refused with a hint, and the question is asked again."""
    manager = managed()
    before = say(manager, "hi", "offer").state
    body = json.dumps(webhook({"from": ADA.identifier, "id": f"wamid.{next(_ids)}", "type": kind, kind: {"id": "1"}}))
    (outcome,) = serve(manager, body.encode())
    assert outcome.status == "refused"
    assert "please write, or tap" in words(outcome)
    assert words(outcome).endswith("How much do you want to offer?")
    assert conversation(outcome.state) == conversation(before)


# From the store: documents that are broken ---------------------------------------------------------------------------


def elsewhere(**changes: Any) -> Callable[[bytes], bytes]:
    """Return a change of the run of a stored document."""

    def change(data: bytes) -> bytes:
        raw = loads(data)
        where = raw["flow_data"]
        if "flow_type" in changes:
            where["data"]["flow_type"] = changes["flow_type"]
            where["id"] = f"{changes['flow_type']}:1234"
        where["step"] = changes.get("step", where["step"])
        where["data"] |= changes.get("data", {})
        return json.dumps(raw).encode()

    return change


def with_field(name: str, value: Any) -> Callable[[bytes], bytes]:
    """Return a function that sets one field of a stored document."""
    return lambda data: json.dumps(loads(data) | {name: value}).encode()


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "unknown step": elsewhere(step="gone"),
    "step no text": elsewhere(step=7),
    "data of another shape": elsewhere(data={"amount": "ten"}),
    "field too many": elsewhere(data={"member_id": "m-1"}),
    "no channel": with_field("channel", None),
    "version no number": with_field("_version", "7"),
    "no flow data": with_field("flow_data", None),
    "stray field": with_field("stage", "menu"),
    "bookkeeping of another shape": with_field("_run", {"entered": "now"}),
    "suspended no list": with_field("_suspended", "none"),
    "another's document": with_field("member_id", "somebody-else"),
    "empty": lambda _: b"",
    "no JSON": lambda data: data[:-1],
    "no UTF-8": lambda data: b"\xff" + data,
    "no object": lambda _: b"[]",
    "null": lambda _: b"null",
    "NaN": lambda data: data.replace(b'"_version":', b'"_version":NaN,"x":'),
    "nested without end": lambda _: b"[" * 60_000,
}

DAMAGED = {"authenticated without a token": with_field("jwt_token", None), **BROKEN}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_broken_document_is_quarantined_whole(managed: Managed, client: Client, fault: str):
    """A damaged document is quarantined whole, and the member goes on, logged in if the token is sound."""
    first = managed()
    before = say(first, "hi", "offer", "10").state
    key = key_of(client, before, "state")
    data = client.hget(key, "d")
    assert isinstance(data, bytes)
    broken = DAMAGED[fault](data)
    client.hset(key, "d", broken)
    held = client.hgetall(key)
    with pytest.raises(DamagedDocument) as caught:
        managed().state(before.member_id)
    assert ADA.identifier not in str(caught.value)
    assert client.hgetall(key) == held  # to look is not to touch
    told: list[CommitEvent] = []
    manager = managed(observers=[told.append])
    outcome = say(manager, "alan")
    assert outcome.status == "recovered"
    assert "tidy up" in words(outcome)
    assert len(outcome.replies) >= 2  # and what is asked now
    aside = key_of(client, before, "aside:*:state")
    assert client.hgetall(aside) == {name: held[name] for name in (b"v", b"h", b"d", b"c")}
    assert client.ttl(aside) > 86_400
    assert outcome.state.member_id == before.member_id
    assert manager.state(before.member_id) == outcome.state
    (recovery,) = (entry for entry in manager.history(before.member_id) if entry.kind == "recovery")
    assert (recovery.status, recovery.version) == ("recovered", before.version + 1)
    assert recovery.detail["lost"]
    assert list(told[0].entry.detail["lost"]) == recovery.detail["lost"]
    assert step(say(managed(), "menu").state) == ("dashboard", "menu")


@pytest.mark.parametrize("fault", ["unknown step", "data of another shape", "stray field", "suspended no list"])
def test_the_valid_fields_of_a_damaged_document_are_kept(managed: Managed, client: Client, fault: str):
    """The valid core fields of a damaged document are kept."""
    before = say(managed(), "hi", "offer", "10").state
    key = key_of(client, before, "state")
    data = client.hget(key, "d")
    assert isinstance(data, bytes)
    write_document(client, key, DAMAGED[fault](data))
    after = say(managed(), "menu").state
    kept = "member_id", "channel", "jwt_token", "authenticated", "profile", "current_account", "guest", "channels"
    assert {name: getattr(after, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert step(after) == ("dashboard", "menu")


def test_a_document_of_an_unknown_flow_is_left_alone(managed: Managed, client: Client):
    """A sound document with a run of a flow that the bot never had is another bot's: no byte on the server changes."""
    before = say(managed(), "hi", "offer", "10").state
    key = key_of(client, before, "state")
    data = client.hget(key, "d")
    assert isinstance(data, bytes)
    write_document(client, key, elsewhere(flow_type="gone")(data))
    held = client.hgetall(key)
    with pytest.raises(ForeignState, match="gone"):
        say(managed(), "menu")
    assert client.hgetall(key) == held
    assert not client.keys("*:aside:*")


def test_a_broken_document_that_a_worker_holds_a_sound_copy_of_is_not_lost(managed: Managed, client: Client):
    """A commit on a cached copy keeps the damaged document as the previous one."""
    manager = managed()
    before = say(manager, "hi", "offer").state
    key = key_of(client, before, "state")
    client.hset(key, "d", b"{broken")
    outcome = say(manager, "10")
    assert step(outcome.state) == ("offer", "handle")
    assert previous_document(client, key) == b"{broken"
    assert manager.state(before.member_id) == outcome.state


def test_a_broken_guest_is_recovered_too(managed: Managed, client: Client):
    """A damaged document of a guest is quarantined and repaired."""
    before = say(managed(), "hi", "become_member", "Emmy", channel=NEW).state
    key = key_of(client, before, "state")
    client.hset(key, "d", b"{broken")
    outcome = say(managed(), "Noether", channel=NEW)
    assert outcome.status == "recovered"
    assert client.hget(key_of(client, before, "aside:*:state"), "d") == b"{broken"
    assert (outcome.state.member_id, outcome.state.guest) == (before.member_id, True)
    assert step(say(managed(), "become_member", channel=NEW).state) == ("onboard", "firstname")


def test_two_workers_recover_once(managed: Managed, client: Client):
    """Of two workers that meet a damaged document, the second goes on from the repair of the first."""
    before = say(managed(), "hi", "offer", "10").state
    client.hset(key_of(client, before, "state"), "d", b"{broken")
    one, two = managed(), managed()
    assert say(one, "menu").status == "recovered"
    assert say(two, "menu").status == "advanced"
    assert len(client.keys("*:aside:*")) == 1


# From the store: keys of another type --------------------------------------------------------------------------------


def plant(client: Client, key: str, kind: str) -> None:
    """Put a value of a kind under a key."""
    client.delete(key)
    match kind:
        case "string":
            client.set(key, "what is this")
        case "list":
            client.rpush(key, "what", "is", "this")
        case "hash":
            client.hset(key, mapping={"what": "is this"})
        case "set":
            client.sadd(key, "what")
        case _:
            client.zadd(key, {"what": 1})


TYPES = {"state": "hash", "audit": "list", "tokens": "zset"}


@pytest.mark.parametrize("kind", ["string", "list", "hash", "set", "zset"])
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "cold"])
def test_a_key_of_another_type_is_quarantined_whole(
    managed: Managed, client: Client, name: str, kind: str, cached: bool
):
    """A key of a wrong type is quarantined whole, the member is answered, and the version goes on."""
    manager = managed()
    before = say(manager, "hi", "offer", "10").state
    key = key_of(client, before, name)
    plant(client, key, kind)
    strange = client.dump(key)
    outcome = say(manager if cached else managed(), "alan")
    assert outcome.status in ("recovered", "advanced")
    assert outcome.state.member_id == before.member_id
    if TYPES[name] != kind or name == "state":  # of the right type only the state is looked into
        assert client.dump(key_of(client, before, f"aside:*:{name}")) == strange
    if name != "audit":
        assert outcome.state.version > before.version
    assert managed().state(before.member_id) == outcome.state
    again = say(managed(), "menu")
    assert again.status == "advanced"
    if (name, kind) != ("audit", "list"):
        assert managed().history(before.member_id)[-1].version == again.state.version


@pytest.mark.parametrize("kind", ["string", "list", "set"])
def test_a_state_of_another_type_is_damage_to_each_request(managed: Managed, client: Client, kind: str):
    """`state`, `update` and `save` raise `DamagedDocument` for a document of a wrong type, which stays."""
    manager = managed()
    before = say(manager, "hi", "offer").state
    key = key_of(client, before, "state")
    plant(client, key, kind)
    strange = client.dump(key)
    with pytest.raises(DamagedDocument, match=f"state is a {kind}"):
        manager.state(before.member_id)
    with pytest.raises(DamagedDocument, match=f"state is a {kind}"):
        manager.update(before.member_id, lambda document: document)
    with pytest.raises(DamagedDocument, match=f"state is a {kind}"):
        manager.save(before)
    assert client.dump(key) == strange


@pytest.mark.parametrize("kind", ["list", "hash", "set"])
def test_a_channel_index_of_another_type_is_put_aside(managed: Managed, client: Client, kind: str):
    """A channel index of a wrong type is put aside with an incident, and the message is answered."""
    say(managed(), "hi", "offer")
    (key,) = client.keys("*:channel:*")
    plant(client, str(key, "ascii"), kind)
    manager = managed()
    assert say(manager, "10").status in ("advanced", "recovered")
    assert [incident.kind for incident in manager.incidents()] == ["damage"]


@pytest.mark.parametrize("value", ["nobody-stored", "}x", "\n"], ids=ascii)
def test_a_channel_of_a_missing_member_is_answered(managed: Managed, client: Client, value: str):
    """A message on a channel whose index names no member is answered."""
    say(managed(), "hi", "offer")
    (key,) = client.keys("*:channel:*")
    client.set(key, value)
    outcome = say(managed(), "hello")
    assert outcome.replies
    assert outcome.status in ("advanced", "recovered", "failed")


# Member ids ----------------------------------------------------------------------------------------------------------

ODD_IDS = ["}x", "{x}", "a:b", "a\nb", "\r\n", "*", " ", "\x00", "é", "💰", "x" * 500, "%7Dx", "../x"]


def joining(member_id: str) -> Bot:
    """Return a bot whose guests become this member when they ask to."""

    def known(turn: Turn[Any]) -> Changes[Any]:
        member = attrs.evolve(turn.member, id=member_id, guest=False, authenticated=True, jwt_token="t")
        return turn.changes(member=member)

    def only_join(text: str) -> str | Refused:
        return text if text == "join" else Refused("join.only")

    flow = Flow(
        "joining",
        initial="asking",
        states=[State("asking", ask=Text("Join?"), reads=only_join), State("in", ask=Text("You are in."))],
        transitions=[Transition("answer", "asking", "in", prepare=known), Transition("out", "in", "asking")],
    )
    return Bot([flow])


@pytest.mark.parametrize("member_id", ODD_IDS, ids=lambda value: ascii(value)[:20])
def test_odd_member_ids_are_ids(managed: Managed, client: Client, member_id: str):
    """Unusual member ids have keys of their own."""
    manager = managed()
    saved = manager.save(Document(member_id, ADA, datetime.now(UTC)))
    plain = manager.save(Document("x", ADA, datetime.now(UTC), profile={"plain": True}))
    saved = manager.save(saved)
    assert manager.state(member_id) == saved
    assert manager.state("x") == plain
    assert [entry.version for entry in manager.history(member_id)] == [1, 2]
    tags = {key.partition(b"{")[2].partition(b"}")[0] for key in client.keys("*:member:*")}
    assert all(tag.isdigit() for tag in tags)
    assert all(key.isascii() and key.decode().isprintable() for key in client.keys("*"))


def test_a_member_id_that_cannot_be_encoded_is_refused(managed: Managed, client: Client):
    """An id with half of a surrogate pair is refused, whether it is written or read."""
    manager = managed()
    with pytest.raises(VimbisoError):
        manager.save(Document("\ud800", ADA, datetime.now(UTC)))
    with pytest.raises(WrongArgument, match="member_id"):
        manager.state("\ud800")
    assert not client.keys("*:member:*")


@pytest.mark.parametrize("member_id", ["}x", "a\nb", "💰"], ids=ascii)
def test_a_guest_becomes_a_member_of_an_odd_id(managed: Managed, member_id: str):
    """A guest can become a member with an unusual id."""
    bot = joining(member_id)
    say(managed(bot), "hi")
    assert say(managed(bot), "join").state.member_id == member_id
    outcome = say(managed(bot), "menu")
    assert (outcome.state.member_id, outcome.status) == (member_id, "advanced")
    assert managed(bot).state(member_id) == outcome.state


def test_an_empty_member_id_is_refused(managed: Managed, client: Client):
    """An empty member id is refused, and nothing is stored under it."""
    manager = managed()
    with pytest.raises(InvalidState, match="member_id must be text, not empty"):
        manager.save(Document("", ADA, datetime.now(UTC)))
    with pytest.raises(MemberNotFound):
        manager.update("", lambda document: document)
    assert manager.state("") is None
    assert manager.history("") == ()
    assert not client.keys("*:member:*")


def test_a_guest_becomes_no_member_without_an_id(managed: Managed):
    """A turn that makes a guest a member with an empty id fails, and changes nothing."""
    manager = managed(joining(""))
    before = say(manager, "hi").state
    outcome = say(manager, "join")
    assert outcome.status == "failed"
    assert "wrong on our side" in words(outcome)
    after = manager.state(before.member_id)
    assert after is not None
    assert conversation(after) == conversation(before)


# No server -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1", "redis://user:hunter2@127.0.0.1:1/3", "unix:///nowhere/engine.sock"]
)
def test_no_server_is_a_clear_error(url: str):
    """Each method raises `StoreUnavailable` without a server, and observers are not told."""
    told: list[CommitEvent] = []
    with FlowStateManager.from_url(url, "flows", observers=[told.append]) as manager:
        document = Document("m", ADA, datetime.now(UTC))
        attempts: list[Callable[[], object]] = [
            lambda: say(manager, "hi"),
            lambda: manager.state("m"),
            lambda: manager.save(document),
        ]
        for attempt in attempts:
            with pytest.raises(StoreUnavailable, match="nothing was stored") as caught:
                attempt()
            assert "hunter2" not in str(caught.value)
            assert url.rpartition("@")[2].removeprefix("redis://").partition("/3")[0].removeprefix("unix://") in str(
                caught.value
            )
    assert told == []


@pytest.mark.asyncio
async def test_no_server_is_a_clear_error_awaited():
    """The async manager raises `StoreUnavailable` without a server."""
    async with AsyncFlowStateManager.from_url("unix:///nowhere/engine.sock", "flows") as manager:
        with pytest.raises(StoreUnavailable, match="nothing was stored"):
            await manager.handle(Message(ADA, "1", "hi"))


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://user:hunter2@host/0", "redis//x", "amqp://host"])
@pytest.mark.parametrize("manager", [FlowStateManager, AsyncFlowStateManager])
def test_a_wrong_url_is_a_clear_error(url: str, manager: type[FlowStateManager | AsyncFlowStateManager]):
    """An invalid URL raises an error that shows the form and hides the password."""
    with pytest.raises(StoreUnavailable, match="redis://host:port/db") as caught:
        manager.from_url(url, "flows")
    assert "hunter2" not in str(caught.value)


def test_a_wrong_package_is_a_clear_error():
    """A package that exports no bot raises `TypeError`, and an unknown one `ModuleNotFoundError`."""
    with pytest.raises(TypeError, match="exports one as 'bot'"):
        FlowStateManager.in_memory("json")
    with pytest.raises(ModuleNotFoundError):
        FlowStateManager.in_memory("no_such_package_of_flows")


def test_a_server_gone_in_the_middle_of_a_conversation(tmp_path: Path):
    """While the server is down no message is reported as saved; afterwards the conversation goes on."""
    options = ("--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path))
    service = {"credex_core": SimulatedCredexCore()}
    told: list[CommitEvent] = []
    with running(valkey_program(), *options) as server:
        manager = FlowStateManager.from_url(server.url, "flows", services=service, observers=[told.append])
        saved = say(manager, "hi", "offer", "10 USD", "alan").state
    heard = len(told)
    with manager:
        for _ in range(2):
            with pytest.raises((StoreUnavailable, CommitUnknown)) as caught:
                say(manager, "yes")
            assert caught.value.reply
    assert len(told) == heard
    assert len(service["credex_core"].offers) == 2
    with (
        running(valkey_program(), *options) as server,
        FlowStateManager.from_url(server.url, "flows", services=service) as manager,
    ):
        assert manager.state(saved.member_id) == saved
        assert was_sent(say(manager, "yes"))
    assert len(service["credex_core"].offers) == 3


class Cutting:
    """A service during whose call the server goes down."""

    def __init__(self, core: SimulatedCredexCore, cut: Callable[[], object]) -> None:
        self._core, self._cut = core, cut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def create_credex(self, *, caller: Caller, **arguments: Any) -> Any:
        result = self._core.create_credex(caller=caller, **arguments)
        self._cut()
        return result


def test_a_server_gone_in_the_middle_of_a_call(managed: Managed, valkey_server: Server):
    """If the server is down when a call returns, the same message later makes no second offer.

    Until then nothing is reported as saved.
    """
    service = SimulatedCredexCore()
    told: list[CommitEvent] = []
    with Proxy(valkey_server.socket) as proxy:

        def cut() -> None:
            proxy.plan = ["lose"] * 99

        services = {"credex_core": Cutting(service, cut)}
        with FlowStateManager.from_url(proxy.url, "flows", services=services, observers=[told.append]) as manager:
            say(manager, "hi", "offer", "10 USD", "alan")
            heard = len(told)
            message = Message(ADA, "confirm", "yes")
            with pytest.raises(CommitUnknown, match="takes effect once"):
                manager.handle(message)
            assert [details.entry.dest for details in told[heard:]] == ["creating"]
    again = managed(services={"credex_core": service}).handle(message)
    assert again.status == "duplicate"
    assert was_sent(again)  # the commit had arrived, only its answer was lost
    assert len(service.offers) == 3


def test_a_server_that_refuses_writes(managed: Managed) -> None:
    """A server that refuses writes raises `StoreUnavailable`, and nothing is stored."""
    with running(valkey_program()) as server:
        service: Mapping[str, object] = {"credex_core": SimulatedCredexCore()}
        with FlowStateManager.from_url(server.url, "flows", services=service) as manager, server.client() as client:
            before = say(manager, "hi", "offer").state
            client.config_set("maxmemory", "1")
            stored = everything(client)
            with pytest.raises(StoreUnavailable, match="out of memory"):
                say(manager, "10")
            with pytest.raises(StoreUnavailable, match="out of memory"):
                manager.save(attrs.evolve(before, profile={}))
            assert everything(client) == stored
            assert manager.state(before.member_id) == before
            assert client.hget(key_of(client, before, "state"), "d") == encode(before)
            client.config_set("maxmemory", "0")
            assert step(say(manager, "10").state) == ("offer", "handle")
