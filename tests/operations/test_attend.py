"""A process that holds a connection to a member: what others leave for the member, and what is due and open there."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Literal

import attrs
import pytest

from tests.shells import Shell
from vimbiso_fsm import Bot, Channel, Flow, Sent, State, Text, Transition
from vimbiso_fsm.document.document import first_document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.sending import Answer
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import Clock

Kind = Literal["sync", "async"]
HERE = Channel("web", "visitor-1")
SESSION = 1000.0
SECRET = "secret-of-a-store"


class Line:
    """A connection to members, which may be there or not."""

    def __init__(self) -> None:
        self.is_there, self.said = True, list[str]()

    def reaches(self, channel: Channel) -> bool:
        """Return whether the connection is there."""
        return self.is_there and channel.type == "web"

    def __call__(self, channel: Channel, replies: Sequence[Any]) -> Answer:
        """Deliver replies."""
        self.said += [reply.text for reply in replies]
        return Sent()


def held(session: float = SESSION) -> Bot:
    """Return a bot that holds a seat for a minute."""
    flow: Flow[Any] = Flow(
        "seat",
        initial="ask",
        session=session,
        states=[
            State("ask", ask=Text("Hold it?"), timeout=60.0),
            State("gone", ask=Text("It is gone. Another one?")),
        ],
        transitions=[Transition("timeout", "ask", "gone"), Transition("yes", "gone", "ask")],
    )
    return Bot(flow)


class Scene:
    """Two processes on one store: one holds the connection, and the other does not."""

    def __init__(self, kind: Kind, **options: Any) -> None:
        self.clock, self.line, away = Clock(), Line(), Line()
        away.is_there = False
        self.away = away
        store = MemoryStore(self.clock, secret=SECRET)
        self.holder = Shell(kind, held(), store, deliver=self.line, **options)
        self.other = Shell(kind, held(), store, deliver=away, **options)
        for shell in (self.holder, self.other):
            shell.manager._base.clock.follow(self.clock)

    def begin(self) -> str:
        """Begin the conversation, and return the id of the guest."""
        outcome = self.holder.handle(self.holder.message("hi", channel=HERE))
        assert [reply.text for reply in outcome.replies] == ["Hold it?"]
        return outcome.member_id

    def attend(self, shell: Shell | None = None, **options: Any) -> Any:
        """Attend to the member."""
        return (shell or self.holder).do("attend", HERE, **options)


@pytest.fixture(params=["sync", "async"])
def scene(request: pytest.FixtureRequest) -> Generator[Scene]:
    """The processes, on both kinds of managers."""
    found = Scene(request.param)
    yield found
    found.holder.close()
    found.other.close()


def test_a_process_without_a_connection_leaves_the_words_to_one_that_has_it(scene: Scene) -> None:
    """The timer acts in any process; its words wait in the store for the process with the connection."""
    guest = scene.begin()
    scene.clock.at += 61
    assert [entry.kind for entry in scene.other.wake(guest)] == ["timer"]
    assert (scene.line.said, scene.away.said) == ([], [])
    assert scene.holder.state(guest).outbox
    scene.attend()
    scene.attend()
    assert scene.line.said == ["It is gone. Another one?"]
    assert not scene.holder.state(guest).outbox


def test_what_no_connection_takes_precedes_the_next_reply(scene: Scene) -> None:
    """Without a connection anywhere, words wait for the next message, and are said once."""
    guest = scene.begin()
    scene.clock.at += 61
    scene.other.wake(guest)
    outcome = scene.other.handle(scene.other.message("yes", channel=HERE))
    assert [reply.text for reply in outcome.replies] == ["It is gone. Another one?"]
    scene.attend()
    assert scene.line.said == []


def test_attending_does_what_is_due_and_tells_the_next_instant(scene: Scene) -> None:
    """A process with a connection needs no worker for its members."""
    scene.begin()
    began = scene.clock.at
    assert scene.attend().due_at == began + 60
    scene.clock.at += 61
    found = scene.attend()
    assert scene.line.said == ["It is gone. Another one?"]
    assert found.due_at is None or found.due_at > scene.clock.at


def test_the_open_question_is_told_while_the_session_goes_on(scene: Scene) -> None:
    """The question is told if it is asked for, in the member's words, and not once the session is over."""
    scene.begin()
    assert [reply.text for reply in scene.attend(asks=True).question] == ["Hold it?"]
    assert scene.attend().question == ()
    scene.clock.at += SESSION + 100
    assert scene.attend(asks=True).question == ()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stranger_whose_session_is_over_is_asked_nothing(kind: Kind) -> None:
    """The end of a stranger's session is no due work, and their question is not told any more."""
    clock = Clock()
    flow: Flow[Any] = Flow(
        "hello",
        initial="ask",
        session=SESSION,
        states=[State("ask", ask=Text("Shall we?")), State("end", say=Text("So."), final=True)],
        transitions=[Transition("yes", "ask", "end")],
    )
    with Shell(kind, Bot(flow), MemoryStore(clock, secret=SECRET), deliver=Line()) as shell:
        shell.manager._base.clock.follow(clock)
        shell.handle(shell.message("hi", channel=HERE))
        asked = [bool(shell.do("attend", HERE, asks=True).question)]
        clock.at += SESSION + 1
        assert [*asked, bool(shell.do("attend", HERE, asks=True).question)] == [True, False]


def test_a_member_who_speaks_elsewhere_is_not_attended_here(scene: Scene) -> None:
    """Nothing of a member is told or done at a channel that is not the one of their latest message."""
    sms = Channel("sms", "263771000001")
    begins = first_document("m-1", HERE, instant(scene.clock.at), HERE.address, version=0)
    scene.holder.do("save", attrs.evolve(begins, guest=False))
    for channel in (HERE, sms):
        scene.holder.do("link", "m-1", channel)
    scene.holder.handle(scene.holder.message("hi", channel=HERE))
    here, scene.line.is_there = scene.attend(asks=True), False
    scene.holder.handle(scene.holder.message("menu", channel=sms))
    there = scene.attend(asks=True)
    assert (here.member_id, there.member_id, there.due_at, there.question) == ("m-1", "", None, ())


def test_a_channel_that_the_bot_does_not_know_is_refused(scene: Scene) -> None:
    """The type of the channel is one of the bot's."""
    with pytest.raises(InvalidMessage):
        scene.holder.do("attend", Channel("pigeon", "1"))


def test_words_of_another_system_are_said_at_once_where_the_connection_is(scene: Scene) -> None:
    """`tell` delivers in the process with the connection; another one leaves the words in the store."""
    guest = scene.begin()
    scene.holder.do("tell", guest, Text("It rains."), key="k-1")
    assert scene.line.said == ["It rains."]
    scene.other.do("tell", guest, Text("It pours."), key="k-2")
    assert (scene.line.said, scene.away.said) == (["It rains."], [])
    scene.attend()
    assert scene.line.said == ["It rains.", "It pours."]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_type_with_a_sender_needs_no_connection(kind: Kind) -> None:
    """What goes by a sender is not asked of the function for proactive replies."""
    sent: list[str] = []

    def send(channel: Channel, replies: Sequence[Any]) -> Answer:
        sent.extend(reply.text for reply in replies)
        return Sent()

    scene = Scene(kind, senders={"web": send})
    guest, scene.line.is_there = scene.begin(), False
    scene.clock.at += 61
    scene.holder.wake(guest)
    assert sent == ["Hold it?", "It is gone. Another one?"]
    scene.holder.close()
    scene.other.close()


def test_words_for_this_very_address_are_delivered_though_the_member_speaks_elsewhere(scene: Scene) -> None:
    """What another system says to an address is delivered there, by the process with the connection."""
    sms = Channel("sms", "263771000001")
    begins = first_document("m-1", sms, instant(scene.clock.at), sms.address, version=0)
    scene.holder.do("save", attrs.evolve(begins, guest=False))
    for channel in (HERE, sms):
        scene.holder.do("link", "m-1", channel)
    scene.holder.handle(scene.holder.message("hi", channel=HERE))
    scene.holder.handle(scene.holder.message("menu", channel=sms))
    scene.other.do("tell", HERE, Text("It rains."), key="k-1")
    assert scene.line.said == []
    scene.attend()
    assert scene.line.said == ["It rains."]
