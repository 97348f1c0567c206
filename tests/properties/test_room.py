"""Whatever a flow gathers, no document is too large, the member hears what is wrong, and "menu" and "cancel" work."""

from __future__ import annotations

from typing import Any, Final

import attrs
from hypothesis import given
from hypothesis import strategies as st

from vimbiso_fsm import (
    READ_ONLY,
    Bot,
    Call,
    Caller,
    Channel,
    Flow,
    Message,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    call,
)
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.flow.session import Limits
from vimbiso_fsm.messages.replies import Row
from vimbiso_fsm.store.retention import MAX_DOCUMENT
from vimbiso_fsm.testing.chat import Talk

UNTRUE: Final = "nothing was changed"


class Archive:
    """A service that answers with as much as it is told to, and keeps what it has done by key."""

    def __init__(self) -> None:
        self.size = 0
        self.done: dict[str, int] = {}

    def read(self, size: int) -> str:
        """Read a text of a size."""
        return "r" * size

    def write(self, size: int, notes: list[str], *, caller: Caller = Caller()) -> str | Refused:  # noqa: B008
        """Write notes, and answer with a text of a size."""
        self.done[caller.key] = self.done.get(caller.key, 0) + 1
        return "w" * size


@attrs.frozen
class Gathered:
    """What the flow gathers."""

    size: int = 0
    text: str = ""
    answer: str = ""
    notes: list[str] = attrs.field(factory=list)
    deep: int = 0


def number(text: str) -> int | Refused:
    """Read a size."""
    return int(text) if text.isdecimal() else Refused("number.format")


def noted(turn: Turn[Gathered]) -> Gathered:
    """Append the typed text as often as told."""
    copies = [turn.data.text] * max(1, turn.data.size // 4096)
    return attrs.evolve(turn.data, text="", notes=[*turn.data.notes, *copies])


def answered(turn: Turn[Gathered]) -> Gathered:
    """Append the answer of the call."""
    return attrs.evolve(turn.data, answer="", notes=[*turn.data.notes, str(turn.answer)])


def ticked(turn: Turn[Gathered]) -> Gathered:
    """Append a text at each timeout."""
    return attrs.evolve(turn.data, notes=[*turn.data.notes, "t" * turn.data.size])


def profiled(turn: Turn[Gathered]) -> Any:
    """Put the notes into the profile."""
    profile = {**turn.member.stored_profile, f"p{len(turn.member.stored_profile)}": "p" * turn.data.size}
    return turn.changes(member=attrs.evolve(turn.member, profile=profile))


def account(turn: Turn[Gathered]) -> Any:
    """Put a text into the account."""
    return turn.changes(
        member=attrs.evolve(turn.member, current_account={"account_id": "a", "x": "a" * turn.data.size})
    )


def deeper(turn: Turn[Gathered]) -> Gathered:
    """Give the sub-flow all that was gathered."""
    return attrs.evolve(turn.data, deep=turn.data.deep + 1)


def rows(turn: Turn[Gathered]) -> list[Row]:
    """Rows with long titles."""
    return [Row(f"r{place}", Text("l" * min(turn.data.size, 20_000) + str(place))) for place in range(12)]


def reads(turn: Turn[Gathered]) -> Call[str]:
    """Propose to read."""
    return call(Archive.read, turn.data.size)


def writes(turn: Turn[Gathered]) -> Call[str | Refused]:
    """Propose to write all notes."""
    return call(Archive.write, turn.data.size, turn.data.notes)


ASK = Text("What now? {n}")
BUTTONS = ("note", "look", "write", "profile", "account", "list", "deep", "end")


def gather(sub: Flow[Gathered] | None = None, name: str = "gather") -> Flow[Gathered]:
    """A flow that gathers in each way there is."""
    deep = [State("deep", flow=sub, input=deeper)] if sub else [State("deep", ask=Text("Deep."))]
    on: list[Transition[Gathered]] = (
        [Transition(["done", "cancelled"], "deep", "hub")] if sub else [Transition("ok", "deep", "hub")]
    )
    return Flow(
        name, data=Gathered, initial="size",
        states=[
            State("size", ask=Text("How much?"), reads=number, into="size"),
            State("hub", ask=lambda turn: Text("What now? {n}", n=len(turn.data.notes)), timeout=30,
                  reads=number, into="size"),
            State("noting", ask=Text("Your note?"), reads=lambda text: text, into="text"),
            State("looking", call=reads, into="answer", policy=READ_ONLY),
            State("writing", call=writes, into="answer"),
            State("listed", ask=Text("Which?"), rows=rows, into="answer"),
            State("end", final=True),
            *deep,
        ],
        transitions=[
            Transition("answer", "size", "hub"), Transition("answer", "hub", "hub"),
            Transition("timeout", "hub", "hub", prepare=ticked),
            Transition("note", "hub", "noting"), Transition("answer", "noting", "hub", prepare=noted),
            Transition("look", "hub", "looking"), Transition("done", "looking", "hub", prepare=answered),
            Transition("failed", "looking", "hub"),
            Transition("write", "hub", "writing"), Transition("done", "writing", "hub", prepare=answered),
            Transition("failed", "writing", "hub"),
            Transition("profile", "hub", "hub", prepare=profiled), Transition("account", "hub", "hub", prepare=account),
            Transition("list", "hub", "listed"), Transition("answer", "listed", "hub", prepare=answered),
            Transition("deep", "hub", "deep"), *on,
            Transition("end", "hub", "end"),
        ],
    )  # fmt: skip


def archive_bot() -> tuple[Bot, Archive]:
    """Home, from which the gathering flow and its sub-flow are begun."""
    archive, inner = Archive(), gather(name="inner")
    outer = gather(inner)
    home: Flow[Any] = Flow(
        "home", initial="menu",
        states=[State("menu", ask=Text("Home.")), State("gathering", flow=outer)],
        transitions=[Transition("go", "menu", "gathering"), Transition(["done", "cancelled"], "gathering", "menu")],
    )  # fmt: skip
    services = {"archive": archive}
    return Bot([home, outer, inner], home=home, services=services, limits=Limits(autos=16)), archive


sizes = st.sampled_from(["0", "50", "900", "4000", "12000", "30000", "47000", "70000"])
steps = st.lists(
    st.one_of(
        st.sampled_from(BUTTONS),
        st.sampled_from(BUTTONS),
        sizes,
        st.sampled_from(["note!" + "n" * 4000, "note!" + "\x01" * 4000, "note!" + "💣" * 2000, "note!n"]),
        st.sampled_from(["menu", "cancel", "back", "help", "yes", "no", "go", "1"]),
        st.sampled_from([31, 301]),
        st.just("metadata"),
    ),
    min_size=5,
    max_size=60,
)


class Member:
    """A member who says anything, and what must hold after each turn."""

    def __init__(self) -> None:
        self.bot, self.archive = archive_bot()
        self.talk = Talk(self.bot).says("hi", "go", "4000")

    def do(self, step: str | int) -> None:
        """Take one step and check it."""
        talk = self.talk
        if isinstance(step, int):
            talk.wait(step).wake()
        elif step == "metadata":
            channel = Channel(talk.channel.type, talk.channel.identifier, {"x": "m" * 3000})
            talk.take(Message(channel, f"m{talk.state.version}", "?!"))
            self._check_words()
        elif step.startswith("note!"):
            talk.say("note").say(step[5:])
            self._check_words()
        else:
            talk.say(step)
            self._check_words()
        assert len(encode(talk.state)) <= MAX_DOCUMENT
        assert all(tries == 1 for tries in self.archive.done.values()), "an effect was made again"

    def _check_words(self) -> None:
        assert self.talk.words, "a message got no reply"
        assert not [words for words in self.talk.words if UNTRUE in words], (
            "the member heard of a failure without reason"
        )

    def leaves(self, word: str) -> None:
        """Check that the member gets home by that word, said at most twice."""
        self.talk.say(word)
        if self.talk.place != "home.menu":
            self.talk.say(word)
        assert self.talk.place == "home.menu"
        assert self.talk.words[-1] == "Home."
        assert self.talk.state.call is None
        self.talk.says("go", "50")
        assert self.talk.place == "gather.hub", "after the way out the member cannot go on"


@given(steps, st.sampled_from(["menu", "cancel"]))
def test_whatever_is_gathered_the_member_can_go_on(script: list[str | int], word: str):
    """After any turns of any size, no document is oversized, words are true, and the way out leads home and on."""
    member = Member()
    for step in script:
        member.do(step)
    member.leaves(word)


def test_the_property_reaches_each_bound():
    """The steps of the property meet every refusal for size, so that it does not hold for want of trying."""
    codes: set[str] = set()

    def after(*script: str | int) -> Talk:
        member = Member()
        for step in script:
            member.do(step)
        codes.update(member.talk.entry.codes)
        return member.talk

    assert after(*["note!" + "n" * 4000] * 13).words[0].startswith("That is too much")
    assert after("47000", "look", "look").words[0].startswith("There is too much")
    assert "That was done" in after("70000", "write").words[-1]
    assert after("30000", "profile", "profile").words[0].startswith("That is too much")
    assert after("47000", "account").words[0].startswith("That is too much")
    assert after("12000", "list").words[0].startswith("That is too much")
    run = after("47000", 31, 31).state.run
    assert run is not None
    assert run.due is None
    assert codes >= {"message.too_much", "call.too_much"}
