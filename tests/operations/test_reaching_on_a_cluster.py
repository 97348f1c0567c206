"""What reaches a member and what does not, on a cluster, with encrypted data and an archive of the audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from tests.deployments import cluster
from tests.engines import valkey_program
from vimbiso_fsm import (
    Archiving,
    Bot,
    Channel,
    Encryption,
    Flow,
    FlowStateManager,
    Inbox,
    KeyRing,
    Message,
    NoData,
    State,
    Text,
    Transition,
    Turn,
)
from vimbiso_fsm.channels import OptedOut, StatusChanged
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.testing.chat import words

PHONE, USER, CHAT = Channel("whatsapp", "263771000001"), "ZW.1", Channel("telegram", "77")
BOTH = Channel("whatsapp", PHONE.identifier, {"names": [PHONE.identifier, USER]})
ONE, TWO = bytes(range(32)), bytes(range(1, 33))


class Desk:
    """A bot on a cluster that notes what was said where, what passed, and to what the member has replied."""

    def __init__(self) -> None:
        self.said, self.passed, self.replied = list[tuple[str, str]](), list[PassedOn](), list[Any]()
        flow: Flow[NoData] = Flow(
            "home", initial="name",
            states=[State("name", ask=Text("Name?"), reads=str), State("rest", ask=Text("Rest?"), reads=str)],
            transitions=[
                Transition("answer", "name", "rest", prepare=self.login),
                Transition("answer", "rest", "rest", prepare=self.login),
            ],
        )  # fmt: skip
        self.bot = Bot(flow, inboxes=[Inbox("staff", words=["person"])])

    def login(self, turn: Turn[NoData]) -> Any:
        """Log the member in."""
        self.replied.append(turn.message and turn.message.reply)
        return turn.changes(member=attrs.evolve(turn.member, id="m-ann", guest=False))

    def send(self, channel: Channel, replies: Sequence[Reply]) -> Sent:
        """Send replies, as messages with ids that count from one."""
        self.said += [(channel.identifier, text) for text in words(replies)]
        return Sent(f"id-{len(self.said)}")

    def take(self, passed: PassedOn) -> Sent:
        """Take what passes to a person."""
        self.passed.append(passed)
        return Sent()

    def process(self, url: str, keys: KeyRing, folder: Path) -> FlowStateManager:
        """Start a process."""
        return FlowStateManager.from_url(
            url, self.bot, encryption=Encryption(keys, scope="fields"), archive=Archiving(str(folder), entries=2),
            senders={"whatsapp": self.send, "telegram": self.send}, inboxes={"staff": self.take}, rates=None,
        )  # fmt: skip


@pytest.mark.embedded
def test_a_member_is_reached_alike_on_a_cluster(tmp_path: Path):
    """Names, wishes, ids of messages and addresses hold across slots, a promotion and a rotation of keys."""
    desk, number = Desk(), iter(range(99))
    with cluster(valkey_program()) as nodes:
        with desk.process(nodes.url, KeyRing({"one": ONE}), tmp_path) as first:
            first.handle(Message(BOTH, "m1", "hi"))
            first.handle(Message(BOTH, "m2", "ann"))
            first.handle(Message(CHAT, "m3", "hi"))
            first.handle(Message(CHAT, "m4", "ann"))
        with desk.process(nodes.url, KeyRing({"two": TWO, "one": ONE}), tmp_path) as second:
            failed = StatusChanged(id="f", channel=PHONE, message_id="id-1", status="failed")
            assert second.handle_event(failed).reply == second.history("m-ann")[0].token[:16]
            second.handle(Message(CHAT, "m5", "tea", replied_to="id-4"))
            assert desk.replied[-1].texts == ("Rest?",)
            desk.said.clear()
            assert second.tell(PHONE, "To the number.", key="1").status == "advanced"
            assert desk.said == [(PHONE.identifier, "To the number.")]
            second.handle_event(OptedOut(id="o", channel=PHONE))
            user = Channel("whatsapp", USER)
            refused = [second.tell(place, "News.", key=f"n{next(number)}").reason for place in (PHONE, user, BOTH)]
            assert refused == ["unreachable"] * 3
            assert second.tell("m-ann", "News.", key="2").status == "advanced"
            second.handle(Message(CHAT, "m6", "person"))
            second.handle(Message(CHAT, "m7", "my order"))
            assert second.erase("m-ann").untold == ()
            assert [each.kind for each in desk.passed] == ["begun", "said", "ended"]
            assert second.state("m-ann") is None
