"""Hypothesis strategies: messages, documents, and small flows of all kinds of states."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
from hypothesis import assume, reject
from hypothesis import strategies as st

from tests.bots import Bank, fruit_bot
from vimbiso_fsm.document.document import (
    Document,
    Moved,
    PendingCall,
    Reminder,
    Run,
    Shown,
    Suspended,
    Undelivered,
)
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, call
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import PUBLIC
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Form, Location
from vimbiso_fsm.messages.message import Address, Channel, Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Row, Text
from vimbiso_fsm.testing.chat import CHANNEL, START

# Texts ----------------------------------------------------------------------------------------------------------

HOSTILE = (
    "", " ", "\0", "\x1b[2J", "\r\n", "\u202eevil\u202c", "\u200b", "\ufeff", "\ud800", "\udfff\ud800", "e\u0301" * 40, "💣" * 20,
    "{0}", "{name}", "{name.__class__}", "%s", "<b>", "'; DROP TABLE", "__proto__", "#next", "#prev", "=", "=apple", ".",
    "a.1.yes", "00000000.1.yes", "!00000000yes", "-1", "0", "01", "1e3", "١", "²", "9" * 400, "x" * 4096, "x" * 4097, "ﬀ", "İ", "ß", "＠home",
)  # fmt: skip
"""Texts that have broken programs."""

WORDS = (
    "hi", "menu", "/start", "cancel", "x", "back", "help", "?", "yes", "no", "ok", "N", "1", "2", "3", "10", "11", "next",
    "Previous", "@home", "home", "ada", "vip", "taken", "nobody", "a", "1234", "sesame", "order", "stock", "apple", "fruit07",
    "ada/1234", "taken/1234", "Yes please", "none of them", "leave", "gift", "express", "at once",
)  # fmt: skip
"""Words that mean something to the bots of the tests."""

texts = st.one_of(st.sampled_from(WORDS), st.sampled_from(WORDS), st.sampled_from(HOSTILE), st.text(max_size=40))

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
"""Anything JSON can say."""

plain_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_texts, inner, max_size=3),
    max_leaves=6,
)
"""Anything that can be stored."""

objects = st.dictionaries(plain_texts, plain_values, max_size=3)


CONTENTS = (
    Location(-17.83, 31.05, "Shop"),
    Attachment("image", "1", caption="yes"),
    Attachment("document", "2", "application/pdf"),
    Contacts((Contact("Ada", ("+263771000001",)),)),
    Form({"amount": "10", "deep": [[{"a": None}]]}),
)
"""What messages carry beside words; one has a caption, which is a typed text where no reader takes it."""


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message of the member of `testing.chat`."""
    content: dict[str, Any] = draw(
        st.fixed_dictionaries({"text": texts})
        | st.fixed_dictionaries({"choice": texts})
        | st.fixed_dictionaries({"kind": st.sampled_from(["image", "audio", "location"])})
        | st.fixed_dictionaries({"content": st.sampled_from(CONTENTS)})
    )
    return Message(CHANNEL, f"id-{draw(st.integers(0, 30))}", **content)


# Actions: what a member and the world may do ---------------------------------------------------------------------

actions = st.lists(
    st.one_of(
        st.tuples(st.just("say"), texts),
        st.tuples(st.just("say"), texts),
        st.tuples(st.just("press"), st.integers(0, 9)),
        st.tuples(st.just("press"), st.integers(0, 9)),
        st.tuples(st.just("old"), st.integers(0, 9)),
        st.tuples(st.just("choice"), texts),
        st.tuples(st.just("image"), st.just("image")),
        st.tuples(st.just("wait"), st.sampled_from([1, 31, 61, 299, 301, 90_000])),
        st.tuples(st.just("again"), st.integers(0, 3)),
        st.tuples(st.just("bank"), st.sampled_from(["refuse", "raise", "usual"])),
    ),
    max_size=14,
)
"""(what, with what): see `tests.engine.test_decide`."""


# Documents -------------------------------------------------------------------------------------------------------

instants = st.integers(0, 10**9).map(lambda seconds: START + timedelta(seconds=seconds))
names = st.text(st.characters(categories=["Ll", "Nd"], max_codepoint=127), min_size=1, max_size=8)

channels = st.builds(
    Channel,
    st.sampled_from(["whatsapp", "telegram", "sms"]),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(str.strip),
    objects,
)
addresses = st.builds(Address, st.sampled_from(["whatsapp", "sms"]), names)


def _order_fields() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"name": plain_texts, "pin": plain_texts, "fruit": plain_texts, "receipt": plain_texts, "visits": st.integers()}
    )


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A run of the flow `order` of `tests.bots`."""
    step = draw(st.sampled_from(["name", "pin", "confirm"]))
    return Run(
        f"order:{draw(st.integers(0, 2**64)):016x}",
        "order",
        step,
        draw(addresses),
        context=draw(st.just({}) | st.just({"attempts": 2})),
        verdict=draw(st.just({}) | st.just({"step": step, "ok": False, "code": "name.taken"})),
        fields=draw(_order_fields()),
        version=2,
        fingerprint=draw(names),
        entered=draw(st.integers(0, 99)),
        trail=draw(st.sampled_from([(), ("name",), ("name", "pin")])),
        page=draw(st.integers(0, 3)),
        shown=tuple(draw(st.lists(st.builds(Shown, plain_texts, plain_texts), max_size=3))),
        due=draw(st.none() | instants),
    )


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any valid document of the bot of `tests.bots`."""
    token = draw(st.none() | names)
    open_runs = draw(st.lists(runs(), max_size=3, unique_by=lambda run: run.id))
    waiting = tuple(attrs.evolve(run, waits=draw(st.sampled_from(Suspended))) for run in open_runs[1:])
    return Document(
        member_id=draw(plain_texts.filter(bool)),
        channel=draw(channels),
        last_updated=draw(instants),
        version=draw(st.integers(0, 2**53)),
        guest=draw(st.booleans()),
        jwt_token=token,
        authenticated=token is not None and draw(st.booleans()),
        profile=draw(objects.filter(lambda profile: isinstance(profile.get("accounts", []), list))),
        current_account=draw(st.just({}) | st.fixed_dictionaries({"account_id": names})),
        run=open_runs[0] if open_runs and (not waiting or draw(st.booleans())) else None,  # or parked
        suspended=waiting,
        call=draw(
            st.none()
            | st.builds(
                PendingCall,
                key=names,
                service=names,
                method=names,
                arguments=objects,
                root=names,
                leased_until=instants,
                tries=st.integers(1, 5),
                again_at=st.none() | instants,
            )
        ),
        outbox=tuple(
            draw(
                st.lists(
                    st.builds(
                        Undelivered,
                        id=names,
                        replies=st.sampled_from(
                            [({"text": "call.waiting"},), ({"text": ["a", {"b": 1}]}, {"text": "c"})]
                        ),
                        leased_until=st.none() | instants,
                        tries=st.integers(0, 9),
                    ),
                    max_size=2,
                    unique_by=lambda waiting: waiting.id,
                )
            )
        ),
        reminders=tuple(
            draw(
                st.lists(
                    st.builds(
                        Reminder,
                        key=names,
                        id=names,
                        at=instants,
                        replies=st.sampled_from([(), ({"text": "call.waiting"},)]),
                        flow=st.just("") | names,
                        data=objects,
                        until=st.none() | instants,
                    ),
                    max_size=2,
                    unique_by=lambda reminder: reminder.key,
                )
            )
        ),
        deadline=draw(st.none() | instants),
        channels=tuple(draw(st.lists(addresses, max_size=2))),
        moved=draw(st.none() | st.builds(Moved, names, st.integers(1, 99))),
    )


# Flows -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Made:
    """The data of generated flows."""

    a: str = attrs.field(default="", metadata=PUBLIC)
    b: str = ""
    n: int = 0


def _accepts(turn: Turn[Made]) -> bool:
    return True


def _declines(turn: Turn[Made]) -> bool:
    return False


def _refuses(turn: Turn[Made]) -> bool | Refused:
    return Refused("made.refused", a=turn.data.a)


def _sometimes(turn: Turn[Made]) -> bool | Refused:
    return turn.data.n % 2 == 0 or Refused("made.odd", n=turn.data.n)


def _counts(turn: Turn[Made]) -> Made:
    return attrs.evolve(turn.data, n=turn.data.n + 1)


def _reads(text: str) -> str | Refused:
    return text.strip() or Refused("made.empty")


def _rows(turn: Turn[Made]) -> list[Row]:
    return [Row(f"row{number}", f"Row {number}") for number in range(turn.data.n % 3 * 11)]


def _calls(turn: Turn[Made]) -> Call[Any]:
    return call(Bank.pay, name=turn.data.a, fruit=turn.data.b)


def _given(turn: Turn[Made]) -> Made:
    return turn.data


def _result(turn: Turn[Made]) -> str:
    return turn.data.a


GUARDS = (_accepts, _declines, _refuses, _sometimes)
KINDS = ("ask", "rows", "buttons", "call", "auto", "flow", "timed")


@st.composite
def flows(draw: st.DrawFn, name: str = "made", *, depth: int = 1) -> Flow[Made]:
    """A small flow of states of all kinds. From each state a transition leads on, and others lead anywhere.

    Where an effect would lead back to itself, which no flow may, the calls only read.
    """
    kinds = draw(st.lists(st.sampled_from(KINDS if depth else KINDS[:5]), min_size=1, max_size=5))
    steps = [f"s{place}" for place in range(len(kinds))]
    states: list[State[Made]] = []
    ways: list[Transition[Made]] = []
    for place, (step, kind) in enumerate(zip(steps, kinds, strict=True)):
        on = steps[place + 1] if place + 1 < len(steps) else "end"
        anywhere = st.sampled_from([*steps, "end", "off"])
        guard = st.sampled_from(GUARDS)
        prepare = draw(st.none() | st.just(_counts))
        ask = Text(f"{name}.{step}", n=place)
        match kind:
            case "ask":
                states.append(State(step, ask=ask, reads=_reads, into=draw(st.sampled_from([None, "a", "b"]))))
                triggers = ["answer"]
            case "rows":
                states.append(State(step, ask=ask, rows=_rows, into="b"))
                triggers = ["answer", "skip"]
            case "buttons":
                states.append(State(step, ask=ask))
                triggers = ["yes", "no", "more"][: draw(st.integers(1, 3))]
            case "call":
                states.append(State(step, call=_calls, into="a", say=draw(st.none() | st.just(Text("made.wait")))))
                triggers = ["done", "failed"]
            case "auto":
                states.append(State(step))
                triggers = ["auto"]
            case "flow":
                states.append(State(step, flow=draw(flows(f"{name}_{place}", depth=0)), input=_given, into="b"))
                triggers = ["done", "cancelled"]
            case _:
                states.append(State(step, ask=ask, timeout=60))
                triggers = ["timeout", "yes"]
        for trigger in triggers:
            if draw(st.booleans()):
                ways.append(Transition(trigger, step, draw(anywhere), conditions=draw(guard)))
            forward = trigger == triggers[0]
            unless = () if forward else draw(st.just(()) | st.just(_declines))
            ways.append(Transition(trigger, step, on if forward else draw(anywhere), unless=unless, prepare=prepare))
    ends = [State("end", say=Text(f"{name}.end"), final=True, output=_result)]
    reached = {way.dest for way in ways}
    if "off" in reached:
        ends.append(State("off", final=True, cancels=True))
    try:
        return Flow(name, data=Made, initial="s0", states=[*states, *ends], transitions=ways)
    except FlowError as error:
        assume("its effect leads back" in error.fault)
    reading = [attrs.evolve(state, policy=READ_ONLY) if state.call else state for state in states]
    try:
        return Flow(name, data=Made, initial="s0", states=[*reading, *ends], transitions=ways)
    except FlowError:  # the effect of a sub-flow leads back to it
        reject()


@st.composite
def bots(draw: st.DrawFn) -> Bot:
    """A bot whose home is a generated flow, or the bot of `tests.bots`."""
    bank = Bank()
    if draw(st.integers(0, 3)) == 0:
        return fruit_bot(bank)
    return Bot(flows=[draw(flows())], services={"bank": bank}, texts={"made.s0": "First {n}"})


SOON = START + timedelta(seconds=1)
