"""The bounds of a document: which part may grow to which size in which turn, and what happens beyond it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from vimbiso_fsm import Bot, Call, Caller, Flow, Message, State, Text, Transition, Turn, call
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.outbox import OUTBOX_BYTES
from vimbiso_fsm.engine.room import GATHERED_ROOM, MEMBER_ROOM, SMALL, TURN_ROOM
from vimbiso_fsm.store.retention import MAX_DOCUMENT
from vimbiso_fsm.testing.chat import Talk

TOO_MUCH = "That is too much for us to keep; please send less, or say menu to leave it."


class Desk:
    """A service that answers with a text of a size."""

    def __init__(self) -> None:
        self.size = 0
        self.keys: list[str] = []

    def stamp(self, *, caller: Caller = Caller()) -> str:  # noqa: B008
        """Stamp."""
        self.keys.append(caller.key)
        return "s" * self.size


@attrs.frozen
class Form:
    """What is gathered, in all and by the latest answer."""

    text: str = ""
    more: str = ""
    stamp: str = ""


def stamps(turn: Turn[Form]) -> Call[str]:
    """Propose to stamp."""
    return call(Desk.stamp)


def into_profile(turn: Turn[Form]) -> Any:
    """Move the stamp into the profile."""
    return turn.changes(
        data=attrs.evolve(turn.data, stamp=""), member=attrs.evolve(turn.member, profile={"s": turn.data.stamp})
    )


def longer(turn: Turn[Form]) -> Form:
    """Append the answer."""
    return attrs.evolve(turn.data, text=turn.data.text + turn.data.more, more="")


def form_bot(desk: Desk) -> Bot:
    """A flow that appends what is typed, and stamps into its data or into the profile."""
    form: Flow[Form] = Flow(
        "form", data=Form, initial="more",
        states=[
            State("more", ask=Text("More?"), reads=lambda text: text, into="more"),
            State("stamping", call=stamps, into="stamp"),
            State("signing", call=stamps, into="stamp"),
        ],
        transitions=[
            Transition("answer", "more", "more", prepare=longer),
            Transition("stamp", "more", "stamping"), Transition(["done", "failed"], "stamping", "more"),
            Transition("sign", "more", "signing"), Transition("done", "signing", "more", prepare=into_profile),
            Transition("failed", "signing", "more"),
        ],
    )  # fmt: skip
    return Bot([form], services={"desk": desk})


def filled(size: int, desk: Desk | None = None, **member: Any) -> Talk:
    """A member whose flow has gathered a text of that many bytes."""
    talk = Talk(form_bot(desk or Desk())).says("hi")
    run = talk.state.run
    assert run is not None
    run = attrs.evolve(run, fields={"text": "x" * size, "more": "", "stamp": ""}, typed=None)
    talk.document = attrs.evolve(talk.state, run=run, **member)
    return talk


def test_typed_answers_may_fill_their_room_and_no_more():
    """A typed answer is taken while there is room; beyond it, it is refused, and the question is asked again."""
    talk = filled(GATHERED_ROOM - 1000).say("y" * 500)
    assert talk.words == ["More?"]
    talk.say("y" * 1000)
    assert talk.words == [TOO_MUCH, "More?"]
    assert talk.last.status == "refused"
    assert talk.entry.codes == ("message.too_much",)
    assert talk.entry.detail["limit"] == GATHERED_ROOM
    assert talk.say("y" * 100).words == ["More?"]


def test_several_answers_that_are_too_much_lead_to_the_menu():
    """An answer that is too much counts as refused: after three there is help, after six the menu is offered."""
    talk = filled(GATHERED_ROOM)
    said = [talk.say("y" * 4000).words for _ in range(6)]
    assert len(said[2]) == 3
    assert "Say menu" in said[5][1]


def test_the_answer_of_an_effect_has_room_of_its_own():
    """The answer of an effect is taken into the room that answers of the member may not fill."""
    desk = Desk()
    desk.size = 4000
    talk = filled(GATHERED_ROOM, desk).say("stamp")
    assert talk.words == ["More?"]
    assert len(talk.fields["stamp"]) == 4000
    desk.size = 40_000
    talk.say("stamp")
    assert talk.words[-1].startswith("That was done")
    assert len(desk.keys) == 2
    assert talk.say("menu").words == ["That was done.", "More?"]


def test_the_profile_may_not_fill_the_document():
    """A profile beyond its room is not taken even from an effect, because it stays when all flows are left."""
    desk = Desk()
    desk.size = MEMBER_ROOM + 1
    talk = filled(0, desk).say("sign")
    assert talk.words[-1].startswith("That was done")
    assert talk.state.profile == {}
    desk.size = MEMBER_ROOM - 100
    assert filled(0, desk).say("sign").words == ["More?"]


@pytest.mark.parametrize("size", [MAX_DOCUMENT - 2500, MAX_DOCUMENT - 1200])
def test_a_full_document_can_be_left(size: int):
    """A document that an earlier release or an operator has filled takes no more, and can be left by menu or cancel."""
    for word in ("menu", "cancel"):
        talk = filled(size)
        assert len(encode(talk.state)) > TURN_ROOM
        assert talk.say("y" * 100).words[0] == TOO_MUCH
        talk.say(word)
        while talk.place != "form.more" or talk.fields["text"]:  # home itself is the flow: it begins anew
            talk.say(word)
        assert len(encode(talk.state)) < 2000


def test_a_small_step_is_taken_above_the_room_of_turns():
    """A confirmation is taken though the document is over the room of turns; the answer of its call is kept."""
    desk = Desk()
    talk = filled(0, desk, profile={"x": "p" * TURN_ROOM})
    assert talk.say("stamp").words == ["More?"]
    assert TURN_ROOM < len(encode(talk.state)) < TURN_ROOM + 2 * SMALL
    assert len(desk.keys) == 1


def test_where_nothing_can_be_stored_the_member_is_told_and_nothing_changes():
    """If not even the failure has room, the decision stores nothing, and says so."""
    talk = filled(0)
    emptied = attrs.evolve(talk.state, version=9, profile={"x": ""})  # the next version has one digit more
    document = attrs.evolve(emptied, profile={"x": "y" * (MAX_DOCUMENT - len(encode(emptied)))})
    decision = decide(talk.bot, document, Message(talk.channel, "m", "y" * 10), talk.now)
    assert (decision.status, decision.changed) == ("failed", False)
    assert "nothing was changed" in decision.replies[0].text


def test_the_outbox_is_bounded_in_bytes():
    """Replies that wait are dropped, the oldest first, beyond the bytes of the outbox; the latest always stays."""
    tick: Flow[Form] = Flow(
        "tick", data=Form, initial="hold",
        states=[State("hold", ask=Text("{long}", long="l" * 3000), timeout=60)],
        transitions=[Transition("timeout", "hold", "hold")],
    )  # fmt: skip
    talk = Talk(Bot([tick], session=1e6)).say("hi")
    for _ in range(6):
        talk.wait(61).wake()
    assert len(talk.waiting) == OUTBOX_BYTES // 3000
    assert talk.entry.detail["dropped_from_outbox"] == 1
