"""Reminders: set and cancelled by callbacks, in the member's time zone, given once, and bounded."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from vimbiso_fsm import (
    Bot,
    Flow,
    FlowStateManager,
    Message,
    NoData,
    State,
    Text,
    Transition,
    Turn,
    WrongArgument,
    cancel_reminder,
    remind,
)
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import ReminderDue
from vimbiso_fsm.engine.reminders import MOST_REMINDERS, merged_reminders
from vimbiso_fsm.engine.schedule import MOST_NEXT
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import CHANNEL, START, STORE_SECRET, Clock, Talk, words

TOMORROW = START + timedelta(days=1)


@attrs.frozen
class Note:
    """The data of the flow that a reminder opens."""

    about: str = ""


nag = Flow(
    "nag", data=Note, initial="ask",
    states=[State("ask", ask=lambda turn: Text("Still {about}?", about=turn.data.about)), State("end", final=True)],
    transitions=[Transition("yes", "ask", "end")],
)  # fmt: skip


def bot(*reminders: Any, entering: Any = (), **more: Any) -> Bot:
    """Return a bot whose button sets these reminders, and whose next state sets others when it is entered."""
    menu: Flow[NoData] = Flow(
        "menu", initial="ask",
        states=[
            State("ask",  ask=Text("Menu")),
            State("done", ask=Text("Done"), reminds=lambda turn: entering),
        ],
        transitions=[
            Transition("go",   "ask",  "done", prepare=lambda turn: turn.changes(reminders=made(turn, reminders))),
            Transition("back_", "done", "ask"),
            Transition("drop", "done", "ask", prepare=lambda turn: turn.changes(reminders=[cancel_reminder("a")])),
        ],
    )  # fmt: skip
    return Bot([menu, nag], windows={}, **more)


def made(turn: Turn[NoData], reminders: Any) -> Any:
    """Return the reminders, of which some are functions of the turn."""
    return [each(turn) if callable(each) else each for each in reminders]


def test_a_reminder_is_given_once_after_the_session():
    """A reminder outlives the session, wakes the member at its instant, and is given once."""
    talk = Talk(bot(remind(TOMORROW, "a", Text("Tomorrow is today.")))).says("hi", "go")
    assert [(each.key, each.at) for each in talk.state.reminders] == [("a", TOMORROW)]
    talk.wait(86_400 - 1).wake(delivers=True)
    assert "Tomorrow is today." not in talk.delivered
    talk.wait(1).wake(delivers=True)
    talk.wake(delivers=True)
    assert talk.delivered.count("Tomorrow is today.") == 1
    assert talk.state.reminders == ()
    assert details(talk) == [{"reminder": "a"}]


def details(talk: Talk) -> list[Any]:
    """Return what the audit says of the reminders that were given."""
    return [entry.detail for entry in map(unseal, talk.sealed) if entry.kind == "reminder"]


def test_a_reminder_opens_a_flow_with_its_data():
    """A reminder asks a question of the flow that it opens, and the member's next message answers it."""
    talk = Talk(bot(remind(TOMORROW, "a", Text("Hello."), flow=nag, data=Note("coming")))).says("hi", "go")
    talk.wait(86_400).wake(delivers=True)
    assert talk.delivered[-2:] == ["Hello.", "Still coming?"]
    assert talk.say("yes").state.run is not None


def test_a_reminder_does_not_interrupt():
    """A flow of a reminder that comes in the middle of another one begins when the member has come home."""
    soon = remind(START + timedelta(seconds=60), "a", flow=nag, data=Note("coming"))
    work = attrs.evolve(nag, name="work")
    home: Flow[NoData] = Flow(
        "home", initial="ask",
        states=[State("ask", ask=Text("Home")), State("work", flow=work, input=lambda turn: Note("working"))],
        transitions=[
            Transition("go", "ask", "work", prepare=lambda turn: turn.changes(reminders=[soon])),
            Transition(["done", "cancelled"], "work", "ask"),
        ],
    )  # fmt: skip
    talk = Talk(Bot([home, nag])).says("hi", "go").wait(60).wake(delivers=True)
    assert (talk.delivered, talk.place) == ([], "work.ask")
    assert talk.say("yes").words[-1] == "Still coming?"
    assert talk.say("yes").words == ["Home"]


def test_the_same_key_replaces_and_a_cancelled_reminder_is_not_given():
    """A reminder of the same key replaces the earlier one, whose event is fenced; a cancelled one is not given."""
    first = remind(TOMORROW, "a", Text("First."))
    talk = Talk(bot(first, remind(TOMORROW + timedelta(days=1), "a", Text("Second.")))).says("hi", "go")
    [kept] = talk.state.reminders
    assert kept.at == TOMORROW + timedelta(days=1)
    stale = ReminderDue("other", TOMORROW)
    assert not decide(talk.bot, talk.state, stale, TOMORROW + timedelta(days=3)).changed
    early = ReminderDue(kept.id, kept.at)
    assert not decide(talk.bot, talk.state, early, TOMORROW).changed
    talk.say("drop")
    assert talk.state.reminders == ()
    assert not decide(talk.bot, talk.state, early, TOMORROW + timedelta(days=3)).changed


def test_a_reminder_of_a_refused_transition_is_not_set():
    """What a `prepare` proposes is dropped with its transition."""
    menu: Flow[NoData] = Flow(
        "menu", initial="ask",
        states=[State("ask", ask=Text("Menu")), State("end", ask=Text("End"))],
        transitions=[
            Transition("go", "ask", "end", conditions=lambda turn: False,
                       prepare=lambda turn: turn.changes(reminders=[remind(TOMORROW, "a", Text("A."))])),
            Transition("go", "ask", "end"),
            Transition("go", "end", "ask"),
        ],
    )  # fmt: skip
    assert Talk(Bot(menu)).says("hi", "go").state.reminders == ()


def test_a_state_proposes_reminders_when_it_is_entered():
    """`State(reminds=…)` sets reminders with the commit that enters the state, and not when it is asked again."""
    talk = Talk(bot(entering=[remind(TOMORROW, "b", Text("B."))])).says("hi", "go")
    before = talk.state.reminders
    assert [each.key for each in before] == ["b"]
    assert talk.say("what?").state.reminders == before


@pytest.mark.parametrize(
    ("zone", "local", "fold", "instant"),
    [
        ("Europe/Berlin", "2026-03-29T02:30", 0, datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # skipped: by the clock
        ("Europe/Berlin", "2026-03-29T02:30", 1, datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # before, in each fold
        ("Europe/Berlin", "2026-10-25T02:30", 0, datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # twice: the first
        ("Europe/Berlin", "2026-10-25T02:30", 1, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),  # twice: the second
        ("Europe/Berlin", "2026-10-26T02:30", 0, datetime(2026, 10, 26, 1, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", "2026-10-04T02:15", 0, datetime(2026, 10, 3, 15, 45, tzinfo=UTC)),  # of half an hour
        ("Australia/Lord_Howe", "2026-10-04T02:15", 1, datetime(2026, 10, 3, 15, 45, tzinfo=UTC)),
        ("Australia/Lord_Howe", "2026-04-05T01:45", 0, datetime(2026, 4, 4, 14, 45, tzinfo=UTC)),
        ("Australia/Lord_Howe", "2026-04-05T01:45", 1, datetime(2026, 4, 4, 15, 15, tzinfo=UTC)),
    ],
)
def test_a_wall_clock_time_is_that_of_the_member(zone: str, local: str, fold: int, instant: datetime):
    """A time without a zone is read by the member's clock, also on the days on which the clocks change."""
    at = datetime.fromisoformat(local).replace(fold=fold)
    reminder = remind(at, "a", Text("Now."), until=at + timedelta(days=1))
    talk = Talk(bot(reminder, zone=zone))
    talk.now = datetime(2026, 3, 1, tzinfo=UTC)
    [kept] = talk.says("hi", "go").state.reminders
    assert kept.at == instant


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("offset", [None, timezone(timedelta(hours=-12))], ids=str)
def test_the_last_instant_of_a_zone_is_as_good_as_any(zone: str, offset: timezone | None):
    """A reminder that holds until the end of time is given, wherever the member is; the first instant has passed."""
    end = datetime.max.replace(tzinfo=offset)
    first = datetime.min.replace(tzinfo=offset and timezone(timedelta(hours=12)))
    reminders = remind(TOMORROW, "a", Text("Still."), until=end), remind(first, "b", Text("Late."))
    talk = Talk(bot(*reminders, zone=zone)).says("hi", "go").wait(86_400).wake(delivers=True)
    talk.wake(delivers=True)
    assert [each for each in talk.delivered if each in ("Still.", "Late.")] == ["Late.", "Still."]
    assert talk.state.reminders == ()


def test_a_reminder_that_has_lost_its_sense_is_dropped():
    """A reminder that a worker finds only after `until` is not said, and the audit tells."""
    reminder = remind(TOMORROW, "a", Text("Soon."), until=TOMORROW + timedelta(hours=1))
    talk = Talk(bot(reminder)).says("hi", "go").wait(3 * 86_400).wake(delivers=True)
    assert "Soon." not in talk.delivered
    assert talk.entry.detail == {"reminder": "a", "dropped": "too late"}
    assert talk.state.reminders == ()


def test_an_instant_that_has_passed_counts_at_once():
    """A reminder of yesterday is due now."""
    talk = Talk(bot(remind(START - timedelta(days=1), "a", Text("Late.")))).says("hi", "go").wake(delivers=True)
    assert talk.delivered == ["Late."]


def test_reminders_are_bounded():
    """A turn that would leave more reminders than a member may have fails, and changes nothing."""
    many = [remind(TOMORROW, f"k{number}", Text("A.")) for number in range(MOST_REMINDERS)]
    assert len(Talk(bot(*many)).says("hi", "go").state.reminders) == MOST_REMINDERS
    talk = Talk(bot(*many, remind(TOMORROW, "one more", Text("A.")))).says("hi", "go")
    assert (talk.last.status, talk.state.reminders) == ("failed", ())
    assert f"returned more than {MOST_REMINDERS} reminders" in str(talk.last.error)


@pytest.mark.parametrize(
    "reminder",
    [
        remind(START + timedelta(days=4000), "a", Text("A.")),
        remind(datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "a", Text("A.")),
        remind(TOMORROW, "a", Text("x" * 2000)),
        remind(TOMORROW, "a", flow=attrs.evolve(nag, name="other")),
        remind(TOMORROW, "a", flow=nag, data=NoData()),
        "tomorrow",
    ],
    ids=["far", "beyond UTC", "large", "unknown flow", "other data", "no reminder"],
)
def test_a_wrong_reminder_fails_the_turn(reminder: Any):
    """A reminder that cannot be kept fails the turn that proposes it, and nothing is changed."""
    talk = Talk(bot(reminder)).says("hi", "go")
    assert (talk.last.status, talk.place) == ("failed", "menu.ask")
    assert re.search(r" returned (an? (?!an? )|more than )\w", str(talk.last.error))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((TOMORROW, ""), {"say": Text("A.")}),
        ((TOMORROW, "k" * 65), {"say": Text("A.")}),
        ((TOMORROW, "a\nb"), {"say": Text("A.")}),
        ((TOMORROW, 3), {"say": Text("A.")}),
        ((TOMORROW, "a"), {}),
        ((TOMORROW, "a"), {"say": "words"}),
        ((60, "a"), {"say": Text("A.")}),
        ((TOMORROW, "a"), {"say": Text("A."), "until": 3}),
    ],
    ids=str,
)
def test_the_arguments_of_a_reminder_are_checked(arguments: Any, named: Any):
    """A wrong argument is named when the reminder is made."""
    with pytest.raises(WrongArgument):
        remind(*arguments, **named)


def test_a_flow_that_is_gone_does_not_stop_a_reminder():
    """A deploy that has dropped the flow of a reminder leaves its words, and the audit tells."""
    talk = Talk(bot(remind(TOMORROW, "a", Text("Hello."), flow=nag))).says("hi", "go")
    talk.bot = Bot(talk.bot.flow("menu"), windows={})
    talk.wait(86_400).wake(delivers=True)
    assert talk.delivered[-1] == "Hello."
    assert details(talk) == [{"reminder": "a", "dropped": "no such flow"}]


def test_of_two_documents_each_key_stays_once():
    """Merged reminders are those of both documents, in order; of one key the second document's."""
    one = Talk(bot(remind(TOMORROW, "a", Text("1")), remind(START, "b", Text("1")))).says("hi", "go").state.reminders
    two = Talk(bot(remind(START, "a", Text("2")))).says("hi", "go").state.reminders
    assert [(each.key, each.replies) for each in merged_reminders(one, two)] == [
        ("a", ({"text": "2"},)), ("b", ({"text": "1"},)),
    ]  # fmt: skip


def test_another_manager_gives_the_reminder_of_a_former_one():
    """A reminder is found by a worker that was started later, and given once by two of them."""
    clock, sent = Clock(), [""]
    store = MemoryStore(clock, secret=STORE_SECRET)
    flows = bot(remind(TOMORROW, "a", Text("Hello.")))
    manager = FlowStateManager(flows, store, rates=None)
    manager.handle(Message(CHANNEL, "hi", "hi"))
    member_id = manager.handle(Message(CHANNEL, "go", "go")).state.member_id
    manager.close()
    clock.at += 86_400 * 1.5
    for _ in range(2):
        with FlowStateManager(flows, store, deliver=lambda channel, replies: sent.extend(words(replies))) as other:
            other._base.clock.follow(clock)
            other.wake(member_id)
    assert sent.count("Hello.") == 1


def test_the_reminder_of_a_guest_is_that_of_the_member():
    """A guest who becomes a member keeps the reminders of both, and the member is reminded."""

    def login(turn: Turn[Note]) -> Any:
        member = attrs.evolve(turn.member, id="m-1", guest=False, authenticated=True, jwt_token="t")
        return turn.changes(member=member, reminders=[remind(TOMORROW, "a", Text("Hello."))])

    asks = Flow(
        "asks", data=Note, initial="ask",
        states=[State("ask", ask=Text("Name?"), reads=str, into="about"), State("end", ask=Text("Bye"))],
        transitions=[Transition("answer", "ask", "end", prepare=login), Transition("again", "end", "ask")],
    )  # fmt: skip
    clock, sent = Clock(), [""]
    store = MemoryStore(clock, secret=STORE_SECRET)
    with FlowStateManager(
        Bot(asks, windows={}), store, rates=None, cache=0, deliver=lambda channel, replies: sent.extend(words(replies))
    ) as manager:
        manager._base.clock.follow(clock)
        manager.handle(Message(CHANNEL, "1", "hi"))
        state = manager.handle(Message(CHANNEL, "2", "ann")).state
        assert (state.member_id, [each.key for each in state.reminders]) == ("m-1", ["a"])
        clock.at += 86_400
        manager.wake("m-1")
    assert sent.count("Hello.") == 1


def test_reminders_open_no_more_flows_than_may_wait():
    """Flows that reminders open wait for the open one within the bound of `manager.open`; the rest are due later."""
    soon = START + timedelta(seconds=60)
    flows = [remind(soon, f"k{number}", flow=nag, data=Note(str(number))) for number in range(MOST_NEXT + 2)]
    home: Flow[NoData] = Flow(
        "home", initial="ask",
        states=[State("ask", ask=Text("Home")), State("work", flow=attrs.evolve(nag, name="work"))],
        transitions=[
            Transition("go", "ask", "work", prepare=lambda turn: turn.changes(reminders=flows)),
            Transition(["done", "cancelled"], "work", "ask"),
        ],
    )  # fmt: skip
    talk = Talk(Bot([home, nag])).says("hi", "go").wait(60).wake(delivers=True)
    assert (len(talk.state.suspended), len(talk.state.reminders)) == (1 + MOST_NEXT, 2)
    asked = [talk.say("yes").words[-1]]
    for _ in flows[1:]:
        talk.wake(delivers=True)
        asked.append(talk.say("yes").words[-1])
    assert asked == [f"Still {number}?" for number in range(MOST_NEXT + 2)]
    assert (talk.say("yes").words, talk.state.reminders) == (["Home"], ())


@pytest.mark.parametrize(
    "until", [TOMORROW, TOMORROW - timedelta(seconds=1), datetime.min.replace(tzinfo=UTC)], ids=str
)
def test_a_reminder_that_is_dropped_before_it_is_due_is_refused(until: datetime):
    """`until` is after `at`: as they are written where both have a time zone or none, else by the member's clock."""
    with pytest.raises(WrongArgument, match="'until' is "):
        remind(TOMORROW, "a", Text("A."), until=until)
    with pytest.raises(WrongArgument, match="'until' is "):
        remind(TOMORROW.replace(tzinfo=None), "a", Text("A."), until=until.replace(tzinfo=None))
    mixed = remind(TOMORROW, "a", Text("A."), until=until.replace(tzinfo=None))
    assert Talk(bot(mixed, zone="UTC")).says("hi", "go").last.status == "failed"
    assert Talk(bot(mixed, zone="Pacific/Pago_Pago")).says("hi", "go").last.status == (
        "failed" if until.year == 1 else "advanced"
    )
    twice = TOMORROW.replace(tzinfo=None)
    assert remind(twice, "a", Text("A."), until=twice.replace(fold=1)).until == twice
