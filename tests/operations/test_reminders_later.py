"""Reminders after what may become of their member meanwhile, in stores with and without encryption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest

pytest.importorskip("cryptography", reason="needs the package cryptography")

from vimbiso_fsm import (
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
    remind,
)
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

SMS, CHAT = Channel("sms", "16505550001"), Channel("telegram", "77")
DAY = 86_400.0
ONE, TWO = bytes(range(32)), bytes(range(1, 33))

asks: Flow[NoData] = Flow(
    "asks", initial="ask",
    states=[State("ask", ask=Text("Still coming?")), State("end", ask=Text("Bye."))],
    transitions=[Transition("yes", "ask", "end"), Transition("again", "end", "ask")],
)  # fmt: skip


def login(turn: Turn[NoData]) -> Any:
    """Log the member in, and set reminders of words, of a flow and of one that ends soon."""
    later = turn.now + timedelta(days=1)
    reminders = [
        remind(later, "words", Text("Tomorrow is today.")),
        remind(later, "flow", flow=asks),
        remind(later, "short", Text("Quick."), until=later + timedelta(hours=1)),
        remind(turn.local.replace(tzinfo=None) + timedelta(days=1), "wall", Text("By your clock.")),
    ]
    return turn.changes(member=attrs.evolve(turn.member, id="m-ann", guest=False), reminders=reminders)


def moved(turn: Turn[NoData]) -> Any:
    """Move the member to another time zone."""
    return turn.changes(member=attrs.evolve(turn.member, profile={"zone": "Asia/Tokyo"}))


home: Flow[NoData] = Flow(
    "home", initial="name",
    states=[State("name", ask=Text("Name?"), reads=str), State("rest", ask=Text("Rest?"))],
    transitions=[
        Transition("answer", "name", "rest", prepare=login),
        Transition("move", "rest", "rest", prepare=moved),
    ],
)  # fmt: skip
BOT = Bot(
    [home, asks], inboxes=[Inbox("staff", words=["person"])], windows={}, zone="Africa/Harare", session=30 * DAY,
    zone_of=lambda member: member.profile.get("zone"),
)  # fmt: skip


class Scene:
    """A member with reminders, a clock that a test moves, and what was said where."""

    def __init__(self, encryption: Encryption | None) -> None:
        self.clock, self.said, self.number = Clock(), list[tuple[str, str]](), 0
        self.store = MemoryStore(self.clock, secret=STORE_SECRET)
        self.manager = self.process(encryption)

    def process(self, encryption: Encryption | None) -> FlowStateManager:
        """Return a manager of another process on the same store."""
        made = FlowStateManager(
            BOT, self.store, deliver=self._deliver, encryption=encryption, rates=None, cache=0,
            inboxes={"staff": lambda passed: Sent()},
        )  # fmt: skip
        made._base.clock.follow(self.clock)
        return made

    def _deliver(self, channel: Channel, replies: Sequence[Reply]) -> None:
        self.said += [(channel.type, text) for text in words(replies)]

    def says(self, *texts: str, channel: Channel = SMS) -> list[str]:
        """Type messages; return the words of the last answer."""
        found: list[str] = []
        for text in texts:
            self.number += 1
            found = words(self.manager.handle(Message(channel, f"m{self.number}", text)).replies)
        return found

    def later(self, seconds: float) -> list[tuple[str, str]]:
        """Let time pass; return what a worker says then."""
        self.clock.at += seconds
        self.said.clear()
        for _ in range(3):
            self.manager.wake("m-ann")
        return self.said

    @property
    def dropped(self) -> dict[str, str]:
        """The reminders that the audit tells were dropped, and why."""
        found = [entry.detail for entry in self.manager.history("m-ann") if "dropped" in entry.detail]
        return {detail["reminder"]: detail["dropped"] for detail in found}


SETTINGS = {
    "plain": None,
    "whole": Encryption(KeyRing({"one": ONE}), member_keys=True),
    "fields": Encryption(KeyRing({"one": ONE}), scope="fields"),
}


@pytest.fixture(params=SETTINGS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A member who has set reminders for tomorrow."""
    made = Scene(SETTINGS[request.param])
    made.says("hi", "ann")
    yield made
    made.manager.close()


EACH = [("sms", text) for text in ("Tomorrow is today.", "Quick.", "By your clock.")]


def test_a_reminder_after_a_promotion_is_the_member_s(scene: Scene) -> None:
    """What was set in the turn of the login is said to the member, each once."""
    assert sorted(scene.later(DAY)) == sorted([*EACH, ("sms", "Still coming?")])
    assert scene.later(DAY) == []


def test_a_reminder_after_an_opt_out_is_dropped(scene: Scene) -> None:
    """A member who wants no messages is not reminded, is asked nothing new, and hears nothing of it at START."""
    scene.says("stop")
    assert scene.later(DAY) == []
    assert scene.dropped == dict.fromkeys(("words", "flow", "short", "wall"), "unreachable")
    assert scene.says("start") == ["You get our messages again. Reply STOP to get none.", "Rest?"]


def test_a_reminder_after_an_opt_out_goes_where_the_member_wants_it(scene: Scene) -> None:
    """A member who wants no messages at one of two addresses is reminded at the other one."""
    scene.says("hi", "ann", channel=CHAT)
    scene.says("stop")
    scene.later(DAY)
    scene.later(60)  # the pace of Telegram
    scene.later(60)
    assert scene.dropped == {}
    assert "sms" not in {place for place, _ in scene.said}
    assert scene.manager.state("m-ann").reminders == ()  # type: ignore[union-attr]  # the member is known


@pytest.mark.parametrize("how", ["erase", "wipe"])
def test_a_reminder_after_an_erasure_is_none(scene: Scene, how: str) -> None:
    """Nothing is said to who was erased, and nothing is due."""
    getattr(scene.manager, how)("m-ann")
    assert scene.later(DAY) == []
    assert scene.says("hello") == ["Name?"]


def test_a_reminder_during_a_hand_over(scene: Scene) -> None:
    """Words are said while a person has the conversation; a flow waits for its end, and what has an end is dropped."""
    scene.says("person")
    scene.manager.say("m-ann", "Hello.", key="1", by="ann")
    for number in range(30):
        scene.later(0.9 * 3_600)
        scene.manager.say("m-ann", "Still here.", key=f"s{number}", by="ann")
        if scene.manager.state("m-ann").handed is None:  # type: ignore[union-attr]  # the member is known
            break
    scene.later(3_600)
    kinds = [entry.kind for entry in scene.manager.history("m-ann")]
    assert kinds.count("reminder") == 4
    assert scene.manager.state("m-ann").handed is None  # type: ignore[union-attr]  # the member is known
    assert scene.manager.state("m-ann").reminders == ()  # type: ignore[union-attr]  # the member is known
    assert scene.dropped == {}


def test_a_reminder_after_the_member_has_moved(scene: Scene) -> None:
    """An instant by the member's clock was read when the reminder was set, and does not move with the member."""
    scene.says("move")
    assert scene.later(DAY - 60) == []
    assert ("sms", "By your clock.") in scene.later(60)


def test_a_reminder_after_all_channels_were_unlinked(scene: Scene) -> None:
    """What would reach no address is dropped: no flow opens, and no next speaker or new channel hears it."""
    scene.manager.unlink("m-ann", SMS)
    before = scene.manager.state("m-ann")
    assert scene.later(DAY) == []
    assert scene.dropped == dict.fromkeys(("words", "flow", "short", "wall"), "unreachable")
    after = scene.manager.state("m-ann")
    assert before is not None
    assert after is not None
    assert (after.run, after.outbox) == (before.run, ())
    assert scene.says("hello") == ["Name?"]
    scene.manager.link("m-ann", CHAT)
    assert [*scene.later(60), *scene.later(60)] == []


def test_a_reminder_after_a_rotation_of_keys() -> None:
    """A worker with a new current key gives the reminders of before; one without their key leaves them to others."""
    old, new = KeyRing({"one": ONE}), KeyRing({"two": TWO, "one": ONE})
    scene = Scene(Encryption(old))
    scene.says("hi", "ann")
    scene.manager = scene.process(Encryption(new))
    assert sorted(scene.later(DAY))[:2] == sorted([*EACH, ("sms", "Still coming?")])[:2]
    assert scene.manager.tell(SMS, "Hello.", key="1").status == "advanced"
    scene.says("stop")
    assert scene.manager.tell(SMS, "Hello.", key="2").reason == "unreachable"
