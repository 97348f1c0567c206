"""Replies about a payment, and the outcome of the payment."""

from __future__ import annotations

import threading

import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.hostile.kit import (
    LIMIT,
    START,
    MemoryLedger,
    Pay,
    client_of,
    message,
    pay_bot,
    replies,
    require,
    wait_until,
)
from vimbiso_fsm import FlowStateManager, Refused, Turn
from vimbiso_fsm.errors import DamagedDocument


def _fail(_: Turn[Pay]) -> Pay:
    raise ValueError("an error in the author's callback")


def test_no_reply_after_a_payment_says_that_nothing_was_changed():
    """When a callback raises after a payment was made, no reply says that nothing was changed."""
    now = START
    ledger = MemoryLedger()
    manager = FlowStateManager.in_memory(pay_bot(ledger, after_payment=_fail), clock=lambda: now)
    said: list[str] = []
    for text in ("hi", "100", "yes", *["menu"] * 6):
        outcome = manager.handle(message(text))
        if ledger.amounts:
            said += replies(outcome)
        now += 61
    require(ledger.amounts == [100], "the payment was not made")
    assert [words for words in said if "nothing was changed" in words] == []


def test_a_message_that_was_not_taken_has_no_effect_when_it_is_delivered_again():
    """A message that is delivered again gets its first reply and has no further effect."""
    arrived, answer = threading.Event(), threading.Event()

    def refuse_first() -> Refused | None:
        if arrived.is_set():
            return None
        arrived.set()
        require(answer.wait(LIMIT), "the first payment was never answered")
        return Refused("core.no")

    ledger = MemoryLedger(refuse_first)
    with FlowStateManager.in_memory(pay_bot(ledger), clock=lambda: START, call_wait=0.0) as manager:
        member_id = manager.handle(message("hi")).state.member_id

        def call_ended() -> bool:
            document = manager.state(member_id)
            return document is not None and document.call is None

        try:
            for text in ("100", "yes"):
                manager.handle(message(text))
            require(arrived.wait(LIMIT), "the first payment was never asked for")
            again = message("yes")
            require(replies(manager.handle(again)) == ["working"], "the message came too late to be refused")
        finally:
            answer.set()
        wait_until(call_ended, "the answer of the first payment is stored")
        for text in ("hello?", "no", "999"):
            manager.handle(message(text))
        require(ledger.amounts == [], "something was paid before the message was delivered again")
        manager.handle(again)
        wait_until(call_ended, "the answer of the second payment is stored")
        assert ledger.amounts == []


# A stored document in which a bit has flipped -------------------------------------------------------------------------


@pytest.fixture
def asked_for_ten(valkey_url: str) -> tuple[str, SimulatedCredexCore, str, bytes]:
    """Bring a member to the confirmation of 10.00 USD; return the URL, credex-core, member id and document key."""
    core = SimulatedCredexCore()
    with FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": core}) as manager:
        for text in ("hi", "offer", "10 USD"):
            manager.handle(message(text))
        outcome = manager.handle(message("alan"))
    require(replies(outcome)[-1].startswith("Offer 10.00 USD"), "the member is not asked to confirm")
    with client_of(valkey_url) as client:
        documents = {key: client.hget(key, "d") for key in client.scan_iter("*:state")}
    found = [key for key, document in documents.items() if document and b'"10.00"' in document]
    require(len(found) == 1, "the document with the amount was not found")
    return valkey_url, core, outcome.state.member_id, found[0]


@pytest.mark.embedded
def test_the_amount_that_was_confirmed_is_the_one_that_is_offered(
    asked_for_ten: tuple[str, SimulatedCredexCore, str, bytes],
):
    """If the stored amount differs from the amount in the question, a confirmation offers no other amount."""
    url, core, _, key = asked_for_ten
    with client_of(url) as client:
        document = client.hget(key, "d")
        client.hset(key, "d", document.replace(b'"10.00"', b'"18.00"'))
    with FlowStateManager.from_url(url, flows.bot, services={"credex_core": core}) as manager:
        manager.handle(message("yes"))
    assert "18.00 USD" not in [str(offer.money) for offer in core.offers]


@pytest.mark.embedded
def test_each_flipped_bit_of_a_document_is_noticed(asked_for_ten: tuple[str, SimulatedCredexCore, str, bytes]):
    """A stored document that differs in one bit from what was written is not read as a sound one."""
    url, _, member_id, key = asked_for_ten
    unnoticed: list[tuple[int, int]] = []
    with client_of(url) as client, FlowStateManager.from_url(url, flows.bot) as manager:
        document: bytes = client.hget(key, "d")
        for bit in range(0, 8 * len(document), 19):  # prime to 8: each bit of a byte is tried
            place, mask = bit // 8, 1 << bit % 8
            client.hset(key, "d", document[:place] + bytes([document[place] ^ mask]) + document[place + 1 :])
            try:
                manager.state(member_id)
            except DamagedDocument:
                continue
            unnoticed.append((place, mask))
    assert unnoticed == []
