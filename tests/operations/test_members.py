"""The members of a store in parts, and why each of them is stuck."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import attrs
import pytest

from tests.bots import fruit_bot, member_document
from tests.engines import Server
from tests.shells import Shell
from vimbiso_fsm import Channel
from vimbiso_fsm.document.document import Answer, Document, Passing, PendingCall, Undelivered
from vimbiso_fsm.engine.reading import Absent, Damaged, Foreign, Sound
from vimbiso_fsm.errors import ForeignState
from vimbiso_fsm.operations.members import REASONS, Standing, Stuck, standing
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.testing.chat import START, Chat

BOT = fruit_bot()


def after(seconds: float, document: Document) -> Standing:
    """Return where the member of a document stands some seconds after its latest change."""
    found = standing(BOT, document.member_id, Sound(document), document.last_updated + timedelta(seconds=seconds))
    assert found is not None
    return found


def at_a_question() -> Document:
    """Return the document of a member who has been asked something."""
    chat = Chat(BOT)
    chat.plant(member_document())
    chat.say("order")
    return chat.document("m-1")


def with_call(document: Document, **changes: Any) -> Document:
    """Return a document with a pending call, whose lease ends after an hour."""
    lease = document.last_updated + timedelta(hours=1)
    call = PendingCall("k", "bank", "pay", {}, "root", lease, tries=3)
    return attrs.evolve(document, call=attrs.evolve(call, **changes))


def test_a_member_at_a_question_is_not_stuck():
    """The standing names the flow, the state and the instant at which it was entered."""
    document = at_a_question()
    found = after(10, document)
    run = document.run
    assert run is not None
    assert found == Standing("m-1", run.flow, run.step, found.since, document.channel.type)
    assert found.place == f"{run.flow}.{run.step}"
    assert after(10, member_document()) == Standing("m-1", since=START, channel=document.channel.type)
    assert after(10, member_document()).place == ""


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (with_call, Stuck("call", times=3, what="bank.pay")),
        (lambda found: with_call(found, answer=Answer(True, failures=2)), Stuck("answer", times=2, what="bank.pay")),
        (lambda found: attrs.evolve(found, outbox=(Undelivered("o", tries=2),)), Stuck("undelivered", times=1)),
        (lambda found: attrs.evolve(found, outbox=(Undelivered("o", rest="held"),) * 2), Stuck("undelivered", times=2)),
        (
            lambda found: attrs.evolve(found, run=attrs.evolve(found.run, context={"attempts": 4})),
            Stuck("refused", times=4),
        ),
    ],
    ids=["call", "answer", "undelivered", "held", "refused"],
)
def test_the_reasons_of_a_document(change: Callable[[Document], Document], wanted: Stuck):
    """Each reason is told, with its number and what it is about, and has words."""
    found = after(120, change(at_a_question())).stuck
    assert [attrs.evolve(each, since=None) for each in found] == [wanted]
    assert found[0].words


def test_what_an_inbox_does_not_take_is_told():
    """The inbox is named, with the tries that have failed and the instant of what waits first."""
    document = at_a_question()
    at = document.last_updated
    waits = Passing("p", "support", "said", at, at + timedelta(hours=1), tries=5)
    assert after(10, attrs.evolve(document, passing=(waits,))).stuck == (Stuck("inbox", at, 5, "support"),)


def test_a_call_that_has_just_begun_is_not_stuck():
    """A call is on its way for a minute before it counts as stuck."""
    document = with_call(at_a_question())
    assert after(59, document).stuck == ()
    assert [each.reason for each in after(60, document).stuck] == ["call"]


def test_overdue_work_is_told_from_work_that_is_due():
    """What was due counts after thirty seconds, with its instant; the graver reason stands first."""
    document = at_a_question()
    lease = document.last_updated + timedelta(seconds=100)
    calling = with_call(document, leased_until=lease)
    assert [each.reason for each in after(129, calling).stuck] == ["call"]
    assert after(130, calling).stuck[1] == Stuck("overdue", lease, what="LeaseExpired")


def test_the_end_of_the_session_of_a_stranger_is_not_overdue():
    """The next message of a stranger ends their session, and no worker is woken for it."""
    chat = Chat(BOT)
    chat.channel = Channel("telegram", "7")
    chat.say("hi")
    document = chat.document()
    assert document.guest
    assert after(86_400, document).stuck == ()


def test_documents_that_cannot_be_read():
    """A damaged document and one of another bot are stuck; a member without one is left out."""
    at = START
    assert standing(BOT, "m-1", Absent(), at) is None
    assert standing(BOT, "m-1", Damaged(("no JSON", "too long")), at) == Standing(
        "m-1", stuck=(Stuck("damaged", what="no JSON"),)
    )
    foreign = Foreign(ForeignState("m-1", ("other",)))
    found = standing(BOT, "m-1", foreign, at)
    assert found is not None
    assert [(each.reason, each.what) for each in found.stuck] == [("unread", "ForeignState")]


def test_every_reason_has_its_words():
    """The words are whole, and hold the number."""
    found = {reason: Stuck(reason, times=2, what="x.y").words for reason in REASONS}
    assert len({*found.values()}) == len(REASONS)
    assert Stuck("refused", times=1).words == "refused 1 time in a row"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_parts_hold_every_member(server: Server, kind: Literal["sync", "async"]):
    """All members are found in parts of a server, also guests, and each once in a store that does not change."""
    make: Any = AtomicStateManager if kind == "sync" else AsyncAtomicStateManager
    with Shell(kind, BOT, make.from_url(server.url)) as shell:
        for number in range(60):
            shell.handle(shell.message("hi", channel=Channel("telegram", str(number))))
        parts = [shell.do("members", keys=20)]
        while parts[-1].cursor:
            parts.append(shell.do("members", parts[-1].cursor, keys=20))
        found = [each for part in parts for each in part.members]
        assert len(parts) > 2
        assert len(found) == len({each.member_id for each in found}) == 60
        assert {each.place for each in found} == {found[0].place}
        with pytest.raises(ValueError, match="cursor"):
            shell.do("members", "x")
        shell.run(shell.manager._store.close())


def test_the_parts_of_a_store_in_memory():
    """The parts of a store in memory begin after the member that the part before has shown last."""
    with Shell("sync", BOT, MemoryStore(lambda: 1e9)) as shell:
        for number in range(5):
            shell.handle(shell.message("hi", channel=Channel("telegram", str(number))))
        first = shell.do("members", keys=2)
        assert len(first.members) == 2
        rest = shell.do("members", first.cursor, keys=9)
        assert (len(rest.members), rest.cursor) == (3, "")
