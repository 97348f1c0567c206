"""A server with forked managers, flushed scripts and several event loops in turn, and its keys after a wipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import attrs
import pytest
import redis

from tests.cases.small_flows import YOU, door
from vimbiso_fsm import Bot, Changes, Channel, Flow, FlowStateManager, Message, NoData, State, Text, Transition, Turn
from vimbiso_fsm.testing.chat import words

pytestmark = pytest.mark.embedded


def ran(program: str, url: str) -> list[str]:
    """Return the lines that a program prints. A program that fails raises `CalledProcessError`."""
    done = subprocess.run(
        [sys.executable, "-m", program, url],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_manager_serves_one_event_loop_after_the_other(valkey_url: str):
    """A manager that is used with one `asyncio.run()` per request works (Case 13)."""
    assert ran("tests.cases.many_loops", valkey_url) == ["advanced"] * 4


def test_a_wiped_member_leaves_no_phone_number(valkey_url: str):
    """After a wipe no key contains the phone number, and no value links it to the member (Case 45)."""

    def known(turn: Turn[NoData]) -> Changes[NoData]:
        return turn.changes(member=attrs.evolve(turn.member, id="m-1", guest=False, authenticated=True, jwt_token="t"))

    welcome: Flow[NoData] = Flow(
        "welcome", initial="greeted",
        states=[
            State("greeted", ask=Text("Is that you?")),
            State("known",   ask=Text("Welcome.")),
        ],
        transitions=[
            Transition("yes",   "greeted", "known", prepare=known),
            Transition("leave", "known",   "greeted"),
        ],
    )  # fmt: skip
    with FlowStateManager.from_url(valkey_url, Bot(welcome)) as manager:
        manager.handle(Message(YOU, "m1", "hi"))
        member_id = manager.handle(Message(YOU, "m2", "yes")).state.member_id
        manager.wipe(member_id)
    left: list[str] = []
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        for key in cast("list[str]", client.keys("*")):
            value = str(client.get(key)) if client.type(key) == "string" else ""
            if YOU.identifier in key or member_id in value:
                left.append(key)
    assert left == []


def test_a_manager_that_has_talked_may_be_forked(valkey_url: str):
    """A manager that is forked after use works in four children and in the parent (Case 70)."""
    assert ran("tests.cases.forked", valkey_url) == ["before True", "parent True", "children [0, 0, 0, 0]"]


def test_flushed_scripts_are_not_noticed(valkey_url: str):
    """SCRIPT FLUSH between two turns, as a failover to a server without the script, changes nothing (Case 72)."""
    with FlowStateManager.from_url(valkey_url, Bot(door)) as manager, redis.Redis.from_url(valkey_url) as client:
        you = Channel("sms", "16505550001")
        manager.handle(Message(you, "1", "hi"))
        client.script_flush()
        assert words(manager.handle(Message(you, "2", "yes")).replies)[0] == "Open."
