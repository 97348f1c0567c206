"""Strangers: who counts as one, how little is kept of them, and that they lose nothing by it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import attrs
import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.digests import guest_id
from tests.hostile.kit import Ledger, MemoryLedger, message, pay_bot
from vimbiso_fsm import Bot, Flow, FlowStateManager, NoData, State, Text, Transition, Turn, call
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Load, ReadAudit, ReadRecords
from vimbiso_fsm.store.retention import DAY, DOCUMENT_LIFE, STRANGER_LIFE, TOKEN_KEPT
from vimbiso_fsm.testing.chat import STORE_SECRET

ID = guest_id(message("hi").channel.address)


class Clock:
    """A clock that is set by hand, in seconds since the epoch."""

    now = 1.7e9

    def __call__(self) -> float:
        return self.now


@attrs.define
class Talk:
    """A manager on a store in memory, and its clock."""

    manager: FlowStateManager
    store: MemoryStore
    clock: Clock

    def kept(self, after: float) -> tuple[bool, bool, bool]:
        """Return whether document, records and audit are kept `after` seconds from now."""
        self.clock.now += after
        stored = self.store.perform(Load(ID))
        records, audit = self.store.perform(ReadRecords(ID)), self.store.perform(ReadAudit(ID))
        return getattr(stored, "document", None) is not None, bool(records), bool(audit)


@contextmanager
def talk(bot: Bot | None = None) -> Generator[Talk]:
    """Start a bot: by default one that pays, with sessions of five minutes."""
    clock = Clock()
    store = MemoryStore(clock, secret=STORE_SECRET)
    with FlowStateManager(bot or pay_bot(session=300.0), store, cache=0) as manager:
        manager._base.clock.follow(clock)
        yield Talk(manager, store, clock)


def test_a_guest_who_answered_nothing_is_gone_after_a_day():
    """Document, records and audit of a stranger are kept for a day after the latest message, and no longer."""
    with talk() as each:
        each.manager.handle(message("hi"))
        each.clock.now += DAY / 2
        each.manager.handle(message("hi"))
        assert each.kept(STRANGER_LIFE - 1) == (True, True, True)
        assert each.kept(STRANGER_LIFE / 30 + 2) == (False, False, False)


def test_the_token_of_a_stranger_is_kept_as_long_as_any_other():
    """A message of a stranger that is delivered again within eight days takes no effect again."""
    with talk() as each:
        first = message("hi")
        each.manager.handle(first)
        each.clock.now += TOKEN_KEPT - DAY
        assert each.manager.handle(first).status == "duplicate"


def test_a_stranger_is_told_their_first_result_again():
    """A message of a stranger that is delivered again has the replies of its first time."""
    core = SimulatedCredexCore()
    with talk(flows.bot.with_services({"credex_core": core})) as each:
        first = message("hi", number="9000000001")
        said = each.manager.handle(first)
        again = each.manager.handle(first)
    assert again.status == "duplicate"
    assert [reply.text for reply in again.replies] == [reply.text for reply in said.replies]


def test_an_answer_makes_a_guest_of_a_stranger():
    """Once a guest has answered, everything is kept for its usual life, the audit from the first message on."""
    with talk() as each:
        each.manager.handle(message("hi"))
        each.manager.handle(message("5"))
        assert [entry.version for entry in each.manager.history(ID)] == [1, 2]
        assert each.kept(DOCUMENT_LIFE - 1) == (True, True, True)
        assert each.kept(DAY + 2) == (False, False, True)


def test_a_payment_is_no_strangers():
    """The audit of a guest who has had an effect is kept, also when the guest stands at a first question again."""
    ledger = MemoryLedger()
    with talk(pay_bot(ledger, session=300.0)) as each:
        for text in ("hi", "5", "yes", "menu"):
            each.manager.handle(message(text))
        assert ledger.amounts == [5]
        assert each.kept(DOCUMENT_LIFE + DAY + 2) == (False, False, True)


def test_a_run_that_has_had_an_effect_is_no_strangers():
    """A guest's run in which an effect was made is kept, also where nothing else of it shows the effect any more."""
    flow = Flow(
        "once",
        data=NoData,
        initial="paying",
        states=[State("paying", call=lambda _: call(Ledger.pay, 5)), State("asking", ask=Text("more?"), reads=str)],
        transitions=[Transition(["done", "failed"], "paying", "asking"), Transition("answer", "asking", "asking")],
    )
    ledger = MemoryLedger()
    with talk(Bot([flow], services={"ledger": ledger}, session=300.0)) as each:
        each.manager.handle(message("hi"))
        outcome = each.manager.handle(message("back"))
        assert (ledger.amounts, outcome.state.effects) == ([5], ())
        assert each.kept(DOCUMENT_LIFE - 1)[0]


@attrs.frozen
class Votes:
    """The data of a flow that is changed without an answer that is kept."""

    number: int = 0


def _count(turn: Turn[Votes]) -> Votes:
    return Votes(turn.data.number + 1)


def test_a_guest_whose_data_has_changed_is_no_stranger():
    """Data that a callback has changed is kept for its usual life, also if no answer is."""
    flow = Flow(
        "vote",
        data=Votes,
        initial="asking",
        states=[State("asking", ask=Text("up"))],
        transitions=[Transition("up", "asking", "asking", prepare=_count)],
    )
    with talk(Bot([flow])) as each:
        each.manager.handle(message("hi"))
        each.manager.handle(message("up"))
        assert each.kept(DOCUMENT_LIFE - 1)[0]


@pytest.mark.parametrize("days", [3, 60])
def test_a_stranger_is_kept_while_the_session_is_open(days: int):
    """A guest who was asked a question is kept as long as the session lets the answer come."""
    with talk(pay_bot(session=days * DAY)) as each:
        each.manager.handle(message("hi"))
        each.clock.now += min(days * DAY, 8 * 3600) - 60
        assert each.manager.handle(message("5")).replies[-1].text.startswith("pay 5")


def test_no_worker_has_to_wake_a_stranger():
    """A stranger has no wake-up, so that neither a due set nor a delivery can be caused by a first message."""
    with talk() as each:
        each.manager.handle(message("hi"))
        assert each.store._due == {}
        each.manager.handle(message("5"))
        assert each.store._due != {}
