"""Conversations of three members with VimbisoPay on a network with faults: nothing is lost, and nothing made twice.

Three members send thirty messages to two workers. Some messages are delivered twice, and some pauses end sessions. The
core is down, slow, answers 401 or loses its replies. After each message a `Witness`, which has only the replies and the
messages, checks credex-core:

- The balances add up, and only an accepted offer, an upgrade or a new account moved value.
- Each offer, answer, payment and account was confirmed by its member as it was shown.
- One confirmation took effect once, and so did one run of the offer, however often it was confirmed.
- Each message was answered, and not by a failure.
- When the network works again, "menu" leads each member to the dashboard from any state.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import wait
from decimal import Decimal
from typing import Any, Self

import attrs
import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st

import flows
from flows.credex_core import ANYBODY, Fault, Offer, Receipt, Recipient, SimulatedCredexCore
from tests.digests import guest_id
from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.flow.commands import Commands
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Text
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.testing.chat import STORE_SECRET

ADA, ALAN, GRACE, KATHERINE = (f"26377100000{n}" for n in (1, 2, 3, 5))
EMMY, SOFIA = "263770000001", "263770000002"  # telephone numbers without a member
NOW = 1_795_600_000.0
SILENCE = 300.0
"""Seconds after which a session is over, and no question of it can be confirmed (domain: §3)."""


# What is said, and what goes wrong ---------------------------------------------------------------------------------

ERRANDS = {
    "become_member": ["become_member Emmy Noether yes", "become_member Emmy Noether no Ada Noether yes"],
    "offer_secured": [
        "1=>alan yes", "0.5=>ada yes", "2=>shop_one yes", "1=>alan yes", "offer 10 alan yes", "offer 5 ada yes",
        "offer 1 nobody grace yes", "offer 1 alan other_account 2 yes",
        "offer 3 alan back back 4 alan yes", "offer 2 grace menu yes yes", "offer 2 alan no",
    ],
    "accept_offer": ["accept 1 yes", "accept accept_all yes", "accept 2 no 1 yes", "accept 1 yes 1 yes"],
    "decline_offer": ["decline 1 yes", "decline 2 yes", "decline 1 yes 1 yes"],
    "cancel_offer": ["cancel_offer 1 yes", "cancel_offer 1 no 1 yes"],
    "view_ledger": ["ledger next prev dashboard"],
    "upgrade_membertier": ["upgrade yes", "upgrade no"],
    "switch_account": ["switch 2"],
}  # fmt: skip
"""The errands of a member, by the row of the dashboard that is shown for them."""
NOISE = ["yes", "no", "back", "cancel", "help", "menu", "hi", "1", "2", "again", "credex-0", "grace", "0"]
THREE = st.sampled_from([(ALAN, ADA, KATHERINE), (ALAN, ADA, EMMY), (ALAN, KATHERINE, GRACE), (ALAN, EMMY, SOFIA)])


@attrs.frozen
class Step:
    """One message.

    Attributes:
        who: Which of the three members sends it.
        choice: Which of the member's errands it belongs to; for `noise`, which other text it is.
        noise: Whether it belongs to no errand.
        pause: Seconds before it.
        worker: Which of the two workers handles it.
        twice: Whether it is delivered twice.
        trouble: The fault of the network before it.
    """

    who: int
    choice: int
    noise: bool
    pause: int
    worker: int
    twice: bool
    trouble: Fault | None


TROUBLE = st.builds(
    Fault,
    st.sampled_from(["lost", "lost", "down", "401", "slow"]),
    call=st.sampled_from(["createCredex", "createCredex", "acceptCredex", "declineCredex", "createRecurring", ""]),
    times=st.sampled_from([1, 2, 3, 4]),
    chance=st.sampled_from([1.0, 1.0, 0.5]),
    seconds=st.just(0.02),
)
STEPS = st.lists(
    st.builds(
        Step,
        who=st.sampled_from(range(3)),
        choice=st.sampled_from(range(120)),
        noise=st.sampled_from([False] * 15 + [True]),
        pause=st.sampled_from([*[0] * 40, 1, 31, 301]),
        worker=st.sampled_from(range(2)),
        twice=st.sampled_from([False, False, False, True]),
        trouble=st.one_of(*[st.none()] * 7, TROUBLE),
    ),
    min_size=30,
    max_size=30,
)
CALL_WAIT = 0.01
"""Seconds that a worker waits for a call: a slow one goes on alone, and its answer comes home later."""


# Who talks ---------------------------------------------------------------------------------------------------------


class World:
    """A core and two workers on one store, under a clock that stands still unless it is turned."""

    def __init__(self, core: SimulatedCredexCore | None = None, call_wait: float = CALL_WAIT) -> None:
        self.at = NOW
        self.core = core or SimulatedCredexCore()
        self.core.clock = self.now
        self.store = MemoryStore(self.now, secret=STORE_SECRET)
        self.workers = [
            FlowStateManager(
                flows.bot, self.store, services={"credex_core": self.core}, call_wait=call_wait, rates=None
            )
            for _ in range(2)
        ]
        for worker in self.workers:  # else a cached turn is decided at the time before the clock was turned
            worker._base.clock.follow(self.now)

    def now(self) -> float:
        return self.at

    def settle(self) -> None:
        """Wait until each slow call has returned."""
        for worker in self.workers:
            wait(tuple(worker._late))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for all calls, so that none returns in the next conversation."""
        self.settle()


HOME = ("dashboard.menu", "onboard.welcome")
"""The last state of each member; a guest ends at the welcome."""


class Customer:
    """A member on one channel, and what they were last shown."""

    _ids = itertools.count(1)

    def __init__(self, world: World, phone: str) -> None:
        self.world, self.phone = world, phone
        self.channel = Channel("whatsapp", phone)
        self.spoke = world.at
        self.outcome: Outcome | None = None
        self.words = deque(["hi", "1"] if phone == KATHERINE else ["hi"])

    def next_word(self, step: Step) -> str:
        """The next text of the member: the rest of the errand, or a new one of those that are shown."""
        if step.noise:
            return NOISE[step.choice % len(NOISE)]
        if not self.words and self.place not in HOME:
            return "cancel" if self.shown else "hi"
        if not self.words:
            shown = [row for row in ERRANDS if any(id.endswith(row) for id in self.shown)]
            errands = [errand for row in shown for errand in ERRANDS[row]] or ["menu"]
            self.words += errands[step.choice % len(errands)].split()
        return self.words.popleft()

    @property
    def shown(self) -> list[str]:
        """The ids of the buttons or rows that were shown last."""
        reply = self.outcome.replies[-1] if self.outcome else None
        choices = reply.buttons if isinstance(reply, Buttons) else reply.rows if isinstance(reply, Menu) else ()
        return [choice.id for choice in choices]

    def say(self, word: str, worker: int = 0, *, twice: bool = False) -> list[Outcome]:
        """Say a text, and return the reply to each delivery of it."""
        message = Message(self.channel, f"m{next(self._ids)}", word)
        workers = [self.world.workers[worker], *([self.world.workers[1 - worker]] if twice else [])]
        outcomes = [each.handle(message) for each in workers]
        self.outcome, self.spoke = outcomes[-1], self.world.at
        return outcomes

    @property
    def place(self) -> str:
        """The flow and the state."""
        run = self.outcome.state.run if self.outcome else None
        return f"{run.flow}.{run.step}" if run else ""

    @property
    def stands(self) -> str:
        """The flow and the state as stored, because a call may have returned since the latest reply."""
        worker = self.world.workers[0]
        document = worker.state(worker.member_of(self.channel) or guest_id(self.channel))
        return f"{document.run.flow}.{document.run.step}" if document and document.run else ""

    @property
    def asked(self) -> Text:
        """The question that was shown last."""
        assert self.outcome is not None
        return asked_by(self.outcome.replies[-1])


def asked_by(reply: Reply) -> Text:
    """The question of a reply, without the titles below it."""
    asked = reply.body if isinstance(reply, Buttons | Menu) else reply
    assert isinstance(asked, Text)
    return asked


# Who watches -------------------------------------------------------------------------------------------------------

ANSWERS = {
    "accept_offer.confirm": "accepted",
    "accept_offer.confirm_all": "accepted",
    "decline_offer.confirm": "declined",
    "cancel_offer.confirm": "cancelled",
}
EFFECTS = {
    "createCredex": "offer",
    "acceptCredex": "accept_offer",
    "acceptCredexBulk": "accept_offer",
    "declineCredex": "decline_offer",
    "cancelCredex": "cancel_offer",
    "createRecurring": "upgrade",
    "onboardMember": "onboard",
}
"""The calls that change something, and the flows whose question must be confirmed for it."""
OPENING, PRICE = Decimal("20.00"), Decimal("1.00")


class Witness:
    """Compares credex-core with what follows from the replies that were shown and the texts that were said."""

    def __init__(self, core: SimulatedCredexCore) -> None:
        self.core = core
        self.yes: Counter[str] = Counter()
        self.offered: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
        self.answered: set[tuple[str, str]] = set()
        self.upgraded: dict[str, set[str]] = defaultdict(set)
        self.opened: set[tuple[str, str]] = set()
        self.before = offers(core)
        self.accounts = {handle: dict(account.balances) for handle, account in core._handles.items()}
        self.tiers = {phone: member.tier for phone, member in core._phones.items()}

    def hears(self, customer: Customer, word: str) -> None:
        """Note the question that a customer confirms with a text, if it was shown and the session lasts.

        A customer may also confirm a question that was shown earlier and is about to be shown again, because a call has
        been refused meanwhile. The question is then found by the customer's state; its content is the same.
        """
        agrees = word == "1" or word in Commands().yes
        if customer.outcome is None or not agrees or customer.world.at - customer.spoke > SILENCE:
            return
        customer.world.settle()
        flow, _, step = customer.stands.partition(".")
        self.yes[flow] += step == "confirm"
        asked = customer.asked
        document = customer.outcome.state
        assert document.run is not None
        shown = {name: str(value) for name, value in asked.params.items()}
        if asked.key == "offer.confirm":
            self.offered[document.run.id].add((shown["own_handle"], shown["handle"], shown["amount"]))
        elif asked.key in ANSWERS:
            fields: Any = document.run.fields
            self.answered |= {(offer["id"], ANSWERS[asked.key]) for offer in fields["offers"]}
        elif asked.key == "upgrade.confirm":
            self.upgraded[customer.phone].add(shown["own_handle"])
        elif asked.key == "onboard.confirm":
            self.opened.add((customer.phone, f"{shown['firstname']} {shown['lastname']}"))

    def check(self) -> Counter[str]:
        """Check that only what was confirmed has happened, and each of it once.

        Return what happened, for the record.
        """
        with self.core._lock:  # a slow call may be changing it at this moment
            self.core.check_conservation()
            now = offers(self.core)
            made = [offer for id, offer in now.items() if id not in self.before]
            self._check_offers(made)
            answered = {(id, offer.status) for id, offer in now.items() if offer.status != "pending"}
            assert answered <= self.answered, answered - self.answered
            opened = {phone: member for phone, member in self.core._phones.items() if phone not in self.tiers}
            found = {(phone, member.accounts[0].name) for phone, member in opened.items()}
            assert found <= self.opened, found - self.opened
            raised = {phone for phone, tier in self.tiers.items() if self.core._phones[phone].tier != tier}
            raised |= {phone for phone, member in opened.items() if member.tier != 1}
            assert raised <= self.upgraded.keys(), raised - self.upgraded.keys()
            self._check_balances(now, raised)
            self._check_calls()
        happened = Counter(status for _, status in answered)
        return happened + Counter(offered=len(made), upgraded=len(raised), onboarded=len(opened))

    def _check_offers(self, made: list[Offer]) -> None:
        """Check that each offer is as it was shown, and that no run has made two."""
        confirmed = Counter(content for contents in self.offered.values() for content in contents)
        assert Counter(map(content_of, made)) <= confirmed, (made, confirmed)
        free = dict(self.offered)
        for offer in sorted(made, key=lambda offer: sum(content_of(offer) in each for each in free.values())):
            run = next((run for run, contents in free.items() if content_of(offer) in contents), None)
            assert run is not None, f"{offer} is the second of its run"
            del free[run]

    def _check_balances(self, now: dict[str, Offer], raised: set[str]) -> None:
        """Check that each account holds its first balance, changed only by accepted offers and upgrades."""
        expected = {handle: defaultdict(Decimal, balances) for handle, balances in self.accounts.items()}
        for handle in self.core._handles.keys() - expected.keys():
            expected[handle] = defaultdict(Decimal, USD=OPENING)
        for offer in now.values():
            if offer.status == "accepted":
                expected[offer.issuer][offer.denom] -= offer.amount
                expected[offer.receiver][offer.denom] += offer.amount
        for phone in raised:
            [payer] = self.upgraded[phone]  # a member who can upgrade has one account
            expected[payer]["USD"] -= PRICE
        for handle, account in self.core._handles.items():
            assert account.balances == expected[handle], handle

    def _check_calls(self) -> None:
        """Check that the core has acted on one key for each confirmation, however often the call was tried.

        A call that was refused for its token has done nothing. After a login by a further message it has another key.
        """
        assert all(call.key for call in self.core.calls if call.name in EFFECTS)
        done: Any = self.core._results.values()
        acted = [name for (name, _), _ in done]
        made = Counter(EFFECTS[name] for name in acted if name in EFFECTS)
        assert made <= self.yes, (made, self.yes)


def offers(core: SimulatedCredexCore) -> dict[str, Offer]:
    """Return the offers of the service by their id."""
    return {offer.id: offer for offer in core.offers}


def content_of(offer: Offer) -> tuple[str, str, str]:
    """Return the issuer, the receiver and the amount of an offer."""
    return offer.issuer, offer.receiver, str(offer.money)


def answered(outcome: Outcome, word: str) -> None:
    """Check that a message was answered in words, and by no failure of the bot."""
    assert outcome.replies, word
    for reply in outcome.replies:
        assert reply.text.strip(), (word, reply)
        assert asked_by(reply).key != "failure", (word, outcome)
    assert outcome.status != "recovered", (word, outcome)


# The law -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(THREE, STEPS, st.sampled_from(["menu", "no", "cancel"]))
def test_any_conversation_of_three_on_a_network_that_fails(phones: tuple[str, str, str], steps: list[Step], leave: str):
    """Each rule of this module holds. `leave` is said at the end when the open flow is offered back."""
    with World() as world:
        converse(world, [Customer(world, phone) for phone in phones], steps, leave)


def converse(world: World, customers: list[Customer], steps: list[Step], leave: str) -> None:
    """Handle each message, and check the witness after it."""
    witness = Witness(world.core)
    for step in steps:
        customer = customers[step.who]
        world.at += step.pause
        if step.trouble:
            world.core.faults = [*world.core.faults, step.trouble]
        word = customer.next_word(step)
        witness.hears(customer, word)
        for outcome in customer.say(word, step.worker, twice=step.twice):
            note(f"{customer.phone} at {world.at - NOW:g} s: {word!r} -> {[reply.text for reply in outcome.replies]}")
            answered(outcome, word)
        witness.check()
        event(f"was at {customer.place}")
    world.settle()
    for what in witness.check():
        event(f"{what} happened")
    world.core.faults = ()
    for customer in customers:
        go_home(customer, leave)
        witness.check()


def go_home(customer: Customer, leave: str) -> None:
    """Say "menu" until the dashboard is shown."""
    said: list[str] = []
    for _ in range(12):
        customer.world.at += 61  # a pending call is taken up again
        word = leave if customer.place == "carry_on.offered" else "menu"
        if customer.place == "choose_account.choosing":
            word = "1"
        said.append(word)
        for outcome in customer.say(word):
            answered(outcome, word)
        if customer.place in HOME:
            break
    assert customer.outcome is not None
    guest = customer.phone not in customer.world.core._phones
    assert customer.place == HOME[guest], said
    event(f"home by {' '.join(said)}")


# What it has found -------------------------------------------------------------------------------------------------


class Fading(SimulatedCredexCore):
    """A core that makes an offer and loses its reply, a number of times, and is down after that."""

    left = 1

    def create_credex(
        self, *, issuer: str, receiver: str, amount: Money, caller: Caller = ANYBODY
    ) -> Receipt | Refused:
        self.faults = [Fault("lost") if self.left else Fault("down")]
        self.left = max(0, self.left - 1)
        return super().create_credex(issuer=issuer, receiver=receiver, amount=amount, caller=caller)


@pytest.mark.parametrize("lost", [1, 3], ids=["the next try", "the next round"])
def test_an_offer_is_not_reported_as_not_made_because_the_core_is_down_by_now(lost: int):
    """After a lost reply, an attempt that does not reach credex-core leaves the outcome unknown."""
    core = Fading()
    core.left = lost
    world = World(core, call_wait=10.0)
    ada = Customer(world, ADA)
    said: list[str] = []
    for word in ("hi", "offer", "10", "alan", "yes", "well?", "well?", "yes"):
        said += [reply.text for outcome in ada.say(word) for reply in outcome.replies]
        world.settle()
        world.at += 61
    assert not [text for text in said if "nothing was done" in text]
    assert len(core.offers) == 3


class Holding(SimulatedCredexCore):
    """A core that finds no account before it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def get_account_by_handle(self, handle: str, *, caller: Caller = ANYBODY) -> Recipient | Refused:
        assert self.let.wait(60)
        return super().get_account_by_handle(handle, caller=caller)


def test_a_yes_confirms_no_question_that_was_not_shown():
    """A "yes" that came before a question was shown does not confirm it, although a slow call led to it meanwhile."""
    core = Holding()
    world = World(core, call_wait=10.0)
    ada = Customer(world, ADA)
    ada.say("hi")
    world.workers[0]._base.call_wait = CALL_WAIT
    ada.say("1=>alan")
    core.let.set()
    world.settle()
    [outcome] = ada.say("yes")
    assert [reply.text for reply in outcome.replies] == [
        "Offer 1.00 USD\nfrom Ada Lovelace (@ada)\nto Alan Turing (@alan)?"
    ]
    assert (outcome.status, ada.place, len(world.core.offers)) == ("refused", "offer.confirm", 2)
    ada.say("yes")
    world.settle()
    assert (ada.stands, len(world.core.offers)) == ("dashboard.menu", 3)
