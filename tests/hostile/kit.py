"""Shared by the tests of faults that are known: a flow that pays, its ledger, and small helpers.

Each test in this folder states a rule that does not hold yet, and `known_fault` says what happens instead. Only a
failed assertion of the test itself is a verdict. What prepares the test raises `SetupFailed`, so that a test whose
preparation breaks is reported as a failure and not as the fault.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeAlias

import attrs
import pytest
import redis

from vimbiso_fsm import (
    PUBLIC,
    Bot,
    Caller,
    CallPolicy,
    Channel,
    Flow,
    Message,
    Outcome,
    Refused,
    State,
    Text,
    Transition,
    Turn,
    VimbisoError,
    call,
    failed_with,
)

ADA: Final = "263771000001"
"""The telephone number of a member of the simulated credex-core."""
START: Final = 1.7e9
"""The instant at which the clock of a test starts."""
LIMIT: Final = 30.0
"""Seconds after which something that must happen has failed. No test needs them to pass in time."""
ANYBODY: Final = Caller()


class SetupFailed(Exception):
    """The test could not be prepared, so it says nothing about its rule."""


def known_fault(reason: str) -> pytest.MarkDecorator:
    """Marks a test whose rule does not hold yet.

    Args:
        reason: What happens today, as a sentence.
    """
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


# A flow that pays -----------------------------------------------------------------------------------------------------


class Ledger(Protocol):
    """The port of the payment service."""

    def pay(self, amount: int, *, caller: Caller = ANYBODY) -> str | Refused:
        """Pay an amount; the answer is a receipt."""
        ...


@attrs.frozen
class Pay:
    """The data of the flow that pays."""

    amount: int = attrs.field(default=0, metadata=PUBLIC)
    receipt: str = ""
    total: int = attrs.field(default=0, metadata=PUBLIC)


Hook: TypeAlias = Callable[[], Refused | None]


def _accept() -> None:
    return None


class MemoryLedger:
    """Pays once for each key, as a payment service does.

    Attributes:
        paid: The amounts that were paid, by key.
        calls: How many calls have arrived.
    """

    def __init__(self, hook: Hook = _accept) -> None:
        """Make an empty ledger.

        Args:
            hook: Called before each payment. It may wait, or refuse the payment.
        """
        self.paid: dict[str, int] = {}
        self.calls = 0
        self._hook = hook
        self._lock = threading.Lock()

    def pay(self, amount: int, *, caller: Caller = ANYBODY) -> str | Refused:
        """Pay an amount."""
        with self._lock:
            self.calls += 1
        refused = self._hook()
        if refused is not None:
            return refused
        with self._lock:
            self.paid.setdefault(caller.key, amount)
        return f"receipt-{caller.key[:8]}"

    @property
    def amounts(self) -> list[int]:
        """The amounts that were paid."""
        return list(self.paid.values())


def _read_amount(text: str) -> int | Refused:
    return int(text) if text.isdecimal() else Refused("number.format")


def _add_amount(turn: Turn[Pay]) -> Pay:
    return attrs.evolve(turn.data, total=turn.data.total + turn.data.amount)


def pay_flow(*, after_payment: Callable[[Turn[Pay]], Pay] = _add_amount, policy: CallPolicy | None = None) -> Flow[Pay]:
    """The flow amount -> confirm -> paying -> amount.

    Args:
        after_payment: The callback of the author on `done` of the payment.
        policy: The retry policy of the payment.
    """
    return Flow(
        "pay",
        data=Pay,
        initial="amount",
        states=[
            State(
                "amount",
                ask=lambda turn: Text("how much? total {n}", n=turn.data.total),
                reads=_read_amount,
                into="amount",
            ),
            State("confirm", ask=lambda turn: Text("pay {n}?", n=turn.data.amount)),
            State(
                "paying",
                ask=Text("working"),
                call=lambda turn: call(Ledger.pay, turn.data.amount),
                into="receipt",
                policy=policy,
            ),
            State("paid", say=lambda turn: Text("paid {n}", n=turn.data.amount)),
            State("unsure", say=Text("unsure")),
        ],
        transitions=[
            Transition("answer", "amount", "confirm"),
            Transition("yes", "confirm", "paying"),
            Transition("no", "confirm", "amount"),
            Transition("done", "paying", "paid", prepare=after_payment),
            Transition("failed", "paying", "unsure", conditions=failed_with("call.unsure")),
            Transition("failed", "paying", "confirm"),
            Transition("auto", "paid", "amount"),
            Transition("auto", "unsure", "amount"),
        ],
    )


def pay_bot(
    ledger: MemoryLedger | None = None,
    *,
    after_payment: Callable[[Turn[Pay]], Pay] = _add_amount,
    policy: CallPolicy | None = None,
    session: float = 1e6,
) -> Bot:
    """Return a bot with the flow that pays. `session`: seconds of silence after which a session ends."""
    flow = pay_flow(after_payment=after_payment, policy=policy)
    return Bot([flow], services={"ledger": ledger or MemoryLedger()}, session=session)


# What is said ---------------------------------------------------------------------------------------------------------

_ids = itertools.count(1)


def message(text: str, *, number: str = ADA, channel: str = "whatsapp", id: str = "") -> Message:
    """A message of a member, with an id of its own where none is given."""
    return Message(Channel(channel, number), id or f"m{next(_ids)}", text)


def replies(outcome: Outcome) -> list[str]:
    """Return the texts of all replies."""
    return [reply.text for reply in outcome.replies]


# What is expected -----------------------------------------------------------------------------------------------------


def require(condition: object, what: str) -> None:
    """Check a condition that the test needs.

    Raises:
        SetupFailed: The condition does not hold.
    """
    if not condition:
        raise SetupFailed(what)


def wait_until(happened: Callable[[], object], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        SetupFailed: The condition does not hold in time.
    """
    limit = time.monotonic() + LIMIT
    while not happened():
        require(time.monotonic() < limit, f"it did not happen: {what}")
        time.sleep(0.002)


def foreign_error(work: Callable[[], object], *kinds: type[BaseException]) -> str:
    """Call a function, and return the name of the error that it raises, unless it is an error of the library.

    Args:
        work: The function. Errors of the library are documented, so they are accepted.
        kinds: The errors that are looked for. Any other error is raised.

    Returns:
        The name of the error's class; empty without an error.
    """
    try:
        work()
    except VimbisoError:
        return ""
    except kinds as error:
        return type(error).__name__
    return ""


@contextmanager
def client_of(url: str) -> Generator[Any]:
    """Return a client that reads and damages stored data."""
    with redis.Redis.from_url(url, protocol=2) as client:
        yield client


def only_key(client: Any, pattern: str) -> bytes:
    """Return the only key that fits the pattern.

    Raises:
        SetupFailed: There is none, or more than one.
    """
    keys: list[bytes] = list(client.scan_iter(pattern))
    require(len(keys) == 1, f"{len(keys)} keys fit {pattern}; the layout of the store has changed")
    return keys[0]
