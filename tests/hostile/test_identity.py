"""Logins from telephone numbers, also from one that has changed its holder."""

from __future__ import annotations

import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.hostile.kit import ADA, START, message, replies, require
from vimbiso_fsm import FlowStateManager, Outcome

NUMBER = "263771000003"


class RecycledNumber:
    """A telephone number whose member takes another number, and which is then given to a new holder."""

    def __init__(self) -> None:
        self._now = START
        self.core = SimulatedCredexCore(clock=lambda: self._now)
        self.manager = FlowStateManager.in_memory(
            flows.bot, clock=lambda: self._now, services={"credex_core": self.core}
        )
        self.former_member = self.say("hi").state.member_id
        former = self.core._phones.pop(NUMBER)
        former.phone = "263771000999"
        self.core._phones[former.phone] = former
        self._now += 86_400

    def say(self, *texts: str) -> Outcome:
        """Send texts from the number, and return the last outcome."""
        for text in texts[:-1]:
            self._handle(text)
        return self._handle(texts[-1])

    def open_account(self) -> Outcome:
        """Open an account for the new holder, and return the last outcome."""
        outcome = self.say("hi", "become_member", "Emmy", "Noether", "yes")
        require(NUMBER in self.core._phones, "no account was opened")
        return outcome

    def _handle(self, text: str) -> Outcome:
        self._now += 1
        return self.manager.handle(message(text, number=NUMBER))


def test_the_new_holder_of_a_number_is_told_that_their_account_was_opened():
    """When an account is opened from a number that had another member, no reply says that nothing was changed."""
    assert "nothing was changed" not in " ".join(replies(RecycledNumber().open_account()))


def test_the_new_holder_of_a_number_gets_into_their_account():
    """When an account was opened from a number that had another member, the next messages of its holder are served."""
    number = RecycledNumber()
    number.open_account()
    assert [number.say(text).status for text in ("hi", "menu")] == ["advanced", "advanced"]


def test_the_new_holder_of_a_number_gets_in_after_the_former_member_was_wiped():
    """When the former member of a number is wiped, its new holder is served."""
    number = RecycledNumber()
    number.open_account()
    number.manager.wipe(number.former_member)
    assert number.say("hi").status != "failed"


@pytest.mark.parametrize("channel", ["telegram", "web", "discord", "email", "slack"])
def test_an_identifier_that_is_no_telephone_number_logs_no_member_in(channel: str):
    """Only a channel whose identifiers are telephone numbers logs in the member that has the number."""
    with FlowStateManager.in_memory(flows.bot, services={"credex_core": SimulatedCredexCore()}) as manager:
        outcome = manager.handle(message("hi", number=ADA, channel=channel))
    assert not outcome.state.authenticated
