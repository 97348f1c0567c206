"""Repair of a damaged document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.bots import Bank, fruit_bot, member_document, one_flow
from tests.document.test_state_validator import FULL
from tests.operations.test_handle import member_chat
from tests.strategies import WORDS, json_values
from vimbiso_fsm.audit.entries import long_form
from vimbiso_fsm.document.codec import document_to_raw, encode
from vimbiso_fsm.document.document import Document, first_document
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.engine.reading import faults
from vimbiso_fsm.engine.salvage import Remains, Salvage, recover, salvage
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import Call, call
from vimbiso_fsm.flow.privacy import SECRET
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.effects import RunCall
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.retention import MAX_DOCUMENT
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat

BOT = fruit_bot()
NOW = START + timedelta(hours=1)


def saved(data: bytes, *, guest: bool = False, version: int = 4) -> Salvage:
    """The document that was kept; always valid, of the member at that version, without a run."""
    found = salvage(BOT, data, CHANNEL, NOW, member_id="m-1", guest=guest, version=version)
    document = found.document
    assert BOT.validator.validate(document).valid
    assert faults(BOT, encode(document)) == (document, ())
    assert (document.member_id, document.version) == ("m-1", version)
    assert document.run is None
    assert document.suspended == ()
    assert document.call is None
    return found


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[]", b"5", b"null", b'"x"', b"[" * 9999])
def test_bytes_that_are_no_document_give_a_fresh_one(data: bytes):
    """Bytes that are no document give a fresh document of the member."""
    found = saved(data)
    assert (found.kept, found.lost) == ((), ("document",))
    assert found.document.channel == CHANNEL
    assert not found.document.guest
    assert saved(data, guest=True).document.guest


@pytest.mark.parametrize("stands", [True, False])
def test_a_login_token_is_kept_only_if_it_still_stood_in_the_damaged_bytes(stands: bool):
    """The token of the previous document counts only if the damaged bytes hold it, since a logout is final."""
    before = member_document(version=3)
    damaged = encode(before)[:-9] if stands else encode(attrs.evolve(before, jwt_token=None, authenticated=False))[:-9]
    found = recover(BOT, b"", saved(b""), Remains(previous=encode(before), unproven=damaged))
    assert found.document.channels == before.channels
    assert (found.document.jwt_token == before.jwt_token, found.document.authenticated) == (stands, stands)


def test_core_fields_that_still_obey_are_kept():
    """Profile, account, token and channel survive a damaged run."""
    raw = document_to_raw(FULL)
    raw["flow_data"] = {**raw["flow_data"], "step": "nowhere"}
    found = saved(dumps(raw))
    document = found.document
    assert (document.profile, document.current_account) == (FULL.profile, FULL.current_account)
    assert (document.jwt_token, document.authenticated) == (FULL.jwt_token, True)
    assert (document.channels, document.deadline, document.last_updated) == (
        FULL.channels,
        FULL.deadline,
        FULL.last_updated,
    )
    assert {"flow_data", "_suspended", "_call"} <= set(found.lost)
    assert {"profile", "current_account", "jwt_token", "authenticated", "channel"} <= set(found.kept)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"profile": []}, {"profile"}),
        ({"jwt_token": 5}, {"jwt_token", "authenticated"}),
        ({"authenticated": "yes"}, {"jwt_token", "authenticated"}),
        ({"channel": {"type": "pigeon"}}, {"channel"}),
        ({"current_account": {"account_id": 5}}, {"current_account"}),
        ({"_last_updated": "soon"}, {"_last_updated"}),
        ({"_channels": "x"}, {"_channels"}),
    ],
)
def test_a_broken_field_is_lost_alone(changes: dict[str, Any], lost: set[str]):
    """A damaged field is lost alone, but a token and the fields that depend on it are kept only together."""
    found = saved(dumps(document_to_raw(FULL) | changes))
    assert lost <= set(found.lost)
    assert not lost & set(found.kept)
    assert {"profile", "current_account", "_channels", "channel"} - lost <= set(found.kept)


@given(json_values)
def test_anything_is_salvaged(raw: Any):
    """Any JSON gives a valid document."""
    saved(json.dumps(raw).encode())


@given(st.sampled_from(sorted(document_to_raw(FULL))), json_values)
def test_a_document_broken_anywhere_is_salvaged(name: str, value: Any):
    """Any JSON in place of any field gives a valid document."""
    saved(json.dumps({**json.loads(encode(FULL)), name: value}).encode())


def test_data_that_does_not_fit_its_flow_is_found():
    """Data that does not fit the flow's class is a fault that names the flow."""
    raw = document_to_raw(FULL)
    raw["flow_data"] = {**raw["flow_data"], "data": {**raw["flow_data"]["data"], "visits": "many"}}
    document, found = faults(BOT, dumps(raw))
    assert document is None
    assert all(fault.startswith("data of flow 'order'") for fault in found)
    assert not any("many" in fault for fault in found)


# Where the member stood --------------------------------------------------------------------------------------------


def damage(chat: Chat, data: bytes = b"{broken", *, previous: bytes | None = None) -> Document:
    """Damage the stored bytes, and those before them if they are given. Return the document as it was."""
    before = chat.document()
    member = chat.store._members[before.member_id]
    assert member.state is not None
    member.state = type(member.state)(member.state.head, data)
    member.previous = previous if previous is not None else member.previous
    chat.cache = Cache()
    return before


def last(chat: Chat) -> Any:
    """The latest audit entry."""
    return long_form(chat.entries()[-1])


def test_the_document_before_is_gone_back_to():
    """Recovery goes back to the previous document, reports the lost turn, and asks again."""
    chat = member_chat()
    chat.say("hi", "order", "ada", "1234")
    damage(chat)
    outcome = chat.say("fruit02")
    assert outcome.status == "recovered"
    assert chat.words[0].startswith("We had to tidy up our notes about this conversation;")
    assert chat.words[1:] == ["Your PIN?"]
    assert outcome.state.run is not None
    assert (outcome.state.run.step, outcome.state.run.fields["name"]) == ("pin", "ada")
    detail = last(chat)["detail"]
    assert (detail["from"], detail["lost"]) == ("previous", ["document", "turn 5"])
    chat.say("1234")
    assert chat.words == ["Which fruit?"]
    chat.check()


def test_newer_core_fields_of_the_damaged_document_are_kept():
    """A valid core field of the damaged document is kept, although the previous document has an older one."""
    chat = member_chat()
    chat.say("hi", "order", "ada")
    before = chat.document()
    raw = document_to_raw(before) | {"profile": {"name": "Newer"}}
    raw["flow_data"] = {**raw["flow_data"], "step": "nowhere"}
    damage(chat, dumps(raw))
    state = chat.say("1234").state
    assert state.profile == {"name": "Newer"}
    assert state.run is not None
    assert state.run.step == "name"


def test_the_records_say_where_the_member_stood():
    """Without a previous document, recovery uses the latest turn record.

    It asks the first question whose answer no record keeps.
    """
    chat = member_chat()
    chat.say("hi", "order", "ada", "1234", "fruit02")
    damage(chat, previous=b"{broken")
    outcome = chat.say("yes")
    assert outcome.status == "recovered"
    assert outcome.state.run is not None
    assert (outcome.state.run.step, chat.words[-1]) == ("pin", "Your PIN?")
    assert outcome.state.run.fields["name"] == "ada"
    assert last(chat)["detail"]["from"] == "turns"
    chat.check()


def test_the_flow_begins_again():
    """Without a readable record, the flow that was open begins again."""
    chat = member_chat()
    chat.say("hi", "order", "ada")
    before = chat.document()
    raw = document_to_raw(before)
    raw["flow_data"] = {**raw["flow_data"], "step": "nowhere"}
    damage(chat, dumps(raw), previous=b"{broken")
    chat.store._members[before.member_id].turns = ()
    outcome = chat.say("1234")
    assert outcome.state.run is not None
    assert (outcome.state.run.flow, outcome.state.run.step) == ("order", "name")
    assert (outcome.state.profile, outcome.state.jwt_token) == (before.profile, before.jwt_token)
    assert last(chat)["detail"]["from"] == "restart"
    assert chat.say("ada").status == "advanced"
    chat.check()


def test_nothing_is_left():
    """Without any source, the member gets a fresh session."""
    chat = member_chat()
    chat.say("hi")
    before = damage(chat, previous=b"{broken")
    chat.store._members[before.member_id].turns = ()
    outcome = chat.say("hi")
    assert outcome.status == "recovered"
    assert last(chat)["detail"]["from"] == "fresh"
    chat.check()


@pytest.mark.parametrize("previous", [None, b"{broken"])
@pytest.mark.parametrize("answered", [False, True])
def test_a_call_is_not_gone_back_over(previous: bytes | None, answered: bool):
    """Recovery does not go back beyond a payment, and tells the member to look."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02")
    exchange = chat.begin(chat.message("yes"))
    while not isinstance(exchange.request, RunCall):
        chat.step(exchange)
    if answered:
        chat.finish(exchange)
    damage(chat, previous=previous)
    chat.clock.at += 31
    outcome = chat.say("yes")
    assert outcome.status == "recovered"
    if answered:  # the document before has the call on its way, its key is the same; or a record says that it is done
        assert "let us start again" in chat.words[0]
        chat.clock.at += 31
        chat.say("well?", "yes")
        assert len({key for _, key in bank.calls}) == 1
    else:
        assert "could not find out" in chat.words[0]
        chat.say("yes")
    assert len({key for _, key in bank.calls}) <= 1
    chat.check()


@pytest.mark.parametrize(("times", "woken"), [(1, False), (2, False), (1, True)])
def test_a_call_whose_answer_was_lost_with_the_document_is_answered_again(times: int, woken: bool):
    """A call whose answer was lost is made again with its key. Its answer is a turn of its own."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02", "yes")
    assert chat.words == ["Paid: receipt-1", "What now?"]
    for _ in range(times):
        damage(chat)
        chat.say("well?")
        assert chat.document().call is not None
        chat.wait(31)
        heard = len(chat.taken)
        if woken:
            chat.delivers = True
            chat.wake()
        else:
            chat.say("well?")
        said = chat.taken[heard:] if woken else chat.words
        run = chat.document().run
        assert run is not None
        assert (run.flow, run.step, chat.document().call) == ("home", "menu", None)
        assert said[0].startswith("We had to tidy up our notes about this conversation;")
        assert f"Paid: receipt-{len(bank.calls)}" in said
    assert len({key for _, key in bank.calls}) == 1
    chat.check()


@pytest.mark.parametrize("harm", ["no entry", "an entry is missing", "an entry cannot be read"])
def test_a_call_that_no_audit_tells_of_is_not_gone_back_over(harm: str):
    """Recovery does not go back beyond turns whose audit entries are damaged."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02")
    confirming = encode(chat.document())
    assert chat.say("yes").status == "advanced"
    before = damage(chat, previous=confirming)
    member = chat.store._members[before.member_id]
    *others, (at, entry) = member.audit
    spoilt = attrs.evolve(entry, body=b"{")
    member.audit = {
        "no entry": (), "an entry is missing": (*others[:-1], (at, entry)),
        "an entry cannot be read": (*others, (at, spoilt)),
    }[harm]  # fmt: skip
    outcome = chat.say("yes")
    assert outcome.status == "recovered"
    assert "could not find out" in chat.words[0]
    chat.say("yes")
    assert len(bank.calls) == 1


def test_a_missing_document_whose_audit_cannot_be_read():
    """A member whose document is gone and whose audit is damaged is answered."""
    chat = member_chat()
    chat.say("hi", "order", "ada")
    member = chat.store._members[chat.member_id()]
    member.state = member.previous = None
    *others, (at, entry) = member.audit
    member.audit = (*others, (at, attrs.evolve(entry, body=b"{")))
    chat.cache = Cache()
    assert chat.say("1234").replies


def test_a_broken_document_is_repaired_once_by_two_messages():
    """Two messages at once repair a damaged document once, and both are answered."""
    for steps in range(9):
        chat = member_chat()
        chat.say("hi", "order", "ada", "1234")
        damage(chat)
        second = chat.begin(chat.message("well?"), cache=Cache())
        for _ in range(steps):
            if second.outcome is None:
                chat.step(second)
        chat.say("hello")
        assert chat.finish(second).replies
        assert [long_form(entry)["kind"] for entry in chat.entries()].count("recovery") == 1, steps
        chat.check()


@attrs.frozen
class Trip:
    """Two ways to name a traveller, one of them secret."""

    who: str = ""
    pin: str = attrs.field(default="", metadata=SECRET)
    name: str = ""
    receipt: str = ""
    stars: str = ""


def book(turn: Turn[Trip]) -> Call[Any]:
    """Propose a call with an effect."""
    return call(Bank.pay, name=turn.data.who, fruit="")


TRIP = one_flow(
    [
        State("who",    ask=Text("Who?"), reads=str, into="who"),
        State("pin",    ask=Text("Their PIN?"), reads=str, into="pin"),
        State("name",   ask=Text("Their name?"), reads=str, into="name"),
        State("sure",   ask=Text("Sure?")),
        State("paying", call=book, into="receipt"),
        State("stars",  ask=Text("How many stars?"), reads=str, into="stars"),
        State("thanks", ask=Text("Anything else?")),
        State("end",    final=True),
    ],
    [
        Transition("answer", "who",    "pin", conditions=lambda turn: turn.data.who == "agent"),
        Transition("answer", "who",    "name"),
        Transition("answer", "pin",    "sure"),
        Transition("answer", "name",   "sure"),
        Transition("yes",    "sure",   "paying"),
        Transition("done",   "paying", "stars"),
        Transition("failed", "paying", "sure"),
        Transition("answer", "stars",  "thanks"),
        Transition("no",     "thanks", "end"),
    ],
    data=Trip,
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (("agent", "1234"), "Their PIN?"),
        (("ada", "Ada"), "Sure?"),
        (("agent", "1234", "yes", "5"), "Anything else?"),
    ],
    ids=["missing", "never asked", "used by a call that was made"],
)
def test_only_an_answer_that_is_still_wanted_is_asked_for_again(said: Sequence[str], asked: str):
    """Recovery asks again only for an answer that is on the trail since the last call."""
    bank = Bank()
    chat = Chat(Bot(TRIP, services={"bank": bank}))
    chat.plant(member_document(version=1))
    chat.say("hi", *said)
    made = len(bank.calls)
    damage(chat, previous=b"{")
    assert chat.say("and now").status == "recovered"
    assert chat.words[1:] == [asked]
    assert last(chat)["detail"]["from"] == "turns"
    for text in ("1234", "yes", "no"):
        chat.say(text)
    assert len(bank.calls) == max(made, 1)
    chat.check()


@pytest.mark.parametrize("wake", [False, True])
def test_a_repair_whose_turn_does_not_answer_is_told_by_the_next(wake: bool):
    """A duplicate that meets a damaged document is answered as before.

    The next message is told of the recovery, and is no answer to an earlier question.
    """
    chat = member_chat()
    chat.say("hi", "order", "ada")
    again = chat.message("1234", id="again")
    chat.handle(again)
    damage(chat)
    chat.handle(again)
    assert chat.outcome is not None
    assert (chat.outcome.status, chat.words) == ("duplicate", ["Which fruit?"])
    said: list[str] = []
    if wake:
        chat.delivers = True
        chat.wake()
        said += chat.taken
    chat.say("9999")
    said += chat.words
    assert said[0].startswith("We had to tidy up our notes about this conversation;")
    late = ["That came when the question before was over; here is where you are now."]
    assert said[1:] == [*(late if wake else []), "Your PIN?"]
    assert chat.say("1234").replies[-1].text == "Which fruit?"
    chat.check()


def test_a_member_that_waits_for_a_call_is_told_when_it_is_taken_up():
    """While a call is pending, a message is answered and stores nothing."""
    bank = Bank()
    chat = member_chat(bank)
    chat.say("hi", "order", "ada", "1234", "fruit02")
    exchange = chat.begin(chat.message("yes"))
    while not isinstance(exchange.request, RunCall):
        chat.step(exchange)
    with FlowStateManager(chat.bot, chat.store) as manager:
        manager.update(chat.member_id(), lambda document: attrs.evolve(document, profile={"name": "Newer"}))
    damage(chat)
    chat.say("and now?")
    assert chat.words == ["We are still working on your last answer; you will hear from us."]
    chat.clock.at += 31
    chat.say("and now?")
    assert chat.words[0].startswith("We had to tidy up our notes about this conversation;")
    assert chat.words[-2:] == ["Paid: receipt-1", "What now?"]
    assert len(bank.calls) == 1
    chat.check()


# Any one damage ------------------------------------------------------------------------------------------------------

PATHS: TypeAlias = tuple[str | int, ...]
CORE = ("member_id", "channel", "profile", "current_account", "channels")
CONVERSATIONS = [
    ("hi",),
    ("hi", "order"),
    ("hi", "order", "ada"),
    ("hi", "order", "ada", "1234"),
    ("hi", "order", "ada", "1234", "fruit02"),
    ("hi", "order", "ada", "1234", "fruit02", "oops"),
    ("hi", "order", "ada", "1234", "fruit02", "back", "back"),
    ("hi", "order", "ada", "menu"),
    ("hi", "order", "ada", "1234", "fruit02", "yes"),
    ("hi", "order", "ada", "1234", "fruit02", "yes", "order", "vip"),
]
"""One of each kind."""
conversations = st.sampled_from(CONVERSATIONS) | st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(tuple)


def rich_chat(said: Sequence[str], *, newer: bool = False) -> Chat:
    """A member with data in each field, in the middle of a conversation.

    With `newer`, profile and account differ from those of the previous document.
    """
    chat = Chat(fruit_bot())
    chat.plant(
        member_document(
            version=1,
            profile={"name": "Ada", "accounts": [{"id": "a-1"}], "born": {"year": 1815}},
            current_account={"account_id": "a-1", "name": "Own"},
        )
    )
    chat.say(*said)
    if newer:
        known: dict[str, Any] = {
            "profile": {"name": "Countess", "channel": {"_run": []}},
            "current_account": {"account_id": "a-2"},
        }
        with FlowStateManager(chat.bot, chat.store) as manager:
            manager.update(chat.member_id(), lambda document: attrs.evolve(document, **known))
        chat.cache = Cache()
    return chat


def paths(raw: Any, above: PATHS = ()) -> Iterator[PATHS]:
    """Each path in plain data."""
    inner = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for name, value in inner:
        yield (*above, name)
        yield from paths(value, (*above, name))


def damaged(raw: dict[str, Any], path: PATHS, change: Callable[[Any, Any], None]) -> bytes:
    """The document's bytes after `change` was applied to one place, given its container and its name."""
    spoilt = json.loads(json.dumps(raw))
    holder: Any = spoilt
    for name in path[:-1]:
        holder = holder[name]
    change(holder, path[-1])
    return json.dumps(spoilt).encode()


def repair(chat: Chat, spoilt: bytes, hit: str, *, previous_too: bool, operator: bool) -> None:
    """Damage the stored bytes at the field `hit` ("" for none), and let a message or an operator repair them.

    Checks that the document is valid, that each core field other than `hit` was kept, that the loss was reported, and
    that the conversation goes on.
    """
    before = damage(chat, spoilt, previous=b"{" if previous_too else None)
    calls = [*chat.bot.services["bank"].calls]  # type: ignore[attr-defined]
    readable = faults(chat.bot, spoilt)[0]
    sound = (
        readable is not None
        and len(spoilt) <= MAX_DOCUMENT
        and readable.member_id == before.member_id
        and readable.version == chat.stored().head.version
    )
    if operator:
        with FlowStateManager(chat.bot, chat.store) as manager:
            found = manager.recover(before.member_id)
        assert found.outcome in ("repaired", "left alone")
        assert (found.outcome == "left alone") is (chat.document().version == before.version)
    outcome = chat.say("help")
    said = [*chat.words]
    assert outcome.replies
    chat.check()
    state = chat.document()
    kinds = [long_form(entry) for entry in chat.entries()]
    recoveries = [entry["detail"] for entry in kinds if entry["kind"] == "recovery"]
    assert len(recoveries) == (not sound)
    for detail in recoveries:
        assert detail["lost"]
        assert set(detail["tried"]) <= {"previous", "turns", "restart"}
    foreign = hit == "member_id" and previous_too  # nothing is taken of a document that names another member
    for name in CORE:
        if not foreign and hit != ("_channels" if name == "channels" else name):
            assert getattr(state, name) == getattr(before, name), name
    assert state.member_id == before.member_id
    chat.wait(31)  # a call on its way is taken up then
    for text in ("hi", "no", "order", "sesame", "ada"):
        assert chat.say(text).status != "failed"
        said += chat.words
    assert sum(words.startswith("We had to tidy up") for words in said) == len(recoveries)
    assert chat.document().call is None
    assert {*chat.bot.services["bank"].calls} == {*calls}  # type: ignore[attr-defined]  # with the same key, or not at all
    chat.check()


LOOKS = st.fixed_dictionaries({"previous_too": st.booleans(), "operator": st.booleans()})


@given(conversations, st.integers(0, 10**6), st.integers(0, 255), st.booleans(), LOOKS)
@example(CONVERSATIONS[0], 14, ord(" "), False, {"previous_too": False, "operator": False})  # the id of another member
@example(CONVERSATIONS[0], 14, ord(" "), False, {"previous_too": True, "operator": False})  # and nothing else is left
def test_any_one_damaged_byte(said: Sequence[str], place: int, byte: int, newer: bool, look: dict[str, bool]):
    """One damaged byte at any place is repaired."""
    chat = rich_chat(said, newer=newer)
    spoilt = bytearray(chat.stored().document or b"")
    hit = field_at(chat.document(), place % len(spoilt))
    spoilt[place % len(spoilt)] = byte
    repair(chat, bytes(spoilt), hit, **look)


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("previous_too", [False, True])
@pytest.mark.parametrize("field", ["profile", "current_account", "_run", "_outbox"])
def test_a_document_that_grew_over_the_size_limit_is_repaired(field: str, previous_too: bool, operator: bool):
    """A stored document above the limit, which no commit writes, is repaired without the field that grew."""
    chat = rich_chat(("hi", "order", "ada"))
    raw = json.loads(chat.stored().document or b"")
    grown: Any = raw.get(field)
    more: Any = ["y" * MAX_DOCUMENT] if field == "_outbox" else {**grown, "x": "y" * MAX_DOCUMENT}
    spoilt = json.dumps({**raw, field: more})
    repair(chat, spoilt.encode(), field, previous_too=previous_too, operator=operator)


def field_at(document: Document, place: int) -> str:
    """The field in whose name or value a byte of the document stands; "" between two of them."""
    end = 1
    for name, value in document_to_raw(document).items():
        end += len(dumps({name: value})) - 2
        if place < end:
            return name
        end += 1
        if place < end:
            return ""
    return ""


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("version", [0, 1, 3, 5, 10**6])
def test_a_version_that_is_not_that_of_the_head_is_damage(version: int, operator: bool):
    """A document with another version than its head is repaired, by a message and by an operator."""
    chat = rich_chat(("hi", "order", "ada"), newer=False)
    raw = json.loads(chat.stored().document or b"")
    assert raw["_version"] not in (version, 0)
    spoilt = json.dumps({**raw, "_version": version}).encode()
    repair(chat, spoilt, "_version", previous_too=False, operator=operator)


@given(
    conversations,
    st.data(),
    st.sampled_from(["removed", "replaced", "added"]),
    json_values,
    st.booleans(),
    LOOKS,
)
def test_any_one_damaged_field(
    said: Sequence[str], data: st.DataObject, how: str, value: Any, newer: bool, look: dict[str, bool]
):
    """A field at any depth that is missing, changed or has an unknown sibling is repaired."""
    chat = rich_chat(said, newer=newer)
    raw = json.loads(chat.stored().document or b"")
    path = data.draw(st.sampled_from(sorted(paths(raw), key=repr)))

    def change(holder: Any, name: Any) -> None:
        if how == "removed":
            del holder[name]
        elif how == "replaced":
            holder[name] = value
        elif isinstance(holder, dict):
            holder["stranger"] = value
        else:
            holder.append(value)

    repair(chat, damaged(raw, path, change), "" if how == "added" and len(path) == 1 else str(path[0]), **look)


@given(
    conversations,
    st.sampled_from(["nowhere", "", "menu", "list", "name", "paying", "chosen", "offered", "asking", "picking"]),
    st.booleans(),
    LOOKS,
)
def test_any_one_damaged_step(said: Sequence[str], step: str, newer: bool, look: dict[str, bool]):
    """A stored step that is unknown, of another flow, or of another state of the flow is repaired."""
    chat = rich_chat(said, newer=newer)
    raw = json.loads(chat.stored().document or b"")
    assume(raw["flow_data"] and step in ("nowhere", "", "menu", "list", "offered", "asking"))
    assume(step not in chat.bot.flow(raw["flow_data"]["data"]["flow_type"]).by_name)

    def change(holder: Any, name: Any) -> None:
        holder[name] = step

    repair(chat, damaged(raw, ("flow_data", "step"), change), "flow_data", **look)


def test_nothing_of_another_members_document_is_kept():
    """A document that names another member gives this one neither its profile nor its login nor its open flow."""
    other = attrs.evolve(
        member_document(member_id="m-2", version=3), profile={"name": "Grace"}, current_account={"a": 1}
    )
    for data in (encode(other), encode(other)[:-1]):
        found = salvage(BOT, data, CHANNEL, NOW, member_id="m-1", guest=False, version=3)
        assert (found.kept, found.lost) == ((), ("document",))
        assert found.document == first_document("m-1", CHANNEL, NOW, CHANNEL.address, version=3)
