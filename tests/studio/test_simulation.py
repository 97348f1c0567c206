"""A simulation: chats side by side, the clock, faults, and the conversation as a test."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from tests.bots import fruit_bot
from tests.examples import examples
from vimbiso_fsm import Bot, Call, Caller, Flow, NoData, State, Text, Transition, Turn, call
from vimbiso_fsm.runtime.watchdog import Watchdog
from vimbiso_fsm.studio.member_view import MemberView, span, view_of
from vimbiso_fsm.studio.simulation import LINES, NO_TOKEN, PHONES, Fault, Phone, Simulation
from vimbiso_fsm.studio.simulations import FORKS, OWN, Simulations
from vimbiso_fsm.testing import Conversation

ADA = "whatsapp:263771000001"
ALAN = "telegram:263771000002"
OFFER = ("hi", "offer", "10 USD", "alan", "[Yes, offer it]")
"""A whole offer of VimbisoPay."""
MET = (Fault.LOST, Fault.DIES, Fault.UNSENT, Fault.TWICE)
"""The faults that each message meets."""


def offered(*faults: Fault, upto: int = len(OFFER)) -> tuple[Simulation, Phone]:
    """Make an offer, each of its messages with a fault."""
    simulation = Simulation(flows.bot)
    phone = simulation.open(ADA)
    for text, fault in zip(OFFER[:upto], (*faults, *[Fault.NONE] * len(OFFER))[:upto], strict=True):
        said(simulation, phone, text, fault)
    return simulation, phone


def said(simulation: Simulation, phone: Phone, text: str, fault: Fault = Fault.NONE) -> None:
    """Type a text, or press the latest button with a title in brackets."""
    if text.startswith("["):
        simulation.press(phone, [id for id, title in phone.titles.items() if title == text[1:-1]][-1], fault)
    else:
        simulation.say(phone, text, fault)
    assert simulation.problem == ""


def heard(phone: Phone) -> list[str]:
    """Return what the bot has said."""
    return [line.bubble.text for line in phone.lines if line.kind == "replied"]


def view(simulation: Simulation, phone: Phone) -> MemberView:
    """Return the state beside a chat."""
    document = simulation.document(phone)
    assert document is not None
    return view_of(simulation.bot, document, simulation.now)


def test_a_whole_offer_is_chatted() -> None:
    """The state moves with each message, its data is hidden as in the audit, and time ends the session."""
    simulation, phone = offered(upto=4)
    shown = view(simulation, phone)
    assert (shown.place, shown.known, shown.waiting) == ("offer.confirm", "member, logged in", ("dashboard.offering",))
    assert dict(shown.data) == {"amount": "10.00 USD", "handle": "•", "to": "•", "own": "–"}
    assert "alan" not in str(shown)
    assert shown.due == (("the session ends", "5 minutes"),)
    said(simulation, phone, OFFER[4])
    assert view(simulation, phone).place == "dashboard.menu"
    simulation.wait(360)
    assert heard(phone)[-1] == "Your session ended after a while of silence."
    assert view(simulation, phone).place == ""


@examples(6)
@given(st.lists(st.sampled_from([Fault.NONE, *MET]), min_size=len(OFFER), max_size=len(OFFER)))
def test_no_fault_loses_a_word_or_says_one_twice(faults: list[Fault]) -> None:
    """Whatever fault each message meets, the member reads the same words once, and one offer is made."""
    wanted, before = offered()
    simulation, phone = offered(*faults)
    assert heard(phone) == heard(before)
    assert len(core(simulation).offers) == len(core(wanted).offers)
    assert view(simulation, phone).unsent == 0


def core(simulation: Simulation) -> Any:
    """Return the simulated service of a simulation."""
    return simulation.bot.services["credex_core"]


@pytest.mark.parametrize("fault", MET)
@pytest.mark.parametrize("at", range(len(OFFER)))
def test_a_duplicate_at_any_moment_is_answered_by_nothing(fault: Fault, at: int) -> None:
    """After any fault, the same message once more says nothing again, calls nothing and moves nobody."""
    simulation, phone = offered(*[Fault.NONE] * at, fault, upto=at + 1)
    before, place, calls = heard(phone), simulation.place(phone), len(core(simulation).calls)
    simulation.again(phone)
    assert (heard(phone), simulation.place(phone), len(core(simulation).calls)) == (before, place, calls)
    assert phone.lines[-1].bubble.text == f"duplicate · {place}"


def test_a_fault_is_told_in_the_chat() -> None:
    """A person sees what has happened, and that the message was a duplicate afterwards."""
    _, phone = offered(Fault.NONE, Fault.DIES, upto=2)
    notes = [line.bubble.text for line in phone.lines if line.kind == "note"]
    assert "The worker has died after its commit." in notes
    assert "The channel delivers the message again." in notes
    assert "duplicate · offer.amount" in notes
    assert any(note.endswith("until another worker had done what was left.") for note in notes)


def test_members_and_channels_are_side_by_side() -> None:
    """An offer of one member is in the chat of another one, on another channel with its own look."""
    simulation, _ = offered()
    other = simulation.open("sms:263771000002")
    simulation.say(other, "hi")
    assert "3 in" in heard(other)[0]
    assert other.lines[1].bubble.note.startswith("2 segments")
    assert list(simulation.phones) == [ADA, "sms:263771000002"]
    simulation.close(other)
    assert list(simulation.phones) == [ADA]


@pytest.mark.parametrize("name", ["", "whatsapp", "pigeon:1", "whatsapp:", ":1"])
def test_a_chat_on_no_channel_is_refused(name: str) -> None:
    """A name that is none, or a channel that the bot does not have, is refused in words."""
    with pytest.raises(ValueError, match=r"channel|identifier"):
        Simulation(flows.bot).open(name)


def test_many_chats_are_refused() -> None:
    """No more chats are opened than a page can show, and a chat keeps its latest lines."""
    simulation = Simulation(fruit_bot())
    for number in range(PHONES):
        simulation.open(f"sms:{number}")
    with pytest.raises(ValueError, match="close one"):
        simulation.open("sms:99")
    phone = simulation.open("sms:0")
    for _ in range(LINES + 1):
        simulation.wait(1)
    assert len(phone.lines) == LINES


def test_the_button_of_an_edge_is_pressed() -> None:
    """A trigger of the current question is pressed as its button is; another one is refused."""
    simulation, phone = offered(upto=4)
    with pytest.raises(ValueError, match="'upgrade'; it has yes, no"):
        simulation.fire(phone, "upgrade")
    simulation.fire(phone, "yes")
    assert simulation.place(phone) == "dashboard.menu"
    with pytest.raises(ValueError, match="shows no such choice"):
        simulation.press(phone, "!AAAAAAAAyes")


def test_the_button_of_an_earlier_question_can_be_pressed() -> None:
    """The bot decides what an old button means, as it does for members."""
    simulation, phone = offered()
    said(simulation, phone, "[Yes, offer it]")
    assert len(core(simulation).offers) == 3
    assert "refused" in phone.lines[-1].bubble.text or "ignored" in phone.lines[-1].bubble.text


def test_time_passes_until_the_next_thing_is_due() -> None:
    """Without a span the clock goes to the next due instant; a span that is none is refused."""
    simulation, phone = offered(upto=2)
    began = simulation.now
    simulation.wait()
    assert (simulation.now - began).total_seconds() == 300
    assert simulation.place(phone) == ""
    simulation.wait()
    for seconds in (-1.0, float("nan"), float("inf"), 1e9):
        with pytest.raises(ValueError, match="at most a year"):
            simulation.wait(seconds)


def test_what_was_said_is_a_test() -> None:
    """The transcript is played from the beginning, with the faults, to services that know nothing of the simulation."""
    simulation, phone = offered(Fault.NONE, Fault.LOST, Fault.TWICE, Fault.UNSENT, Fault.DIES)
    simulation.wait(360)
    transcript = simulation.transcript()
    assert transcript.splitlines()[0] == f"@ {ADA}"
    assert "= offer.confirm" in transcript
    assert [line for line in transcript.splitlines() if line.startswith("* ")] == [
        "* the reply to the commit is lost",
        "* delivered again",
        "* the worker dies after the commit",
        "* 360 seconds pass",
    ]
    assert Conversation(flows.bot, ADA).play(transcript).transcript == transcript
    assert phone.lines


def test_nothing_was_said_that_could_be_saved() -> None:
    """An empty conversation and a fork are no tests."""
    simulation, phone = offered(upto=0)
    with pytest.raises(ValueError, match="nothing was said"):
        simulation.transcript()
    with pytest.raises(ValueError, match="nothing was said"):
        simulation.again(phone)


# Bots with faults -----------------------------------------------------------------------------------------------------


class Wire:
    """A service that cannot be copied, as one with a connection, and that notes its calls outside itself."""

    def __init__(self, calls: list[str]) -> None:
        self._connection = (each for each in calls)  # it cannot be written out
        self._calls = calls

    def send(self, what: str, *, caller: Caller = Caller()) -> str:  # noqa: B008
        """Note a call."""
        self._calls.append(what)
        return "sent"

    def __reduce__(self) -> str:
        raise TypeError("a connection cannot be copied")


def send(_: Turn[NoData]) -> Call[object]:
    """Propose the call."""
    return call(Wire.send, what="it")


def wire_bot(calls: list[str]) -> Bot:
    """A bot that sends whatever the member types."""
    home = Flow(
        "home",
        data=NoData,
        initial="asking",
        states=[State("asking", ask=Text("ask"), reads=str), State("sending", call=send)],
        transitions=[
            Transition("answer", "asking", "sending"),
            Transition("done", "sending", "asking"),
            Transition("failed", "sending", "asking"),
        ],
    )
    return Bot([home], services={"wire": Wire(calls)}, texts={"en": {"ask": "What?"}})


def broken_bot() -> Bot:
    """A bot that raises on each answer."""

    def reads(_: str) -> str:
        raise TypeError("secret words")

    home = Flow(
        "home",
        data=NoData,
        initial="asking",
        states=[State("asking", ask=Text("ask"), reads=reads)],
        transitions=[Transition("answer", "asking", "asking")],
    )
    return Bot([home], texts={"en": {"ask": "?"}})


def test_an_exception_of_the_bot_is_shown() -> None:
    """An exception of a callback is the problem of the simulation, and the chat goes on."""
    simulation = Simulation(broken_bot())
    phone = simulation.open(ADA)
    simulation.say(phone, "hi")
    simulation.say(phone, "one word")
    assert "secret words" in simulation.problem
    fork = Simulation(broken_bot(), fork=simulation.document(phone))
    again = fork.open(ADA)
    fork.say(again, "one word")
    assert fork.problem
    assert "secret words" not in fork.problem


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "abc\u202ecba", "x" * 10_000, "\x00", "", "\ud800", "é" * 9]
)
def test_hostile_words_do_no_harm(text: str) -> None:
    """Whatever a member types is kept as a line, and the chat goes on."""
    simulation = Simulation(fruit_bot())
    phone = simulation.open(ADA)
    simulation.say(phone, text)
    assert phone.lines[0].bubble.text == text
    simulation.say(phone, "hi")
    assert simulation.problem == ""


# Forks ----------------------------------------------------------------------------------------------------------------


def test_a_fork_goes_on_where_the_member_is() -> None:
    """A fork has the run and its choices, no token of the live member, and its own copies of simulated services."""
    talk = Conversation(flows.bot, ADA).say(*OFFER[:4])
    simulations = Simulations(flows.bot)
    address = simulations.fork(talk.state, at=talk.now)
    with simulations.using(address.removeprefix("/simulator/")) as fork:
        phone = fork.open(ADA)
        assert fork.fork is not None
        assert (fork.fork.member_id, fork.fork.version) == (talk.member_id, talk.state.version)
        assert fork.now == talk.now
        document = fork.document(phone)
        assert document is not None
        assert document.jwt_token == NO_TOKEN
        assert view(fork, phone).place == "offer.confirm"
        said(fork, phone, "[Yes, offer it]")
        assert heard(phone)[0].startswith("Your offer was made")
        assert len(core(fork).offers) == 3
        with pytest.raises(ValueError, match="a fork begins in the middle"):
            fork.transcript()
    assert len(flows.bot.services["credex_core"].offers) == 2  # type: ignore[attr-defined]  # it is the simulated one
    assert talk.place == "offer.confirm"


def test_a_fork_has_the_timers_of_the_member() -> None:
    """What was due at the live member is due in the fork."""
    talk = Conversation(flows.bot, ADA).say(*OFFER[:2])
    fork = Simulation(flows.bot, fork=talk.state)
    phone = fork.open(ADA)
    fork.wait()
    assert heard(phone) == ["Your session ended after a while of silence."]


def test_a_guest_is_forked_under_the_id_of_the_simulation() -> None:
    """The id of a guest depends on the secret of a store, and the fork has one of its own."""
    talk = Conversation(flows.bot, "telegram:77").say("hi")
    fork = Simulation(flows.bot, fork=talk.state)
    phone = fork.open("telegram:77")
    assert fork.place(phone) == talk.place
    fork.say(phone, "help")
    assert fork.place(phone) == talk.place


def test_a_fork_calls_no_service_that_may_be_live() -> None:
    """With a live store and no package, no service is called; nor is one in a fork that cannot be copied."""
    calls: list[str] = []
    bot = wire_bot(calls)
    document = Conversation(bot, ADA, services=bot.services).say("hi").state
    live = Simulations(bot, is_live=True)
    for name in (OWN, live.fork(document).removeprefix("/simulator/")):
        with live.using(name) as simulation:
            phone = simulation.open(ADA)
            simulation.say(phone, "hi")
            simulation.say(phone, "one word")
    assert calls == []
    alone = Simulations(bot)
    with alone.using(alone.fork(document).removeprefix("/simulator/")) as fork:
        fork.say(fork.open(ADA), "one word")
        assert calls == []
    with alone.using(OWN) as own:
        phone = own.open(ADA)
        own.say(phone, "hi")
        own.say(phone, "one word")
    assert calls == ["it"]


def test_old_forks_are_dropped() -> None:
    """The latest forks are kept, beside the simulation that begins empty."""
    document = Conversation(fruit_bot()).say("hi").state
    simulations = Simulations(fruit_bot())
    names = [simulations.fork(document).removeprefix("/simulator/") for _ in range(FORKS + 2)]
    assert list(simulations.forks) == names[2:]
    with pytest.raises(KeyError), simulations.using(names[0]):
        pass
    simulations.restart(names[-1])
    assert names[-1] not in simulations.forks


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (61, "1 minute 1 second"),
        (360, "6 minutes"),
        (3_605, "1 hour"),
        (90_061, "1 day 1 hour"),
    ],
)
def test_a_span_in_words(seconds: int, words: str) -> None:
    """The two largest units of a span are told."""
    assert span(seconds) == words


# Callbacks and services that never end ------------------------------------------------------------------------------


def endless(text: str) -> str:
    """Read a text, and never return for one of them, as a reader with a mistake in its loop."""
    while text == "loop":
        pass
    return text


class Endless:
    """A service whose method does not return the first time."""

    times = 0

    def ask(self) -> str:
        """Ask."""
        self.times += 1
        return endless("loop" if self.times == 1 else "")


def ask(turn: Turn[NoData]) -> Call[str]:
    """Propose to ask the service."""
    return call(Endless.ask)


def endless_bot() -> Bot:
    """Return a bot with a reader and a service that may never return."""
    flow = Flow(
        "endless",
        data=NoData,
        initial="start",
        states=[State("start", ask=Text("ask"), reads=endless), State("asking", ask=Text("ask"), call=ask)],
        transitions=[
            Transition("answer", "start", "start"),
            Transition("call", "start", "asking"),
            Transition(["done", "failed"], "asking", "start"),
        ],
    )
    return Bot([flow], services={"endless": Endless()}, texts={"en": {"ask": "?", "call": "Call"}})


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(("says", "named"), [("loop", "reads endless of endless.start"), ("call", "endless")])
def test_what_never_ends_is_ended(says: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback or a service that does not return is ended and named, and the simulation goes on."""
    monkeypatch.setattr("vimbiso_fsm.studio.simulation.WATCHDOG", Watchdog(warn=0.25, stop=0.5))
    simulation = Simulation(endless_bot())
    phone = simulation.open(ADA)
    simulation.say(phone, "hi")
    simulation.say(phone, says)
    assert named in simulation.problem
    assert "took longer than 0.5 s" in simulation.problem
    simulation.say(phone, "hi")
    assert simulation.problem == ""
