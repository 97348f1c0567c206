"""Export of a member: all that is stored, in clear, without secrets and tokens, and never another person's."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import fruit_bot
from tests.digests import guest_id
from tests.operations.test_link import OTHER, SMS, TELEGRAM, WHATSAPP, Till, a_chat, member, payments, read, run, say
from tests.shells import Shell
from tests.strategies import documents
from vimbiso_fsm import SECRET, Bot, Channel, Flow, Message, State, Text, Transition
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import conversation_id
from vimbiso_fsm.errors import DamagedDocument, ForeignState, MemberNotFound, NotAMember
from vimbiso_fsm.operations.export import Exported, export
from vimbiso_fsm.operations.link import link, merge, unlink
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.store.requests import Link, Load, Quarantine, Stored
from vimbiso_fsm.testing.chat import STORE_SECRET, Chat

TOKEN, CARD, PIN, ARGUMENT, KEY, ROOT = (f"CANARY-{name}" for name in ("token", "card", "pin", "arg", "key", "root"))


@attrs.frozen
class Profile:
    """A profile with a secret inside."""

    name: str = ""
    card: str = attrs.field(default="", metadata=SECRET)


def exported(chat: Chat, member_id: str = "m-1") -> Exported:
    """Export a member of a chat."""
    done: Exported = run(chat, partial(export, member_id=member_id))
    json.dumps(done.value)
    return done


def conversation(chat: Chat, member_id: str = "m-1") -> Any:
    """Return the only conversation of a member."""
    [found] = exported(chat, member_id).value["conversations"]
    return found


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("engine", ["memory", pytest.param("valkey", marks=pytest.mark.embedded)])
def test_the_managers_export_all_of_a_member(kind: Any, engine: str, request: pytest.FixtureRequest):
    """Document, history, incidents, turn records and channels are one JSON value, and nothing is changed."""
    store: Any = MemoryStore(time.time, secret=STORE_SECRET)
    options: dict[str, Any] = {}
    if engine == "valkey":
        kinds: Any = {"sync": AtomicStateManager, "async": AsyncAtomicStateManager}
        store = kinds[kind].from_url(request.getfixturevalue("valkey_url"), secret=STORE_SECRET)
        options["on_close"] = store.close
    with Shell(kind, Bot(payments, services={"till": Till()}), store, **options) as shell:
        shell.do("save", attrs.evolve(member("m-1", WHATSAPP), version=0))
        shell.do("ask", Link(WHATSAPP, "m-1"))
        shell.handle(Message(TELEGRAM, "0", "hi"))
        shell.do("link", "m-1", TELEGRAM)
        for text in ("hi", "5"):
            shell.handle(Message(WHATSAPP, text, text))
        shell.handle(Message(WHATSAPP, "5", "other content"))
        before = shell.do("ask", Load("m-1")).head
        done = shell.do("export", "m-1")
        assert (done.member_id, done.faults) == ("m-1", ())
        [found] = done.value["conversations"]
        assert [channel["identifier"] for channel in found["channels"]] == [WHATSAPP.identifier, TELEGRAM.identifier]
        assert found["document"]["flow_data"]["data"]["receipt"] == "receipt of 5"
        assert found["previous"]["flow_data"]["data"]["number"] == "5"
        history = shell.do("history", "m-1")
        assert [(entry["member_id"], entry["version"]) for entry in found["history"]] == [
            (entry.member_id, entry.version) for entry in history
        ]
        assert {entry["member_id"] for entry in found["history"]} == {"m-1", guest_id(TELEGRAM)}
        assert [incident["kind"] for incident in found["incidents"]] == ["mismatch"]
        assert "receipt of 5" in json.dumps(found["turns"][-1]["replies"])
        assert found["turns"][-1]["at"] == found["history"][-1]["at"]
        assert found["quarantine"] == []
        shown = json.dumps(done.value)
        for entry in history:
            assert entry.token not in shown
        assert shell.do("ask", Load("m-1")).head == before


@given(documents(), st.text(st.characters(categories=["Ll"]), min_size=4, max_size=8))
def test_no_secret_and_no_token_is_exported(document: Document, word: str):
    """Of any document no secret value, login token, key or token of a turn is exported; all other data is."""
    chat = Chat(fruit_bot(profile=Profile))

    def with_secrets(found: Any) -> Any:
        shown = tuple(attrs.evolve(each, choice=PIN) for each in found.shown)
        return attrs.evolve(found, fields={**found.fields, "name": word, "pin": PIN}, shown=shown)

    pending = document.call and attrs.evolve(document.call, key=KEY, root=ROOT, arguments={"pin": ARGUMENT})
    document = attrs.evolve(
        document,
        member_id="m-1",
        jwt_token=TOKEN,
        profile={"name": word, "card": CARD},
        run=document.run and with_secrets(document.run),
        suspended=tuple(map(with_secrets, document.suspended)),
        call=pending,
        outbox=tuple(attrs.evolve(each, id=f"{ROOT}-{n}") for n, each in enumerate(document.outbox)),
        moved=None,
    )
    for version in (1, 2):  # the second time, the first one is the document before
        chat.plant(attrs.evolve(document, version=version))
    found = conversation(chat)
    shown = json.dumps(found, ensure_ascii=False)
    assert "CANARY" not in shown
    for kept in (found["document"], found["previous"]):
        assert kept["profile"] == {"name": word}
        assert kept["channel"]["identifier"] == document.channel.identifier
        runs = [kept["flow_data"], *(each["flow_data"] for each in kept.get("_suspended", []))]
        assert all(each["data"]["name"] == word for each in runs if each)


def test_all_conversations_of_a_member_are_exported():
    """Each conversation with another account of the bot is exported too, also when one of them is named."""
    chat = a_chat()
    shop = Channel("whatsapp", "263771000009").with_account("1001")
    further = conversation_id("m-1", shop.address)
    chat.plant(attrs.evolve(member("m-1", shop), member_id=further))
    for other in ("m-1@home", "m-10@whatsapp:1001"):
        chat.plant(member(other, OTHER))
    for named in ("m-1", further):
        done = exported(chat, named)
        assert (done.member_id, done.value["member"]) == ("m-1", "m-1")
        assert [each["id"] for each in done.value["conversations"]] == ["m-1", further]


def test_a_guest_gets_what_is_theirs():
    """A guest's export has nothing of the member whose channel it was."""
    chat = a_chat()
    say(chat, SMS, "1")
    say(chat, TELEGRAM, "2")
    for channel in (SMS, TELEGRAM):
        run(chat, partial(link, member_id="m-1", channel=channel))
        run(chat, partial(unlink, member_id="m-1", channel=channel))
        with pytest.raises(MemberNotFound):
            exported(chat, guest_id(channel))
    say(chat, TELEGRAM, "hello")
    found = conversation(chat, guest_id(TELEGRAM))
    assert [entry["version"] for entry in found["history"]] == [read(chat, guest_id(TELEGRAM))[-1].version]
    assert found["channels"] == [attrs.asdict(TELEGRAM.address)]
    assert [entry["member_id"] for entry in conversation(chat)["history"]].count(guest_id(TELEGRAM)) == 5


def test_there_is_a_clear_answer_for_each_id():
    """An unknown, merged, damaged or foreign member is refused with the reason, and nothing is changed."""
    chat = a_chat()
    with pytest.raises(MemberNotFound):
        exported(chat, "m-9")
    run(chat, partial(merge, member_id="m-2", into="m-1"))
    with pytest.raises(NotAMember, match=r"'m-2' became member 'm-1'.*give that one"):
        exported(chat, "m-2")
    flow: Flow[Any] = Flow(
        "clinic", initial="which", states=[State("which", ask=Text("Which?")), State("end", final=True)],
        transitions=[Transition("yes", "which", "end")],
    )  # fmt: skip
    say(chat, WHATSAPP, "hi")
    bot, chat.bot = chat.bot, Bot(flow)
    with pytest.raises(ForeignState):
        exported(chat)
    chat.bot = bot
    chat.plant_bytes("m-1", b"{")
    with pytest.raises(DamagedDocument, match="recover the member first"):
        exported(chat)


def test_what_cannot_be_read_is_named_and_the_rest_exported():
    """A damaged entry and a damaged record are named without their values, and quarantined data with its size."""
    chat = a_chat()
    say(chat, WHATSAPP, "1")
    held = f'{{"pin": "{PIN}"'.encode()
    chat.plant_bytes("m-1", held)
    assert isinstance(chat.store.perform(Quarantine("m-1", chat.stored("m-1").head)), Stored)
    say(chat, WHATSAPP, "hi")
    say(chat, WHATSAPP, "2")
    before = exported(chat)
    [whole] = before.value["conversations"]
    [part] = whole["quarantine"]
    assert part["what"] == "state"
    assert len(held) <= part["bytes"] < 2 * len(held), "the document and its version"
    store: Any = chat.store
    kept = store._members["m-1"]
    (at, entry), *later = kept.audit
    kept.audit = ((at, attrs.evolve(entry, body=PIN.encode())), *later)
    planted, second, *others = kept.records  # the first was planted without a body
    kept.turns = (planted, attrs.evolve(second, body=PIN.encode()), *others)
    kept.previous = PIN.encode()
    store._incidents["m-1"] = ((at, PIN.encode()),)
    done = exported(chat)
    [found] = done.value["conversations"]
    assert [
        fault.partition(" cannot")[0].partition(" is damaged")[0] for fault in done.faults if fault not in before.faults
    ] == [
        "m-1: the document before the latest",
        "m-1: entry 1",
        "m-1: incident 1",
        "m-1: turn record 2",
    ]
    assert (found["history"], found["turns"]) == (whole["history"][1:], whole["turns"][1:])
    assert found["document"] == whole["document"]
    assert "CANARY" not in f"{done.faults} {json.dumps(done.value)}"
