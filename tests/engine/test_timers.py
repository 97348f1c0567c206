"""Timeouts of states: they outlive the session, a suspension, a restart and a promotion, and fire once."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import attrs
import pytest

from tests.bots import Bank, member_document, sign_in, stock
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.document import Document, Moved, Suspended, needs_asking
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.salvage import resumed
from vimbiso_fsm.engine.schedule import due, wake_at
from vimbiso_fsm.errors import FlowError, WrongCallback
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, call
from vimbiso_fsm.flow.commands import Shortcut
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.promote import merge
from vimbiso_fsm.store.requests import Load, Stored
from vimbiso_fsm.store.retention import DAY, DOCUMENT_LIFE
from vimbiso_fsm.testing.chat import START, Chat, Talk

HOUR = 3600.0
ENDED = "Your session ended after a while of silence."


@attrs.frozen
class Visit:
    """The data of a visit."""

    name: str = ""
    at: datetime | None = None


def visit_flow(*, timeout: Any = HOUR, requires: Any = (), name: str = "visit", **options: Any) -> Flow[Visit]:
    """A flow with a name, a state that waits for the visit, and a question when it is time."""
    return Flow(
        name, data=Visit, initial="name", requires=requires,
        states=[
            State("name",   ask=Text("Your name?"), reads=str, into="name"),
            State("booked", ask=Text("Booked."), timeout=timeout),
            State("coming", ask=Text("Are you coming?")),
            State("comes",  say=Text("See you."), final=True),
            State("away",   say=Text("A pity."), final=True, cancels=True),
        ],
        transitions=[
            Transition("answer",  "name",   "booked"),
            Transition("drop",    "booked", "away"),
            Transition("timeout", "booked", "coming"),
            Transition("yes",     "coming", "comes"),
            Transition("no",      "coming", "away"),
        ],
        **options,
    )  # fmt: skip


home: Flow[NoData] = Flow(
    "home", initial="menu",
    states=[State("menu", ask=Text("What now?"))],
    transitions=[Transition("again", "menu", "menu")],
)  # fmt: skip


def words_of(prefix: str) -> Any:
    """Make the reader of a shortcut: the prefix, then the answers."""

    def read(text: str) -> list[str] | None:
        first, *rest = text.split()
        return rest if first == prefix else None

    return read


def seat_flow(timeout: Any = 60, name: str = "seat") -> Flow[NoData]:
    """A flow that holds a seat, and says when the time is over."""
    return Flow(
        name, initial="hold",
        states=[
            State("hold",   ask=Text(f"Take the {name}?"), timeout=timeout),
            State("taken",  say=Text("Yours."), final=True),
            State("missed", say=Text(f"The {name} is gone."), final=True, cancels=True),
        ],
        transitions=[Transition("yes", "hold", "taken"), Transition("timeout", "hold", "missed")],
    )  # fmt: skip


def talking(*flows: Flow[Any], document: Document | None = None, **options: Any) -> Talk:
    """Begin at home, in a bot whose flows are begun by their names."""
    shortcuts = [Shortcut(flow, words_of(flow.name)) for flow in flows]
    return Talk(Bot([home, *flows], home=home, shortcuts=shortcuts, windows={}, **options), document).say("hi")


def sleeping(talk: Talk) -> bool:
    """Return whether no session is open."""
    return talk.state.session_since is None and not talk.state.authenticated and talk.state.jwt_token is None


# After the end of the session -----------------------------------------------------------------------------------------


def test_a_timer_fires_after_the_end_of_the_session():
    """A timeout of an hour fires after an hour of silence, once, although the session ends after 300 s."""
    talk = talking(seat_flow(HOUR)).say("seat").wait(301).wake(delivers=True)
    assert talk.delivered == [ENDED, "This stays open: seat."]
    assert sleeping(talk)
    assert wake_at(talk.state) == START + timedelta(seconds=HOUR)
    talk.wait(HOUR - 302).wake(delivers=True)
    assert len(talk.delivered) == 2
    talk.wait(1).wake(delivers=True)
    assert talk.delivered[2:] == ["The seat is gone."]
    assert (talk.place, talk.state.suspended, due(talk.state)) == ("", (), [])
    talk.wait(HOUR).wake(delivers=True).say("hi")
    assert talk.words == ["What now?"]


def test_answers_are_named_as_unsent_although_the_flow_stays_open():
    """At the end of the session, a run with answers and a timer is named as unsent and as open."""
    talk = talking(visit_flow(timeout=2 * DAY)).say("visit ada").wait(301).wake(delivers=True)
    assert talk.delivered == [ENDED, "What you had not confirmed (visit) was not sent.", "This stays open: visit."]


def test_the_member_returns_before_the_timer():
    """A run with a timer is offered back after the session, and keeps its instant."""
    talk = talking(seat_flow(HOUR)).say("seat").wait(600).wake().say("yes")
    assert talk.words == [ENDED, "This stays open: seat.", "You have not finished: seat. Carry on with it?"]
    talk.say("yes")
    assert talk.words == ["Take the seat?"]
    assert wake_at(talk.state) == talk.state.deadline
    talk.wait(200).say("help").wait(250).say("help").wait(250).say("help").wait(250).say("help")
    assert talk.state.run is not None
    assert talk.state.run.due == START + timedelta(seconds=HOUR)
    talk.say("yes")
    assert talk.words[0] == "Yours."
    talk.wait(HOUR).wake(delivers=True)
    assert "The seat is gone." not in talk.delivered


def test_a_run_that_the_member_leaves_has_no_timer():
    """A member who declines the offer leaves the run, and its timer never fires."""
    talk = talking(seat_flow(HOUR)).say("seat").wait(600).wake().says("hi", "no").wait(HOUR).wake(delivers=True)
    assert "The seat is gone." not in talk.delivered


def test_without_a_worker_the_next_message_meets_the_timeout_first():
    """A message after the session and the timer is told of both, answers nothing, and leads home."""
    talk = talking(seat_flow(HOUR)).say("seat").wait(2 * HOUR).say("yes")
    assert talk.words == [ENDED, "This stays open: seat.", "The seat is gone.", "What now?"]
    assert talk.place == "home.menu"


def test_the_question_of_a_timer_waits_for_the_member():
    """The question that a timer leads to stays open without a session, and the answer of a later day is taken."""
    talk = talking(visit_flow(timeout=2 * DAY)).say("visit ada").wait(301).wake(delivers=True)
    talk.wait(2 * DAY).wake(delivers=True)
    assert talk.delivered[-1:] == ["Are you coming?"]
    assert (talk.place, due(talk.state)) == ("visit.coming", [])
    talk.wait(3 * DAY).wake(delivers=True).say("yes")
    assert talk.words == ["See you.", "What now?"]
    assert talk.state.session_since == talk.now


def test_an_undelivered_question_is_not_answered():
    """Without a worker, the message after the timer is shown the question, and does not answer it."""
    talk = talking(visit_flow(timeout=2 * DAY)).say("visit ada").wait(3 * DAY).say("yes")
    assert talk.words[-1:] == ["Are you coming?"]
    assert talk.place == "visit.coming"
    talk.say("yes")
    assert talk.words == ["See you.", "What now?"]


def test_a_timer_of_home_is_kept_without_an_offer():
    """A run of home with a timer is resumed with the next message, in place of home from its beginning."""
    flow = seat_flow(HOUR)
    talk = Talk(Bot(flow)).say("hi").wait(600).wake(delivers=True)
    assert talk.delivered == [ENDED]
    talk.say("yes")
    assert talk.words == ["Take the seat?"]
    assert talk.state.run is not None
    assert talk.state.run.due == START + timedelta(seconds=HOUR)


def test_home_is_not_opened_while_the_member_is_away():
    """A sub-flow of home that times out ends with its words; home begins with the next message."""
    flow = seat_flow(HOUR)
    main: Flow[NoData] = Flow(
        "main", initial="menu",
        states=[State("menu", ask=Text("Main?")), State("seat", flow=flow)],
        transitions=[Transition("seat", "menu", "seat"), Transition(["done", "cancelled"], "seat", "menu")],
    )  # fmt: skip
    talk = Talk(Bot([main])).says("hi", "seat").wait(301).wake(delivers=True).wait(HOUR).wake(delivers=True)
    assert talk.delivered == [ENDED, "This stays open: seat.", "The seat is gone."]
    assert (talk.place, talk.state.suspended) == ("", ())
    assert talk.say("hi").words == ["Main?"]


def test_the_caller_of_a_sub_flow_goes_on():
    """A flow whose sub-flow times out goes on by `cancelled`, without a session."""
    outer = Flow(
        "outer", data=Visit, initial="name",
        states=[
            State("name", ask=Text("Your name?"), reads=str, into="name"),
            State("seat", flow=seat_flow(HOUR)),
            State("next", ask=Text("Another one?")),
            State("end",  final=True),
        ],
        transitions=[
            Transition("answer",    "name", "seat"),
            Transition("cancelled", "seat", "next"),
            Transition("done",      "seat", "end"),
            Transition("yes",       "next", "seat"),
        ],
    )  # fmt: skip
    talk = talking(outer).say("outer ada").wait(301).wake(delivers=True).wait(HOUR).wake(delivers=True)
    assert talk.delivered[-2:] == ["The seat is gone.", "Another one?"]
    assert talk.place == "outer.next"
    assert talk.say("yes").words == ["Take the seat?"]


# Logins ---------------------------------------------------------------------------------------------------------------


def with_entry(**options: Any) -> Talk:
    """Begin a visit that requires a login, as a member who is logged in."""
    flow = visit_flow(requires=authenticated, timeout=2 * DAY)
    shortcuts = [Shortcut(flow, words_of("visit"))]
    bot = Bot([home, flow], home=home, entry=sign_in, shortcuts=shortcuts, windows={}, **options)
    return Talk(bot, member_document()).says("hi", "visit ada").wait(301).wake(delivers=True)


def test_the_question_of_a_timer_comes_after_the_login_it_requires():
    """Without a login, the entry flow comes before the question of the timer; the question follows the login."""
    talk = with_entry()
    assert sleeping(talk)
    talk.wait(2 * DAY).wake(delivers=True)
    assert talk.delivered[-1:] == ["sign_in.asking"]
    assert "Are you coming?" not in talk.delivered
    talk.wait(DAY).say("sesame")
    assert talk.words == ["sign_in.known", "Are you coming?"]
    assert talk.say("yes").words == ["See you.", "What now?"]


def log_in(turn: Turn[NoData]) -> Call[Any]:
    """Ask for a login without a question."""
    return call(Bank.stock)


def logged_in(turn: Turn[NoData]) -> Changes[NoData]:
    """Take the login."""
    return turn.changes(member=attrs.evolve(turn.member, authenticated=True, jwt_token="token-2"))


entering = Flow(
    "entering", initial="asking",
    states=[
        State("asking", call=log_in, policy=READ_ONLY),
        State("known",  final=True),
        State("failed", final=True, cancels=True),
    ],
    transitions=[
        Transition("done",   "asking", "known", prepare=logged_in),
        Transition("failed", "asking", "failed"),
    ],
)  # fmt: skip


@pytest.mark.parametrize("woken", [True, False])
def test_a_login_that_a_timer_leads_to_lapses(woken: bool):
    """A login without a question lapses after the idle time, without a word, and the question stays open."""
    flow = visit_flow(requires=authenticated, timeout=2 * DAY)
    bot = Bot(
        [home, flow],
        home=home, entry=entering, services={"bank": Bank()}, shortcuts=[Shortcut(flow, words_of("visit"))],
    )  # fmt: skip
    talk = Talk(bot, member_document()).says("hi", "visit ada").wait(301).wake(delivers=True)
    assert sleeping(talk)
    talk.wait(2 * DAY)
    timer = next(event for at, event in due(talk.state) if at <= talk.now)
    talk.take(timer, "deliver")
    assert talk.words == ["Are you coming?"]
    assert (talk.state.authenticated, talk.state.session_since) == (True, None)
    assert talk.state.deadline == talk.now + timedelta(seconds=300)
    said = len(talk.waiting)
    talk.wait(301)
    if woken:
        talk.wake()
        assert sleeping(talk)
        assert len(talk.waiting) == said
    talk.document = attrs.evolve(talk.state, outbox=())
    talk.say("yes")
    assert talk.words == ["See you.", "What now?"]
    assert not talk.state.authenticated


def test_a_timer_makes_the_call_of_its_flow():
    """A timeout that leads to a call makes it without a session, and its answer does not open one."""
    flow = Flow(
        "held", initial="hold",
        states=[
            State("hold",     ask=Text("Take it?"), timeout=HOUR),
            State("freeing",  call=stock),
            State("freed",    say=Text("It is free again."), final=True),
            State("not_free", say=Text("Still held."), final=True),
        ],
        transitions=[
            Transition("timeout", "hold",    "freeing"),
            Transition("done",    "freeing", "freed"),
            Transition("failed",  "freeing", "not_free"),
        ],
    )  # fmt: skip
    bank = Bank()
    talk = talking(flow, services={"bank": bank}).say("held").wait(301).wake(delivers=True).wait(HOUR)
    talk.wake(delivers=True)
    assert [method for method, _ in bank.calls] == ["stock"]
    assert talk.words == ["It is free again."]
    assert (talk.place, talk.state.deadline, talk.state.session_since) == ("", None, None)


# Several runs ---------------------------------------------------------------------------------------------------------


def shops(**timeouts: float) -> Talk:
    """A bot with seats that are held for different times, each begun by its name, also from another one."""
    return talking(*(seat_flow(seconds, name) for name, seconds in timeouts.items()))


def stacked(talk: Talk, *names: str) -> Talk:
    """Suspend a run of each flow on one another, as a promotion leaves them, without a session."""
    runs = [Talk(talk.bot).says("hi", name).state.run for name in names]
    suspended = tuple(attrs.evolve(run, waits=Suspended.INTERRUPTED) for run in runs if run)
    talk.document = attrs.evolve(talk.state, run=None, suspended=suspended, deadline=None, session_since=None)
    return talk


def test_suspended_runs_time_out_one_by_one():
    """Without a session, each suspended run times out at its own instant, whatever is suspended above it."""
    talk = stacked(shops(chair=3 * HOUR, table=HOUR, lamp=2 * HOUR), "chair", "table", "lamp")
    told: list[list[str]] = []
    for _ in range(3):
        talk.delivered = []
        talk.wait(HOUR).wake(delivers=True)
        told.append(talk.delivered)
    assert told == [["The table is gone."], ["The lamp is gone."], ["The chair is gone."]]
    assert (talk.place, talk.state.suspended) == ("", ())
    assert talk.say("hi").words == ["What now?"]


def test_overdue_runs_are_told_in_the_order_of_their_instants():
    """A message after several timers is told of each in order, and the rest is offered back."""
    talk = stacked(shops(chair=3 * HOUR, table=HOUR, lamp=2 * HOUR), "chair", "table", "lamp").wait(2.5 * HOUR)
    talk.say("hi")
    assert talk.words == [
        "The table is gone.",
        "The lamp is gone.",
        "You have not finished: chair. Carry on with it?",
    ]


def test_an_open_question_stays_open_when_another_run_times_out():
    """A run that ends without a session leaves the question that another timer has asked open."""
    visit, seat = visit_flow(timeout=2 * HOUR), seat_flow(3 * HOUR)
    talk = talking(visit, seat).say("seat")
    held = talk.state.run
    assert held is not None
    talk.says("cancel", "visit ada").wait(301).wake(delivers=True)
    suspended = (attrs.evolve(held, waits=Suspended.INTERRUPTED), *talk.state.suspended)
    talk.document = attrs.evolve(talk.state, suspended=suspended)
    talk.wait(2 * HOUR).wake(delivers=True)
    assert talk.delivered[-1:] == ["Are you coming?"]
    talk.wait(HOUR).wake(delivers=True)
    assert talk.delivered[-1:] == ["The seat is gone."]
    assert talk.place == "visit.coming"
    assert talk.say("yes").words == ["See you.", "What now?"]


def test_a_timer_does_not_interrupt_another_flow():
    """A timer of a suspended run waits while the member is in another flow, and fires after the session."""
    outer, visit = seat_flow(200, "home"), visit_flow()
    talk = Talk(Bot([outer, visit], home=outer, shortcuts=[Shortcut(visit, words_of("visit"))])).says("hi", "visit")
    assert talk.words == ["Your name?"]
    talk.wait(250).wake(delivers=True).say("help")
    assert talk.delivered == []
    assert talk.place == "visit.name"
    talk.wait(299).wake(delivers=True)
    assert talk.delivered == []
    talk.wait(2).wake(delivers=True)
    assert talk.delivered == [ENDED, "The home is gone."]


# Kept -----------------------------------------------------------------------------------------------------------------


def chatting(bot: Bot, *texts: str) -> Chat:
    """Begin a chat of a member, with a worker that delivers."""
    chat = Chat(bot)
    chat.delivers = True
    chat.plant(member_document(version=1))
    chat.say(*texts)
    return chat


def test_a_document_outlives_its_timer():
    """A document with a timer of 60 days is there when it fires, although documents live 30 days."""
    flow = seat_flow(60 * DAY)
    bot = Bot([home, flow], home=home, shortcuts=[Shortcut(flow, words_of("seat"))], windows={})
    chat = chatting(bot, "hi", "seat")
    chat.wait(301).wake()
    chat.wait(60 * DAY - 400).wake()
    assert chat.taken[-1:] == ["This stays open: seat."]
    chat.wait(7 * DAY).wake()
    assert chat.taken[-1:] == ["The seat is gone."]
    chat.check()
    chat.wait(DOCUMENT_LIFE + DAY + 1)
    stored = chat.store.perform(Load(chat.member_id()))
    assert isinstance(stored, Stored)
    assert stored.document is None


def test_a_callback_that_fails_after_a_timer_is_tried_again():
    """A timer of a suspended run whose callback raises stays, and is tried again a minute later."""
    faulty = [True]

    def words(turn: Turn[Visit]) -> Text:
        if faulty[0]:
            raise ValueError("not now")
        return Text("Are you coming?")

    flow = visit_flow(timeout=HOUR)
    states = [attrs.evolve(state, ask=words) if state.name == "coming" else state for state in flow.states]
    flow = Flow("visit", data=Visit, initial="name", states=states, transitions=flow.transitions)
    bot = Bot([home, flow], home=home, shortcuts=[Shortcut(flow, words_of("visit"))])
    chat = chatting(bot, "hi", "visit ada")
    chat.wait(301).wake()
    chat.wait(HOUR).wake()
    assert unseal(chat.entries()[-1]).kind == "error"
    chat.wait(30).wake()
    faulty[0] = False
    assert chat.wakes_at() is not None
    chat.wait(31).wake()
    assert chat.taken[-1:] == ["Are you coming?"]
    chat.check()


def test_a_timeout_that_no_transition_takes_is_over():
    """A timer of a suspended run that each transition declines is cleared, and the run stays where it was."""

    def never(turn: Turn[Visit]) -> bool:
        return False

    flow = visit_flow(timeout=HOUR)
    ways = [attrs.evolve(way, conditions=never) if way.trigger == "timeout" else way for way in flow.transitions]
    ways.append(Transition("on", "booked", "coming"))
    flow = Flow("visit", data=Visit, initial="name", states=flow.states, transitions=ways)
    talk = talking(flow).say("visit ada").wait(301).wake(delivers=True).wait(HOUR).wake(delivers=True)
    assert [(run.flow, run.due) for run in talk.state.suspended] == [("home", None), ("visit", None)]
    assert due(talk.state) == []
    assert talk.say("hi").words == ["You have not finished: visit. Carry on with it?"]


# Instants and functions -----------------------------------------------------------------------------------------------

HARARE = ZoneInfo("Africa/Harare")


def two_hours_before(turn: Turn[Visit]) -> datetime:
    """Two hours before the visit, at ten in the member's time zone."""
    return turn.instant(turn.today + timedelta(days=1), time(10)) - timedelta(hours=2)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (90, 90.0),
        (timedelta(minutes=2), 120.0),
        (START + timedelta(hours=3), 3 * HOUR),
        (lambda turn: 90, 90.0),
        (lambda turn: timedelta(minutes=2), 120.0),
        (lambda turn: turn.now + timedelta(hours=3), 3 * HOUR),
    ],
    ids=["seconds", "timedelta", "instant", "f-seconds", "f-timedelta", "f-instant"],
)
def test_a_timeout_in_each_form(timeout: Any, seconds: float):
    """Seconds, a timedelta, an instant, and a function that returns one of them set the same kind of timer."""
    talk = Talk(Bot(seat_flow(timeout))).say("hi")
    assert talk.state.run is not None
    assert talk.state.run.due == START + timedelta(seconds=seconds)

    talk.wait(seconds - 1).wake(delivers=True)
    assert "The seat is gone." not in talk.delivered
    talk.wait(1).wake(delivers=True)
    assert "The seat is gone." in talk.delivered


def test_a_refused_answer_does_not_ask_the_function_again():
    """A function is asked when the state is entered, and its instant does not move with a refused answer."""
    talk = Talk(Bot(seat_flow(lambda turn: 100))).say("hi").wait(50).say("what?")
    assert talk.state.run is not None
    assert talk.state.run.due == START + timedelta(seconds=100)


@pytest.mark.parametrize(
    "timeout",
    [START - timedelta(days=1), START, lambda turn: turn.now - timedelta(hours=2), lambda turn: -5, lambda turn: 0],
    ids=["past", "now", "f-past", "f-negative", "f-zero"],
)
def test_an_instant_that_has_passed_fires_at_once(timeout: Any):
    """A state that is entered after its instant asks nothing and times out in the same turn, once."""
    talk = talking(seat_flow(timeout)).say("seat")
    assert talk.words == ["The seat is gone.", "What now?"]
    assert [step.trigger for step in talk.entry.steps].count("timeout") == 1
    talk.wait(HOUR).wake(delivers=True)
    assert "The seat is gone." not in talk.delivered


def test_a_state_that_times_out_into_itself_at_once_is_an_error():
    """A flow that would time out again and again in one turn fails, and the member keeps their place."""
    flow: Flow[NoData] = Flow(
        "one", initial="go",
        states=[State("go", ask=Text("Go?")), State("ask", ask=Text("Well?"), timeout=lambda turn: 0)],
        transitions=[
            Transition("yes",     "go",  "ask"),
            Transition("timeout", "ask", "ask"),
            Transition("no",      "ask", "go"),
        ],
    )  # fmt: skip
    talk = Talk(Bot(flow)).says("hi", "yes")
    assert talk.last.status == "failed"
    assert "states without a question in one turn" in str(talk.last.error)
    assert talk.place == "one.go"


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (None, "NoneType"),
        ("60", "str"),
        (True, "bool"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (1e12, "more than ten years ahead"),
        (timedelta(days=4000), "more than ten years ahead"),
        (datetime(2026, 11, 23, 8), "without a time zone"),  # noqa: DTZ001  # that is the fault
        (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "more than ten years ahead"),
        (date(2026, 11, 23), "date"),
    ],
    ids=str,
)
def test_a_function_that_returns_no_time_is_named(returned: Any, named: str):
    """A function that returns no time fails the turn with an error that names it, what it gave, and what to give."""

    def soon(turn: Turn[Any]) -> Any:
        return returned

    talk = talking(seat_flow(soon)).say("seat")
    assert talk.last.status == "failed"
    assert isinstance(talk.last.error, WrongCallback)
    assert "timeout 'soon' returned" in str(talk.last.error)
    assert named in str(talk.last.error)
    assert "it must return seconds" in str(talk.last.error)
    assert talk.place == "home.menu"


@pytest.mark.parametrize(
    "timeout",
    [
        0, -1, float("nan"), float("inf"), -float("inf"), 1e12, 10**400,  True, False, "60", "soon", [], b"1", 1j,
        timedelta(), timedelta(seconds=-1), timedelta.max, date(2026, 11, 23),
        datetime(2026, 11, 23, 8),  # noqa: DTZ001  # that is the fault
    ],
    ids=lambda timeout: repr(timeout)[:30],
)  # fmt: skip
def test_a_timeout_that_no_clock_can_keep_is_refused(timeout: Any):
    """A declared timeout that is no time, or none within ten years, is refused when the flow is made."""
    with pytest.raises(FlowError, match=r"flow 'seat', state 'hold': timeout is .*; give seconds or a timedelta"):
        seat_flow(timeout)


def test_a_timer_begins_when_its_question_is_asked():
    """The timer of a first question that waits for a login begins after the login."""
    flow = Flow(
        "seat", initial="hold", requires=authenticated,
        states=[
            State("hold",   ask=Text("Take it?"), timeout=lambda turn: 60 if turn.member.authenticated else 1 / 0),
            State("missed", say=Text("Gone."), final=True),
        ],
        transitions=[Transition("timeout", "hold", "missed"), Transition("yes", "hold", "missed")],
    )  # fmt: skip
    bot = Bot([home, flow], home=home, entry=sign_in, shortcuts=[Shortcut(flow, words_of("seat"))])
    talk = Talk(bot).says("hi", "seat")
    assert talk.words == ["sign_in.asking"]
    talk.wait(100).wake(delivers=True).say("sesame")
    assert talk.words == ["sign_in.known", "Take it?"]
    assert talk.state.run is not None
    assert talk.state.run.due == talk.now + timedelta(seconds=60)


# Time zones -----------------------------------------------------------------------------------------------------------


def zoned(zone: Any, **options: Any) -> Turn[NoData]:
    """Return a turn of a member in a bot with a time zone."""
    talk = Talk(Bot(home, zone=zone, **options)).say("hi")
    assert talk.state.run is not None
    return Draft(talk.bot, talk.state, talk.channel, talk.now, "t", "t").turn(talk.state.run)


def test_two_hours_before_the_visit():
    """A function of the turn names an instant by the member's clock."""
    flow = visit_flow(timeout=two_hours_before)
    talk = talking(flow, zone="Africa/Harare").say("visit ada")
    assert talk.state.run is not None
    assert talk.state.run.due == datetime(2026, 11, 23, 8, tzinfo=HARARE)


def test_a_member_has_a_time_zone_of_their_own():
    """`Bot(zone_of=…)` names the zone of a member; without a name, the bot's zone counts."""
    turn = zoned("Africa/Harare", zone_of=lambda member: member.profile.get("zone"))
    assert (turn.zone, turn.local.hour, turn.today) == (HARARE, 11, date(2026, 11, 22))
    auckland = attrs.evolve(turn, member=attrs.evolve(turn.member, profile={"zone": "Pacific/Auckland"}))
    assert (auckland.local.hour, auckland.today) == (22, date(2026, 11, 22))
    assert attrs.evolve(auckland, now=START + timedelta(hours=2)).today == date(2026, 11, 23)
    assert zoned(UTC).zone is UTC


@pytest.mark.parametrize("name", ["Mars/Base", "", "../../etc/passwd", "Africa", "\0", 5, None])
def test_a_zone_that_is_none_is_refused(name: Any):
    """A bot with a time zone that the database does not know is refused, with the remedy."""
    with pytest.raises(FlowError, match=r"bot: zone is .*, which names no time zone; give a name such as"):
        Bot(home, zone=name)


def test_a_function_of_time_zones_is_a_function():
    """A bot whose `zone_of` is a time zone is refused, and pointed to `zone`."""
    with pytest.raises(FlowError, match=r"bot: zone_of is 'Africa/Harare'; give a function of the member; zone="):
        Bot(home, zone_of=cast(Any, "Africa/Harare"))


def test_a_zone_of_a_member_that_is_none_is_named():
    """A function that names no time zone is an error that does not quote it."""
    turn = zoned("UTC", zone_of=lambda member: "Mars/Base")
    with pytest.raises(WrongCallback, match=r"Bot\.zone_of returned a str that names no time zone; it must return"):
        _ = turn.today


@pytest.mark.parametrize(
    ("day", "at", "utc"),
    [
        (date(2026, 3, 7), time(10), datetime(2026, 3, 7, 15, tzinfo=UTC)),  # winter
        (date(2026, 3, 8), time(1, 59), datetime(2026, 3, 8, 6, 59, tzinfo=UTC)),
        (date(2026, 3, 8), time(2, 30), datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),  # the clock skips it
        (date(2026, 3, 8), time(3), datetime(2026, 3, 8, 7, tzinfo=UTC)),
        (date(2026, 11, 1), time(1, 30), datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),  # it comes twice: the first
        (date(2026, 11, 1), time(1, 30, fold=1), datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        (date(2026, 11, 1), time(), datetime(2026, 11, 1, 4, tzinfo=UTC)),
    ],
)
def test_an_instant_on_a_day_on_which_the_clocks_change(day: date, at: time, utc: datetime):
    """A local time has one instant, also where the clock skips it or shows it twice."""
    assert zoned("America/New_York").instant(day, at) == utc


def test_two_hours_are_two_hours_when_the_clocks_change():
    """A difference from an instant is one of elapsed time, not of the hands of the clock."""
    instant = zoned("America/New_York").instant(date(2026, 3, 8), time(4))
    assert instant - timedelta(hours=2) == datetime(2026, 3, 8, 6, tzinfo=UTC)
    assert (instant - timedelta(hours=2)).astimezone(ZoneInfo("America/New_York")).hour == 1


# Promotion and repair ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [True, False])
def test_a_promotion_keeps_each_run_with_a_timer(busy: bool):
    """A guest who becomes a member drops no run with a timer, whichever of the two runs goes on."""
    seat, table, visit = seat_flow(HOUR), seat_flow(2 * HOUR, "table"), visit_flow()
    bot = talking(seat, table, visit).bot
    guest = Talk(bot).says("hi", "table").state
    member = Talk(bot, member_document()).says("hi", "seat").state
    if busy:  # the member's own run has answers, and stays
        ordering = Talk(bot, member_document()).says("hi", "visit", "ada").state
        assert member.run is not None
        held = attrs.evolve(member.run, waits=Suspended.INTERRUPTED)
        member = attrs.evolve(ordering, suspended=(*ordering.suspended, held))
    merged = merge(bot, attrs.evolve(guest, moved=Moved("m-1", guest.version)), member, START, version=9).document
    runs = (*merged.suspended, *([merged.run] if merged.run else []))
    assert {run.flow for run in runs if run.due} == {"seat", "table", *(["visit"] if busy else [])}
    later = Talk(bot, attrs.evolve(merged, deadline=None, session_since=None, jwt_token=None, authenticated=False))
    later.wait(2 * HOUR + 1).wake(delivers=True)
    assert {"The seat is gone.", "The table is gone."} <= {*later.delivered}


def test_a_promotion_keeps_what_the_member_has_not_finished():
    """A flow of the member that is suspended with answers is offered back after the promotion of a guest."""
    visit = visit_flow()
    bot = talking(visit).bot
    guest = Talk(bot).say("hi").state
    member = Talk(bot, member_document()).says("hi", "visit", "ada", "menu").wait(400).wake().state
    assert member.run is None
    member = attrs.evolve(member, suspended=tuple(attrs.evolve(run, due=None) for run in member.suspended))
    guest = attrs.evolve(guest, moved=Moved("m-1", guest.version), last_updated=member.last_updated)
    merged = merge(bot, guest, member, START + timedelta(seconds=400), version=9).document
    talk = Talk(bot, merged)
    talk.now = START + timedelta(seconds=401)
    talk.wait(400).wake().say("hello")
    assert "You have not finished: visit. Carry on with it?" in talk.words


def test_a_repair_keeps_the_instant_that_has_not_passed():
    """A run that is put in place again keeps its timer; one that is over is set anew."""
    document = talking(seat_flow(HOUR)).say("seat").state
    assert document.run is not None
    bot = talking(seat_flow(HOUR)).bot
    kept = resumed(bot, document, 7, START + timedelta(minutes=30), "token").run
    assert kept is not None
    assert (kept.due, kept.entered) == (document.run.due, 7)
    assert kept.fence != document.run.fence
    late = START + timedelta(hours=2)
    for run in (document.run, attrs.evolve(document.run, due=None)):  # a turn record keeps no instant
        over = resumed(bot, attrs.evolve(document, run=run), 7, late, "token").run
        assert over is not None
        assert over.due == late + timedelta(hours=1)


def test_a_timer_of_a_run_that_is_put_back_fires_without_a_message():
    """The timer of a run that was put back fires though the member stays away."""
    talk = talking(seat_flow(HOUR)).say("seat")
    assert talk.state.run is not None
    lost = attrs.evolve(talk.state, run=attrs.evolve(talk.state.run, due=None), outbox=())
    again = Talk(talk.bot, resumed(talk.bot, lost, 2, START, "token"))
    again.wait(301).wake(delivers=True).wait(HOUR).wake(delivers=True)
    assert "The seat is gone." in again.delivered


def test_a_function_that_raises_does_not_hinder_a_repair():
    """A run whose timeout cannot be found out is put back without a timer."""
    document = talking(seat_flow(HOUR)).say("seat").state

    def broken(turn: Turn[Any]) -> Any:
        raise ValueError("a mistake of an author")

    assert document.run is not None
    lost = attrs.evolve(document, run=attrs.evolve(document.run, due=None))
    run = resumed(talking(seat_flow(broken)).bot, lost, 7, START, "token").run
    assert run is not None
    assert run.due is None


@pytest.mark.parametrize("word", ["well?", "help"])
def test_a_question_that_is_asked_again_does_not_prolong_its_timer(word: str):
    """A run that was put back, or whose question was replaced, keeps its instant when the question is asked."""
    document = talking(seat_flow(HOUR)).say("seat").state
    bot = talking(seat_flow(HOUR)).bot
    assert document.run is not None
    talk = Talk(bot, resumed(bot, document, document.version, START + timedelta(seconds=60), "token"))
    talk.now = START + timedelta(seconds=100)
    talk.say(word)
    assert talk.state.run is not None
    assert talk.state.run.due == document.run.due
    assert not needs_asking(talk.state.run)
