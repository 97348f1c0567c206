"""Combinations: a deploy and damage, an operator and a deploy, an imported record and a wipe."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import pytest

from tests.bots import fruit_bot, member_document
from tests.changed_flows import ANSWERS, FROM_1, POLICY, WAYS, Errand1, Till, bot_of, errand, errand_1, line, pay_1
from tests.digests import guest_id
from tests.engine.test_upgrade import deploy, last, place, standing
from tests.engines import Server
from vimbiso_fsm import Bot, Flow, Migration, State, Text, Transition
from vimbiso_fsm.audit.explain import explain
from vimbiso_fsm.audit.trail import Trail
from vimbiso_fsm.document.document import Document, Moved, Run, Suspended, first_document
from vimbiso_fsm.engine.reading import NEWER_STATE_GRACE
from vimbiso_fsm.errors import DamagedDocument, NewerState, NotAnswered, NotRecovered
from vimbiso_fsm.flow.privacy import SECRET
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import RunCall
from vimbiso_fsm.operations.promote import promote
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.runtime.worker import Worker
from vimbiso_fsm.store.requests import Commit, Conflict, Head, Inherited
from vimbiso_fsm.testing.chat import CHANNEL, START, STORE_SECRET, Chat, Held

NEWER = errand([FROM_1, Migration(2)], version=3)


def spoil(chat: Chat, data: bytes = b"{", *, previous: bytes | None = None) -> None:
    """Damage the stored document, and drop or replace the previous one."""
    member = chat.store._members["m-1"]
    assert member.state is not None
    member.state = type(member.state)(member.state.head, data)
    member.previous = previous
    chat.cache.forget("m-1")


def kept(chat: Chat) -> Any:
    """Return all stored data of the member."""
    return attrs.asdict(chat.store._members["m-1"]), dict(chat.store._due)


def run_of(document: Document) -> Run:
    """Return the current run."""
    assert document.run is not None
    return document.run


# Old and new workers at once ---------------------------------------------------------------------------------------


def newer(*more: str, till: Till | None = None) -> Chat:
    """Return a member whose document a worker of the new version has stored."""
    chat = deploy(standing("confirm", till=till), NEWER)
    chat.say("help", *more)
    assert run_of(chat.document()).version == 3
    return deploy(chat, errand())


def test_an_old_worker_leaves_a_newer_run_alone():
    """During a rolling deploy an old worker stores nothing at a newer run, and says so in plain words."""
    chat = newer()
    before = kept(chat)
    message = chat.message("yes")
    with pytest.raises(NewerState, match=r"m-1.*newer release") as error:
        chat.handle(message)
    assert (error.value.member_id, error.value.flow, error.value.version) == ("m-1", "errand", 3)
    assert isinstance(error.value, NotAnswered)
    assert kept(chat) == before
    deploy(chat, NEWER).handle(message)
    assert chat.words[0] == "Paid."
    assert len(chat.bot.services["till"].asked) == 1  # type: ignore[attr-defined]


def test_an_old_worker_leaves_a_newer_call_and_its_wake_up_alone():
    """A pending call of a newer run is made once, by a worker of the new version."""
    till = Till()
    till.lost.add("@ada")
    chat = newer("yes", till=till)
    assert chat.document().call is not None
    chat.wait(1200)
    before = kept(chat)[0]
    with pytest.raises(NewerState):
        chat.wake()
    assert kept(chat)[0] == before
    due = chat.wakes_at()
    assert due is not None
    deploy(chat, NEWER).wake()
    assert till.paid.keys() == set(till.asked)
    assert len(till.paid) == 1
    assert place(chat) == "home.menu 1"


def test_a_call_that_a_newer_worker_took_up_is_made_once_and_answered_by_both():
    """The late result of an old worker changes neither its reply nor the newer document."""
    till = Till()
    chat = standing("confirm", till=till)
    old = chat.begin(chat.message("yes"))
    while not isinstance(old.request, RunCall):
        chat.step(old)
    chat.wait(1200)
    till.lost.add("@ada")
    deploy(chat, errand()).say("anything")
    assert place(chat) == "errand.sending 2"
    before = kept(chat)
    outcome = chat.finish(old)
    assert outcome.status == "advanced"
    assert [reply.text for reply in outcome.replies] == ["Paying."]
    assert kept(chat) == before
    assert len(till.paid) == 1


def test_a_guest_is_not_moved_into_a_newer_document():
    """A guest is not merged into a newer document before a worker of the new version comes."""
    chat = newer()
    guest = first_document(guest_id(CHANNEL), CHANNEL, START, CHANNEL.address, version=3)
    guest = attrs.evolve(guest, moved=Moved("m-1", 3))
    context = Context(chat.bot, Cache(), START.timestamp())
    held = Held(context, partial(promote, guest=guest, head=Head(3, "x")))
    held.take(Inherited())
    assert isinstance(held.request, Commit)
    with pytest.raises(NewerState):
        held.take(Conflict(chat.stored()))
    assert held.request is None


def test_damage_of_a_newer_release_is_left_to_it():
    """A damaged document whose previous one is newer is left to the newer release."""
    chat = newer()
    spoil(chat, previous=chat.stored().document)
    before = kept(chat)
    with pytest.raises(NewerState):
        chat.say("yes")
    assert kept(chat) == before
    assert deploy(chat, NEWER).say("okay").status == "recovered"
    assert place(chat) == "errand.confirm 3"


def test_a_worker_does_not_come_back_to_a_newer_member_at_once(caplog: pytest.LogCaptureFixture):
    """A worker that meets a newer document rests from that member, and wakes the others."""
    chat = newer()
    chat.wait(1200)
    due: Any = Worker(FlowStateManager(chat.bot, chat.store), every=0.01)
    for waking in due.round():
        waking.result()
    assert due._resting.keys() == {"m-1"}
    assert "NewerState" in caplog.text
    due.leave()


def test_a_deploy_that_was_rolled_back_strands_no_member():
    """A newer document that is older than `NEWER_STATE_GRACE` is repaired like any other."""
    chat = newer()
    chat.wait(NEWER_STATE_GRACE)
    assert chat.say("yes").status == "recovered"
    assert chat.bot.services["till"].paid == {}  # type: ignore[attr-defined]


def test_an_operator_with_the_old_release_is_told_so():
    """`recover`, `reset` and `update` change nothing of a document that a newer release has stored lately."""
    chat = newer()
    before = kept(chat)
    manager = FlowStateManager(chat.bot, chat.store)
    with pytest.raises(NewerState):
        manager.recover("m-1")
    with pytest.raises(NewerState):
        manager.reset("m-1")
    with pytest.raises(NewerState):
        manager.update("m-1", lambda document: document)
    assert kept(chat) == before


@pytest.mark.embedded
def test_the_member_is_told_to_try_again(valkey_url: str):
    """Both managers reply at a newer document that the member should try again."""
    message = Message(CHANNEL, "1", "hi")
    with FlowStateManager.from_url(
        valkey_url, Bot([errand([FROM_1, Migration(2)], version=3)]), check_services=False
    ) as new:
        new.handle(message)
    with FlowStateManager.from_url(valkey_url, Bot([errand()]), check_services=False) as old:
        with pytest.raises(NewerState) as error:
            old.handle(Message(CHANNEL, "2", "@ada"))
        assert error.value.reply
        assert "again in a moment" in error.value.reply

    async def awaited() -> None:
        async with AsyncFlowStateManager.from_url(valkey_url, Bot([errand()]), check_services=False) as old:
            with pytest.raises(NewerState):
                await old.handle(Message(CHANNEL, "2", "@ada"))

    asyncio.run(awaited())


# A deploy and a damage ---------------------------------------------------------------------------------------------


def only_asks(migrations: tuple[Migration, ...] = ()) -> Flow[Errand1]:
    """Return version 1 of a flow whose paying state asks a question under the same name."""
    return Flow(
        "errand", version=1, data=Errand1, initial="handle", migrations=migrations,
        states=[
            State("handle", ask=Text("Whose handle?"), reads=line, into="handle"),
            State("paying", ask=Text("Is it paid?")),
            State("paid",   final=True),
        ],
        transitions=[Transition("answer", "handle", "paying"), Transition("yes", "paying", "paid")],
    )  # fmt: skip


def test_a_step_that_was_a_call_then_is_a_barrier_still():
    """A state that was a call when it was entered forbids to go back past it, whatever is declared now."""
    chat = standing("confirm", more=("yes",))
    assert len(chat.bot.services["till"].asked) == 1  # type: ignore[attr-defined]
    deploy(chat, only_asks())
    manager = FlowStateManager(chat.bot, chat.store)
    with pytest.raises(NotRecovered) as error:
        manager.recover("m-1", to=3)
    assert error.value.barrier == len(chat.entries()) - 1


def test_a_step_that_was_a_question_then_is_no_barrier():
    """A state that was a question when it was entered does not forbid to go back past it."""
    chat = Chat(bot_of(only_asks()))
    chat.plant(member_document(version=1))
    chat.say("hi", "go", "@ada")
    assert place(chat) == "errand.paying 1"
    deploy(chat, errand_1)
    recovery = FlowStateManager(chat.bot, chat.store).recover("m-1", to=3)
    assert (recovery.outcome, recovery.step) == ("put back", "handle")


def test_put_back_to_before_a_deploy_in_which_a_step_was_removed():
    """A member is put back to a version before a deploy, and the state is upgraded; the trail leads back."""
    chat = standing("picking")
    deploy(chat, errand()).say("help")
    recovery = FlowStateManager(chat.bot, chat.store).recover("m-1", to=4)
    assert (recovery.outcome, recovery.step) == ("put back", "given")
    chat.cache.forget("m-1")
    chat.say("hm", "back")
    assert "Who gets it?" in chat.words


@pytest.mark.parametrize("step", ["handle", "name", "colour", "wrap", "gift"])
def test_an_imported_run_is_upgraded_and_comes_to_its_end(step: str):
    """An imported run that waits for the login is upgraded by a deploy and comes to its end."""
    chat = standing(step)
    document = chat.document()
    waiting = attrs.evolve(run_of(document), waits=Suspended.LOGIN)
    chat.plant(attrs.evolve(document, version=document.version + 1, run=waiting))
    deploy(chat, errand()).say("hm")
    for _ in range(8):
        question = chat.words[-1]
        if question == "At home.":
            break
        chat.say(ANSWERS[question])
    assert place(chat) == "home.menu 1"
    assert len(chat.bot.services["till"].paid) == 1  # type: ignore[attr-defined]


@attrs.frozen
class Vault:
    """Answers with a secret pin."""

    pin: str = attrs.field(default="", metadata=SECRET)
    name: str = ""


def vault(version: int, migrations: tuple[Migration, ...] = ()) -> Flow[Vault]:
    """Return a flow that asks for a pin, a name and a confirmation."""
    return Flow(
        "errand", version=version, data=Vault, initial="pin", migrations=migrations,
        states=[
            State("pin",  ask=Text("Your pin?"), reads=line, into="pin"),
            State("name", ask=Text("Your name?"), reads=line, into="name"),
            State("sure", ask=Text("Sure?")),
            State("end",  final=True),
        ],
        transitions=[
            Transition("answer", "pin", "name"),
            Transition("answer", "name", "sure"),
            Transition("yes", "sure", "end"),
        ],
    )  # fmt: skip


@pytest.mark.parametrize("flow", [vault(1), vault(2, (Migration(1),))])
def test_a_secret_that_no_record_keeps_is_asked_for_again(flow: Flow[Vault]):
    """A repaired run asks again for a secret, also if a deploy has filled in its default."""
    chat = Chat(bot_of(vault(1)))
    chat.plant(member_document(version=1))
    chat.say("hi", "go", "1234", "Ada")
    spoil(chat)
    deploy(chat, flow).say("help")
    run = run_of(chat.document())
    assert (run.step, run.trail) == ("pin", ())
    assert last(chat).detail["from"] == "turns"


def test_a_repaired_run_keeps_its_trail():
    """A repaired run keeps its trail, so it is offered back after an interruption."""
    chat = standing("colour")
    spoil(chat)
    assert chat.say("hm").status == "recovered"
    run = run_of(chat.document())
    assert (run.step, run.trail) == ("colour", ("handle", "name"))
    chat.say("back")
    assert chat.words == ["Your earlier answer: Ada Byron", "Which name?"]
    chat.wait(4000).say("hm")
    assert "You have not finished: your errand. Carry on with it?" in chat.words


def paying_first() -> Flow[Errand1]:
    """Return a flow that pays and goes on asking."""
    return Flow(
        "errand", version=1, data=Errand1, initial="handle",
        states=[
            State("handle", ask=Text("Whose handle?"), reads=line, into="handle"),
            State("paying", call=pay_1, policy=POLICY, into="receipt"),
            State("name",   ask=Text("Which name?"), reads=line, into="name"),
            State("paid",   final=True),
            State("failed", final=True, cancels=True),
        ],
        transitions=[
            Transition("answer", "handle", "paying"),
            Transition("done",   "paying", "name"),
            Transition("failed", "paying", "failed"),
            Transition("answer", "name", "paid"),
        ],
    )  # fmt: skip


def test_back_says_after_a_damage_too_that_something_was_done():
    """After a repair `back` still tells that a call was made."""
    chat = Chat(bot_of(paying_first()))
    chat.plant(member_document(version=1))
    chat.say("hi", "go", "@ada")
    chat.say("back")
    before = chat.words
    spoil(chat)
    chat.say("hm", "back")
    assert run_of(chat.document()).made
    assert chat.words == before


def test_a_button_from_before_a_second_damage_is_closed():
    """A button from before a second repair is closed."""
    chat = standing("gift")
    spoil(chat)
    chat.say("hm")
    assert chat.outcome is not None
    shown: Mapping[str, str] = {b.id: b.id for r in chat.outcome.replies for b in getattr(r, "buttons", ())}
    press = next(iter(shown))
    chat.say("yes")
    spoil(chat)
    chat.say("hm")
    step = run_of(chat.document()).step
    chat.handle(chat.message(choice=press))
    assert run_of(chat.document()).step == step
    assert step == "confirm"


# Many first messages at once ---------------------------------------------------------------------------------------


@pytest.mark.embedded
def test_a_thousand_first_messages_ask_the_servers_once(valkey_server: Server, valkey_url: str):
    """Of a thousand first messages one makes the startup check, and the others wait for it."""

    async def crowd() -> list[str]:
        async with AsyncFlowStateManager.from_url(valkey_url, fruit_bot()) as manager:
            messages = [Message(Channel("terminal", f"t{n}"), "1", "hi") for n in range(1000)]
            done = await asyncio.gather(*map(manager.handle, messages))
            return [outcome.status for outcome in done]

    with valkey_server.client() as client:
        client.config_resetstat()
        assert asyncio.run(crowd()) == ["advanced"] * 1000
        statistics: Any = client.info("commandstats")
    assert statistics["cmdstat_info"]["calls"] < 10


@pytest.mark.embedded
def test_a_task_that_stops_waiting_for_the_start_stops_no_other(valkey_url: str):
    """A cancelled first message does not cancel the startup check of the others."""

    async def crowd() -> str:
        async with AsyncFlowStateManager.from_url(valkey_url, fruit_bot()) as manager:
            first = asyncio.create_task(manager.handle(Message(Channel("terminal", "a"), "1", "hi")))
            second = asyncio.create_task(manager.handle(Message(Channel("terminal", "b"), "1", "hi")))
            await asyncio.sleep(0)
            first.cancel()
            return (await second).status

    assert asyncio.run(crowd()) == "advanced"


def test_a_start_that_failed_is_tried_again_and_told_to_all():
    """A failed startup check is raised for all that wait, and the next message checks again."""

    async def crowd() -> tuple[int, list[type[BaseException]]]:
        manager = AsyncFlowStateManager.in_memory(fruit_bot(), secret=STORE_SECRET)
        asked = 0

        async def start() -> None:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)
            if asked == 1:
                raise ConnectionError

        manager._start = start
        messages = [Message(Channel("terminal", f"t{n}"), "1", "hi") for n in range(5)]
        found = await asyncio.gather(*map(manager.handle, messages), return_exceptions=True)
        assert (await manager.handle(messages[0])).status == "advanced"
        return asked, [type(each) for each in found if isinstance(each, BaseException)]

    assert asyncio.run(crowd()) == (2, [ConnectionError] * 5)


# An operator who only looks ----------------------------------------------------------------------------------------


def everything(server: Server) -> dict[bytes, bytes | None]:
    """Return all keys of a server with their values."""
    with server.client() as client:
        keys: Any = client.keys("*")
        return {key: client.dump(key) for key in keys}


@pytest.mark.embedded
@pytest.mark.parametrize("wrong", ["{", "", json.dumps([])])
def test_a_dry_run_writes_nothing_byte_for_byte(valkey_server: Server, valkey_url: str, wrong: str):
    """A dry run of a repair or of going back changes no byte on the server."""
    bot = bot_of(errand_1)
    with FlowStateManager.from_url(valkey_url, bot, secret=STORE_SECRET) as manager:
        for number, text in enumerate(WAYS["colour"]):
            manager.handle(Message(CHANNEL, str(number), text))
        member = guest_id(CHANNEL)
        with valkey_server.client() as client:
            keys: Any = client.keys("*:state")
            state = keys[0]
            client.hset(state, "d", wrong) if client.type(state) == b"hash" else client.set(state, wrong)
        before = everything(valkey_server)
        assert manager.recover(member, dry_run=True).outcome == "repaired"
        manager.recover(member, to=3, dry_run=True)
        assert everything(valkey_server) == before
        assert manager.recover(member).outcome == "repaired"
        assert manager.recover(member).outcome == "left alone"


@pytest.mark.embedded
@pytest.mark.parametrize("beside", ["tokens", "audit"])
def test_a_broken_key_beside_the_document_is_said_to_be_broken(valkey_server: Server, valkey_url: str, beside: str):
    """Operations at a damaged key beside the document raise `DamagedDocument` until `recover` repairs it."""
    with FlowStateManager.from_url(valkey_url, bot_of(errand_1), secret=STORE_SECRET) as manager:
        for number, text in enumerate(WAYS["colour"]):
            manager.handle(Message(CHANNEL, str(number), text))
        member = guest_id(CHANNEL)
        with valkey_server.client() as client:
            states: Any = client.keys("*:state")
            client.set(states[0].removesuffix(b"state") + beside.encode(), "x")
        for change in (manager.reset, lambda id: manager.update(id, lambda document: document)):
            with pytest.raises(DamagedDocument, match=beside):
                change(member)
        document = manager.state(member)
        assert document is not None
        with pytest.raises(DamagedDocument, match=beside):
            manager.save(document)
        assert manager.recover(member).outcome == "repaired"
        assert manager.reset(member).flows == ("home", "errand")


# What is said of a step that another declaration decided -------------------------------------------------------------


def explained(chat: Chat, version: int) -> str:
    """Return the explanation of a turn."""
    return "\n".join(explain(chat.bot, Trail("m-1", None, chat.entries()), version).lines)


def test_a_step_of_a_declaration_that_is_gone_is_told_from_one_that_is_kept():
    """The explanation tells whether the declaration under which a turn was made is still known."""
    chat = standing("confirm", more=("yes",))
    paid = len(chat.entries()) - 1
    assert "to paying, a call with an effect" in explained(chat, paid)
    kept_one = deploy(chat, errand())
    assert "decided by errand version 1" in explained(kept_one, 5)
    assert "fits" not in explained(kept_one, 5)
    changed = attrs.evolve(errand_1, version=2, migrations=[Migration(1)])
    gone = explained(deploy(chat, changed), 5)
    assert "decided by errand version 1" in gone
    assert "which fits the current declaration:\n  1. to colour: fired" in gone
    nowhere = explained(deploy(chat, errand([])), 5)
    assert "the flow has changed since" in nowhere
