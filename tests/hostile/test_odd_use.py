"""Unusual but harmless use, which is answered or refused with an error of the library."""

from __future__ import annotations

import asyncio
import gc

import pytest

import flows
from flows.credex_core import SimulatedCredexCore
from tests.cli_runs import invoke
from tests.hostile.kit import foreign_error, message, pay_bot
from vimbiso_fsm import AsyncFlowStateManager, FlowStateManager

BAD_HOST = "redis://cache..internal:6379/0"
"""No host has such a name: a label between two dots is empty."""


@pytest.mark.embedded
def test_an_async_manager_answers_on_a_loop_for_each_message(valkey_url: str):
    """A message is answered, also when each message runs on an event loop of its own."""
    manager = AsyncFlowStateManager.from_url(valkey_url, pay_bot())
    assert {asyncio.run(manager.handle(message("hi"))).status for _ in range(4)} == {"advanced"}
    del manager
    gc.collect()  # a connection that is left open warns here, and not in another test


def test_a_url_whose_host_is_none_is_refused_by_the_manager():
    """A URL with an invalid host name raises an error of the library."""

    def served() -> None:
        with FlowStateManager.from_url(BAD_HOST, pay_bot()) as manager:
            manager.handle(message("hi"))

    assert foreign_error(served, UnicodeError) == ""


def test_a_url_whose_host_is_none_is_refused_by_the_doctor():
    """`vimbiso doctor` reports an invalid host name of a URL in one line."""
    assert foreign_error(lambda: invoke("doctor", "--redis", BAD_HOST), UnicodeError) == ""


@pytest.mark.embedded
def test_a_last_that_is_too_large_is_refused(valkey_url: str):
    """`vimbiso incidents --last` takes any number, or reports in one line that it is too large."""
    with FlowStateManager.from_url(valkey_url, flows.bot, services={"credex_core": SimulatedCredexCore()}) as manager:
        member_id = manager.handle(message("hi")).state.member_id
    command = ("incidents", member_id, "--last", "9" * 20, "--redis", valkey_url)
    assert foreign_error(lambda: invoke(*command), OverflowError) == ""


@pytest.mark.embedded
def test_a_member_id_that_is_no_text_is_refused(valkey_url: str):
    """`vimbiso audit verify` reports in one line that an argument is not valid text."""
    command = ("audit", "verify", "\udc80", "--redis", valkey_url)
    assert foreign_error(lambda: invoke(*command), UnicodeEncodeError) == ""
