"""Each error and each value of the front door is equal to its copies, also in another process."""

from __future__ import annotations

import copy
import datetime as dt
import inspect
import pickle
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, get_type_hints

import attrs
import pytest

import vimbiso_fsm
from tests.bots import fruit_bot
from vimbiso_fsm import (
    PUBLIC,
    READ_ONLY,
    SECRET,
    Archiving,
    Attachment,
    AuditEntry,
    Button,
    Buttons,
    Call,
    Caller,
    CallPolicy,
    Changes,
    Channel,
    Commands,
    CommitEvent,
    Contact,
    ContactRequest,
    Contacts,
    File,
    FlowStateManager,
    Form,
    Inbox,
    Incident,
    Later,
    Limits,
    Location,
    LocationRequest,
    Media,
    Member,
    Menu,
    Message,
    Money,
    Never,
    NoData,
    NotAnswered,
    Order,
    OrderItem,
    Outcome,
    Pace,
    PassedOn,
    Plural,
    Rate,
    Rates,
    Referral,
    Refused,
    ReplacedBy,
    Restart,
    Row,
    Sent,
    SessionLife,
    Template,
    Text,
    TextTemplate,
    Unreachable,
    VimbisoError,
    WebLink,
    errors,
)
from vimbiso_fsm.made import Made
from vimbiso_fsm.store.requests import ReadDue

NO_VALUES = {
    **dict.fromkeys(
        ("Bot", "FinishOnOld", "Flow", "Migration", "Shortcut", "State", "Tokens", "Transition", "Trigger"),
        "a declaration; each process imports the module that makes it",
    ),
    **dict.fromkeys(
        ("AsyncFlowStateManager", "AsyncWorker", "FlowAuditLogger", "FlowStateManager", "Watchdog", "Worker"),
        "it has connections, threads or observers",
    ),
    **dict.fromkeys(("Encryption", "KeyFile", "KeyRing"), "it holds secret keys, or reads them"),
    **dict.fromkeys(("ServiceLimits", "SlowCallback"), "it stays in its process"),
    "Turn": "it lives as long as a callback, and has the bot",
    "StateValidator": "it belongs to a bot",
}
"""Public classes whose objects are not copied, and why."""


def copies(value: Any) -> list[Any]:
    """Return the copies of a value: by `copy`, by `deepcopy` and by each protocol of pickle."""
    pickled = (pickle.dumps(value, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1))
    return [copy.copy(value), copy.deepcopy(value), *map(pickle.loads, pickled)]


# Errors ---------------------------------------------------------------------------------------------------------

SAMPLES: dict[Any, Any] = {
    str: "a text: \u00e9 \U0001f34e",
    int: 3,
    float: 2.5,
    bool: True,
    int | None: 7,
    float | None: 7.5,
    object: ReadDue(3),
    tuple[str, ...]: ("one", "two"),
    tuple[bytes, ...]: (b"one", b"\xff"),
    Made | None: Made("clinic/visit.py", 12),
    Iterable[str]: ["one", "two"],
    tuple[errors.Fault, ...]: (errors.Fault("profile.age", "is negative"),),
    tuple[errors.Finding, ...]: (),
}
"""An argument of each type that the `__init__` of an error takes."""


def error_of(kind: type[VimbisoError]) -> VimbisoError:
    """Make an error of a class, with other values than the defaults in all attributes."""
    hints = get_type_hints(kind.__init__)
    arguments = {name: SAMPLES[hint] for name, hint in hints.items() if name != "return"}
    made = kind(**arguments) if kind.__init__ is not Exception.__init__ else kind("a message")
    if isinstance(made, NotAnswered):
        made.reply, made.reference = "words", "ref"
    made.add_note("a note")
    return made


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, VimbisoError) and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_equal_to_its_copies(kind: type[VimbisoError]):
    """Class, message, arguments, notes and all attributes of an error survive."""
    error = error_of(kind)
    assert vars(error).keys() >= inspect.get_annotations(kind).keys() - {"reply_key"}
    for other in copies(error):
        assert type(other) is kind
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


def test_an_error_of_an_embedder_is_copied_by_the_same_rule():
    """A class that an embedder derives needs no method of its own, whatever its `__init__` takes."""
    error = Derived(1, named=("a", "b"))
    for other in copies(error):
        assert (type(other), str(other), vars(other)) == (Derived, str(error), {"number": 1, "named": ("a", "b")})


class Derived(errors.StoreUnavailable):
    """An error of an embedder."""

    def __init__(self, number: int, *, named: tuple[str, ...]) -> None:
        self.number, self.named = number, named
        VimbisoError.__init__(self, f"{number} of {named}")


# Values ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Profile:
    """The profile of a member."""

    name: str = "Ada"


def conversation() -> tuple[Outcome, AuditEntry, CommitEvent]:
    """Return what a manager gives out of one turn."""
    told: list[CommitEvent] = []
    with FlowStateManager.in_memory(fruit_bot(), observers=[told.append]) as manager:
        outcome = manager.handle(Message(Channel("sms", "16505550001"), "m1", "hi"))
        return outcome, manager.history(outcome.state.member_id)[-1], told[-1]


MEMBER: Member[Profile] = Member("m-1", guest=False, jwt_token="t", profile=Profile(), language="sn")
CHANNEL = Channel("whatsapp", "263771234567", {"account": "1"})
OUTCOME, ENTRY, EVENT = conversation()
NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
VALUES: list[Any] = [
    Archiving("/archive", entries=32),
    Attachment("image", "f1", "image/jpeg", 10, "a.jpg", "a leak"),
    Contact("Ada", ("263771234567",), is_sender=True),
    Contacts((Contact("Ada"),)),
    Form({"day": "1", "more": [1, None]}, "booking"),
    Later(400),
    Location(-17.8292, 31.0522, "home"),
    Order((OrderItem("p1", 2, Money(Decimal("1.50"), "USD")),), "c1"),
    OrderItem("p1"),
    Never("blocked", code="131026", address=True),
    Sent(("wamid.1",)),
    Referral("ad", "a1"),
    ContactRequest(Text("whose")),
    File("https://example.com/a.pdf", "a.pdf"),
    LocationRequest(Text("where")),
    Media("image", "https://example.com/a.jpg", Text("seen")),
    Template("reminder", Text("tomorrow"), ("10:00",), "en_GB"),
    WebLink(Text("read"), "https://example.com"),
    Inbox("desk", words="person"),
    PassedOn(
        inbox="desk", id="p1", kind="said", at=NEW_YEAR, member_id="m-1", channel=CHANNEL, content={"kind": "image"}
    ),
    Pace(30, chat=Rate(1, every=1.0)),
    Rate(3, every=0.5),
    Rates(guests=None),
    PUBLIC,
    SECRET,
    READ_ONLY,
    OUTCOME,
    ENTRY,
    EVENT,
    OUTCOME.state,
    CHANNEL,
    MEMBER,
    Button("yes", "Yes"),
    Buttons(Text("sure"), (Button("yes", Text("yes")),)),
    Call("bank", "pay", {"amount": 1}),
    CallPolicy(),
    Caller(),
    Changes(Profile(), MEMBER),
    Commands(menu=["menu"]),
    Incident(NEW_YEAR, "waiver", detail={"durability": "local"}),
    Limits(),
    Menu(Text("which"), (Row("1", "One"),)),
    Message(CHANNEL, "m1", "hi", sent_at=NEW_YEAR),
    Money(Decimal("12.30"), "USD"),
    NoData(),
    Plural("days", one="{days} day", other="{days} days"),
    Refused("a.code"),
    Refused("a.code", field="amount", held="5"),
    ReplacedBy("step"),
    Restart(Text("again")),
    Row("1", "One", "the first", value=Decimal(1)),
    SessionLife(),
    Text("a.key"),
    Text("a.key", day=1, templates={"whatsapp": TextTemplate("a_key", ("day",))}, holds=dt.timedelta(hours=1)),
    TextTemplate("a_key", ("day",), ("en_GB", "sn")),
    Text("a.key", amount=Money(Decimal("5.00"), "USD"), rows=["a", Text("b")]),
    Text("a").said("words", {"n": 1}),
    Unreachable("down", n=1),
]
"""Values of each public class that is one, with and without their optional parts."""


@pytest.mark.parametrize(
    "value", [pytest.param(value, id=f"{type(value).__name__}-{n}") for n, value in enumerate(VALUES)]
)
def test_a_value_is_equal_to_its_copies(value: Any):
    """A value of the front door is equal to its copies, also in the fields that `==` passes over."""
    for other in copies(value):
        assert type(other) is type(value)
        assert other == value
        if attrs.has(type(value)):
            assert attrs.asdict(other) == attrs.asdict(value)


def test_each_public_class_is_covered():
    """Each class that is exported is an error, a value that is copied above, or no value for a reason."""
    exported = {name: getattr(vimbiso_fsm, name) for name in vimbiso_fsm.__all__}
    classes = {
        name for name, value in exported.items() if isinstance(value, type) and not issubclass(value, VimbisoError)
    }
    classes -= {name for name, value in exported.items() if getattr(value, "_is_protocol", False)}
    assert classes - {type(value).__name__ for value in VALUES} == NO_VALUES.keys()
