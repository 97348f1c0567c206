"""Contents of messages in a conversation: read by the state that asks for them, and refused in words elsewhere."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from vimbiso_fsm import (
    Bot,
    Encryption,
    Flow,
    FlowError,
    FlowStateManager,
    KeyRing,
    Limits,
    Message,
    NoData,
    Refused,
    State,
    Text,
    Transition,
    Turn,
)
from vimbiso_fsm.messages import readers
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Content, Form, Location, Referral
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Commit
from vimbiso_fsm.testing.chat import CHANNEL, START, Clock, Talk

HERE = Location(48.8584, 2.2945, "secret-name", "secret-street")
PLACE = readers.either(readers.location, readers.free_text(20))
FRONT = Attachment("image", "secret-file", "image/jpeg", 2_000_000)

TOO_MUCH = "That is too much for us to keep; please send less, or say menu to leave it."


@attrs.frozen
class Report:
    """The data of the flow."""

    place: Location | str | None = None
    photo: Attachment | None = None
    name: str = ""


def bot(**more: Any) -> Bot:
    """Return a bot that asks for a place, a photo and a name."""
    report = Flow(
        "report", data=Report, initial="place",
        states=[
            State("place", ask=Text("Where?"), reads=PLACE, into="place"),
            State("photo", ask=Text("A photo?"), reads=readers.photo, into="photo"),
            State("name",  ask=Text("Your name?"), reads=readers.name(), into="name"),
            State("end",   say=_thanks, final=True),
        ],
        transitions=[
            Transition("answer", "place", "photo"),
            Transition("answer", "photo", "name"),
            Transition("skip",   "photo", "name"),
            Transition("answer", "name",  "end"),
        ],
    )  # fmt: skip
    return Bot(report, texts={"report.photo.skip": "Skip"}, **more)


def _thanks(turn: Turn[Report]) -> Text:
    photo = turn.data.photo
    return Text("Thanks {name}; {words}.", name=turn.data.name, words=photo.caption if photo else "no photo")


def attempts(talk: Talk) -> int:
    """Return the number of refusals in a row that are counted."""
    run = talk.state.run
    assert run is not None
    return run.attempts


def test_a_location_and_a_photo_are_answers() -> None:
    """A state takes the content that its reader is made for, typed and stored in its field."""
    talk = Talk(bot()).say("hi")
    assert talk.send(content=HERE).words == ["A photo?"]
    photo = attrs.evolve(FRONT, caption="my gate")
    assert talk.send(content=photo).words == ["Your name?"]
    assert talk.fields["place"] == attrs.asdict(HERE)
    assert talk.say("Ada").words[0] == "Thanks Ada; my gate."


def test_a_written_answer_is_one_as_well() -> None:
    """A reader made with `either` takes a text in place of a content."""
    talk = Talk(bot()).says("hi", "12 High Street")
    assert talk.fields["place"] == "12 High Street"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HERE, "Please send a photo."),
        (Contacts((Contact("Ada"),)), "Please send a photo."),
        (Form({"a": 1}), "Please send a photo."),
        (Attachment("audio", "1"), "Please send a photo."),
        (attrs.evolve(FRONT, size=200_000_000), "That file is too large; the limit is 100 MB."),
        (attrs.evolve(FRONT, name="n" * 2000), TOO_MUCH),
    ],
    ids=map(str, range(6)),
)  # fmt: skip
def test_another_content_is_refused_and_counted(content: Content, said: str) -> None:
    """A content that the reader is not made for, or that is above the limits, is refused in words and counted once."""
    talk = Talk(bot(limits=Limits(content=1500))).says("hi", "there").send(content=content)
    assert talk.words == [said, "A photo?"]
    assert (attempts(talk), talk.last.status) == (1, "refused")


def test_a_content_where_a_text_is_read_is_refused() -> None:
    """A state that reads text refuses a content without words, and says what it reads."""
    talk = Talk(bot()).says("hi", "there").send(content=FRONT).send(content=HERE)
    assert talk.words == ["We can only read text here: please write, or tap a button.", "Your name?"]


def test_a_caption_is_a_typed_text_where_the_content_is_not_read() -> None:
    """The caption of a content that the state does not read is what was typed."""
    talk = Talk(bot()).says("hi", "there").send(content=FRONT)
    assert talk.send(content=attrs.evolve(FRONT, caption="Ada")).words[0].startswith("Thanks Ada")


def test_a_caption_of_an_answer_is_no_global_word() -> None:
    """The caption of a content that the state reads is part of the answer, as "back" under a photo of a card is."""
    talk = Talk(bot()).says("hi", "there").send(content=attrs.evolve(FRONT, caption="back"))
    assert talk.words == ["Your name?"]
    assert talk.send(content=attrs.evolve(FRONT, caption="back")).words[-1] == "A photo?"


def test_nothing_is_refused_before_the_conversation_begins() -> None:
    """The first message begins the conversation, whatever it carries."""
    firsts: tuple[dict[str, Any], ...]
    firsts = ({"content": HERE}, {"kind": "sticker"}, {"kind": "hologram"}, {"content": Form({"a": 1})})
    for first in firsts:
        talk = Talk(bot()).send(**first)
        assert (talk.words, attempts(talk)) == (["Where?"], 0)


# Bursts


def test_an_album_is_refused_once() -> None:
    """Of an album, one message is refused and counted; the others are passed over without a reply."""
    talk = Talk(bot()).says("hi", "there").send(content=FRONT)
    assert talk.send(content=FRONT, burst="a").words[-1] == "Your name?"
    for _ in range(3):
        assert (talk.send(content=FRONT, burst="a").words, talk.last.status) == ([], "ignored")
    assert attempts(talk) == 1
    talk.send(content=FRONT, burst="b")
    assert attempts(talk) == 2


def test_the_rest_of_an_album_that_was_taken_is_not_refused() -> None:
    """If one picture of an album was an answer, the others are not refused at the next question."""
    talk = Talk(bot()).says("hi", "there").send(content=FRONT, burst="a")
    assert talk.words == ["Your name?"]
    assert talk.send(content=FRONT, burst="a").words == []
    assert attempts(talk) == 0


def test_an_album_answers_each_question_that_reads_it() -> None:
    """A state that asks for pictures takes each picture of an album."""
    two = Flow(
        "two", data=Pages, initial="front",
        states=[
            State("front", ask=Text("Front?"), reads=readers.photo, into="front"),
            State("back",  ask=Text("Back?"), reads=readers.photo, into="back"),
            State("end",   say=Text("Both."), final=True),
        ],
        transitions=[Transition("answer", "front", "back"), Transition("answer", "back", "end")],
    )  # fmt: skip
    talk = Talk(Bot(two)).say("hi").send(content=FRONT, burst="a").send(content=FRONT, burst="a")
    assert talk.words[0] == "Both."


@attrs.frozen
class Pages:
    """Two pictures."""

    front: Attachment | None = None
    back: Attachment | None = None


# Privacy, identity, declarations


def test_the_audit_shows_nothing_of_a_content() -> None:
    """A content is personal data: no audit entry shows anything of it, also when it is refused."""
    talk = Talk(bot()).say("hi").send(content=HERE).send(content=FRONT).send(content=HERE)
    shown = b"".join(entry.body for entry in talk.sealed)
    assert b"secret" not in shown
    assert b"48.85" not in shown
    assert b"secret-file" in talk.last.raw


def test_the_same_id_with_another_content_is_no_repetition() -> None:
    """A message with a known id and another content is told apart from a repetition, which gets the first reply."""
    manager = FlowStateManager.in_memory(bot())
    manager.handle(Message(CHANNEL, "m1", "hi"))
    first = manager.handle(Message(CHANNEL, "m2", content=HERE))
    again = manager.handle(Message(CHANNEL, "m2", content=HERE))
    other = manager.handle(Message(CHANNEL, "m2", content=Location(0, 0)))
    assert (again.status, again.replies) == ("duplicate", first.replies)
    assert [reply.text for reply in other.replies] == ["That message was answered before."]


def test_a_field_that_cannot_hold_the_content_is_a_fault_of_the_flow() -> None:
    """A flow whose field cannot hold what its reader returns is refused when it is made."""
    with pytest.raises(FlowError, match=r"reads gives Location, but field 'front' takes .*Attachment"):
        Flow(
            "wrong", data=Pages, initial="front",
            states=[
                State("front", ask=Text("?"), reads=readers.location, into="front"),
                State("end", say=Text("."), final=True),
            ],
            transitions=[Transition("answer", "front", "end")],
        )  # fmt: skip


def test_a_pressed_button_works_at_a_question_for_a_content() -> None:
    """A question that reads a content may have buttons beside it."""
    talk = Talk(bot()).says("hi", "there").press("Skip")
    assert talk.words == ["Your name?"]


def test_a_flow_without_data_refuses_contents_in_words() -> None:
    """A flow with buttons alone refuses a content like any wrong answer."""
    door: Flow[NoData] = Flow(
        "door", initial="shut",
        states=[State("shut", ask=Text("Open?")), State("open", say=Text("Open."), final=True)],
        transitions=[Transition("yes", "shut", "open")],
    )  # fmt: skip
    talk = Talk(Bot(door)).say("hi").send(content=HERE)
    assert talk.words[-1] == "Open?"
    assert attempts(talk) == 1


def test_a_content_is_encrypted_with_the_document() -> None:
    """Where documents are encrypted, nothing of a content is stored plain, and the conversation goes on with it."""
    pytest.importorskip("cryptography", reason="needs the package cryptography")
    stored: list[bytes] = []

    class Watched(MemoryStore):
        def perform(self, request: Any) -> Any:
            if isinstance(request, Commit):
                body = request.entry.body if request.entry is not None else None
                stored.extend(filter(None, (request.document, request.record, body)))
            return super().perform(request)

    ring = KeyRing({"one": bytes(range(32))})
    store = Watched(START.timestamp)
    manager = FlowStateManager(bot(), store, encryption=Encryption(ring, "whole"), cache=0)
    for number, content in enumerate([None, HERE, attrs.evolve(FRONT, caption="my gate")]):
        manager.handle(Message(CHANNEL, f"m{number}", None if content else "hi", content=content))
    assert len(stored) >= 6
    assert not [secret for secret in (b"secret", b"48.85", b"my gate") if any(secret in each for each in stored)]
    outcome = manager.handle(Message(CHANNEL, "m3", "Ada"))
    assert outcome.replies[0].text == "Thanks Ada; my gate."


def test_callbacks_see_how_a_message_came_about() -> None:
    """Guards and texts of a turn read the marks of its message; a turn without a message has none."""
    seen: list[tuple[str, str, bool]] = []

    def note(turn: Turn[NoData]) -> Text:
        said = turn.message
        seen.append(
            ("", "", False)
            if said is None
            else (said.payload, said.referral.id if said.referral else "", said.forwarded)
        )
        return Text("Well?")

    def own_words(turn: Turn[NoData]) -> bool | Refused:
        return Refused("forwarded") if turn.message is not None and turn.message.forwarded else True

    flow: Flow[NoData] = Flow(
        "links", initial="ask",
        states=[State("ask", ask=note, reads=str, timeout=60), State("late", ask=note), State("end", final=True)],
        transitions=[
            Transition("answer", "ask", "end", conditions=own_words),
            Transition("timeout", "ask", "late"),
            Transition("yes", "late", "end"),
        ],
    )  # fmt: skip
    clock = Clock()
    manager = FlowStateManager.in_memory(Bot(flow), clock=clock)
    ad = Referral("ad", "120")
    member_id = manager.handle(Message(CHANNEL, "1", "start", payload="ref_42", referral=ad)).state.member_id
    refused = manager.handle(Message(CHANNEL, "2", "mine", forwarded=True))
    clock.at += 61
    manager.wake(member_id)
    assert refused.status == "refused"
    assert (seen[0], seen[-1]) == (("ref_42", "120", False), ("", "", False))
