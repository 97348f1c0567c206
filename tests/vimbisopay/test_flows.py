"""The flows of VimbisoPay: each transition and guard by the machine, then whole conversations."""

import itertools
import re
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.answer_offers import Answer, accept, cancel, decline
from flows.choose_account import Choice, choose_account
from flows.credex_core import (
    Account,
    CredexCore,
    Dashboard,
    Fault,
    LedgerEntry,
    PendingOffer,
    Receipt,
    Recipient,
    Session,
    SimulatedCredexCore,
)
from flows.dashboard import dashboard
from flows.ledger import Ledger, ledger
from flows.login import login
from flows.members import KEPT, logged_in, me, tier, upgradable
from flows.offer import Offer, offer, offering, quick
from flows.onboard import Names, onboard
from flows.refresh import refresh
from flows.texts.english import ENGLISH
from flows.upgrade import upgrade
from tests.examples import examples
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import call
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.machine import Machine
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn, authenticated
from vimbiso_fsm.messages.languages.english import ENGLISH as FRAMEWORK
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.readers import ANSWER_TEXTS
from vimbiso_fsm.messages.replies import Buttons, Menu, Text
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.store.memory import MemoryStore

ADA, ALAN, GRACE, KATHERINE = (f"26377100000{n}" for n in (1, 2, 3, 5))
STRANGER = "263770000001"
NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)


def money(text):
    """Return an amount from its text."""
    amount, currency = text.split()
    return Money(Decimal(amount), currency)


# By the machine alone ----------------------------------------------------------------------------------------------

GUEST = flows.bot.typed(Member("guest-1"))


def member(phone, core=None, **changes) -> Member[Any]:
    """Return a member who is logged in."""
    session = (core or SimulatedCredexCore()).login(phone=phone)
    turn = Turn(NoData(), GUEST, Channel("whatsapp", phone), NOW, "login", "asking", "done", session)
    return attrs.evolve(logged_in(turn).member, **changes)


def turn(flow, state, trigger, *, who=GUEST, data=None, answer=None, reason=None, on="whatsapp") -> Turn[Any, Any]:
    """Return a turn as the framework makes it, with the answer in its field."""
    data = flow.data() if data is None else data
    into = flow[state].into
    if into and trigger in ("answer", "done"):
        data = attrs.evolve(data, **{into: answer})
    return Turn(data, who, Channel(on, "1"), NOW, flow.name, state, trigger, answer, reason)


def fire(flow, state, trigger, **rest):
    """Fire a trigger of a flow."""
    return Machine(flow).fire(turn(flow, state, trigger, **rest))


def codes(fired):
    """Return the codes of the refusals."""
    return [reason.code for reason in fired.reasons]


TEN = Offer(money("10.00 USD"), "alan", Recipient("account-1", "alan", "Alan Turing"))


@pytest.mark.parametrize(
    ("phone", "amount", "reason"),
    [
        (ADA, "25.00 USD", None),
        (ADA, "25.01 USD", "amount.limit"),
        (ADA, "1.00 ZWG", "amount.balance"),
        (ALAN, "500.00 USD", None),
        (ALAN, "500.01 USD", "amount.balance"),
        (ALAN, "2.0000 XAU", None),
        (ALAN, "2.0001 XAU", "amount.balance"),
        (GRACE, "0.01 USD", "amount.balance"),
        (KATHERINE, "1000.00 USD", None),
        (KATHERINE, "1.000 CXX", None),
    ],
)
def test_an_amount_is_judged_by_limit_and_balance(phone, amount, reason):
    """An amount beyond the daily limit or the balance is refused with its reason."""
    fired = fire(offer, "amount", "answer", who=member(phone), answer=money(amount))
    assert fired.to == (None if reason else "handle")
    assert codes(fired) == ([reason] if reason else [])


def test_a_limit_is_of_dollars_and_of_tier_1():
    """The daily limit applies to US dollars and to tier 1 only."""
    core = SimulatedCredexCore()
    core._handles["ada"].balances["CAD"] = Decimal(100)
    assert fire(offer, "amount", "answer", who=member(ADA, core), answer=money("100.00 CAD")).to == "handle"
    core._phones[ADA].tier = 2
    assert fire(offer, "amount", "answer", who=member(ADA, core), answer=money("100.00 USD")).to == "handle"
    core._phones[ADA].remaining = Decimal("0.00")
    core._phones[ADA].tier = 1
    fired = fire(offer, "amount", "answer", who=member(ADA, core), answer=money("0.01 USD"))
    assert (fired.to, codes(fired)) == (None, ["amount.limit"])


@pytest.mark.parametrize("handle", ["katherine", "shop_one", "shop_two"])
def test_an_offer_to_an_own_account_is_refused(handle):
    """An offer to one of the member's own accounts is refused."""
    fired = fire(offer, "handle", "answer", who=member(KATHERINE), answer=handle)
    assert (fired.to, codes(fired)) == (None, ["handle.own"])
    assert fire(offer, "handle", "answer", who=member(ALAN), answer=handle).to == "checking"


@pytest.mark.parametrize(
    ("flow", "state", "trigger", "on", "to"),
    [
        (offer, "paying", "cancelled", "whatsapp", "confirm"),
        (refresh, "arriving", "auto", "telegram", "stale"),
        (refresh, "asking", "done", "whatsapp", "stale"),
        (login, "choosing", "cancelled", "whatsapp", "known"),
    ],
)
def test_the_ways_that_no_approved_walk_has(flow, state, trigger, on, to):
    """An account that is gone, a proof that ran out, and a member whom the core has forgotten, lead on."""
    assert fire(flow, state, trigger, who=member(ADA), on=on).to == to


def test_a_receipt_keeps_the_other_accounts():
    """A receipt updates the accounts that it names and keeps the others."""
    core = SimulatedCredexCore()
    katherine = member(KATHERINE, core)
    session = core.login(phone=KATHERINE)
    assert isinstance(session, Session)
    before = session.dashboard
    touched = attrs.evolve(before.accounts[1], balances=(money("1.00 USD"),))
    for said, expected in (
        (attrs.evolve(before, accounts=(touched,)), (before.accounts[0], touched, before.accounts[2])),
        (attrs.evolve(before, accounts=()), before.accounts),
        (Dashboard(), before.accounts),
    ):
        fired = fire(offer, "creating", "done", who=katherine, data=TEN, answer=Receipt("credex-1", said))
        found = fired.member.profile
        assert (fired.to, found.accounts, found.tier) == ("sent", expected, 5)


def test_an_offer_made_refreshes_the_accounts():
    """A created offer updates the member's dashboard and keeps the account in use."""
    core = SimulatedCredexCore()
    ada = member(ADA, core)
    alan = core.login(phone=ALAN)
    assert isinstance(alan, Session)
    (to,) = alan.dashboard.accounts
    proposed = offer["creating"].call
    assert proposed
    data = attrs.evolve(TEN, to=Recipient(to.id, to.handle, to.name))
    proposal = proposed(turn(offer, "creating", "", who=ada, data=data))
    assert proposal == call(
        CredexCore.create_credex, issuer=ada.current_account["id"], receiver=to.id, amount=TEN.amount
    )
    receipt = Receipt("credex-1", attrs.evolve(ada.profile, tier=2))
    fired = fire(offer, "creating", "done", who=ada, data=data, answer=receipt)
    assert fired.to == "sent"
    assert fired.member.profile.tier == 2
    assert fired.member.current_account == ada.current_account


def test_onboarding_makes_the_guest_a_member():
    """A finished onboarding identifies the member, logs them in and sets the account in use."""
    session = SimulatedCredexCore().onboard_member(firstname="Emmy", lastname="Noether", phone=STRANGER)
    assert isinstance(session, Session)
    fired = fire(onboard, "creating", "done", data=Names("Emmy", "Noether"), answer=session)
    who = fired.member
    assert fired.to == "welcomed"
    assert (who.id, who.guest, who.authenticated, who.jwt_token) == (
        session.dashboard.member_id,
        False,
        True,
        session.token,
    )
    assert who.current_account == {
        "id": session.dashboard.accounts[0].id,
        "handle": "emmy_noether",
        "name": "Emmy Noether",
    }


def test_only_members_of_tier_5_choose_an_account():
    """A login asks for an account only at tier 5 and with several accounts."""
    core = SimulatedCredexCore()
    core._phones[KATHERINE].tier = 4
    assert fire(login, "asking", "done", answer=core.login(phone=KATHERINE)).to == "known"
    core._phones[ADA].tier = 5
    assert fire(login, "asking", "done", answer=core.login(phone=ADA)).to == "known"


def test_the_account_chosen_is_the_one_in_use():
    """The chosen account is the account in use, after a login and after a switch."""
    for flow, to in ((login, "known"), (dashboard, "menu")):
        state = "choosing" if flow is login else "switching"
        fired = fire(flow, state, "done", who=member(KATHERINE), answer="shop_one")
        assert (fired.to, fired.member.current_account["handle"]) == (to, "shop_one")


def test_the_dashboard_shows_balances_and_open_offers():
    """The dashboard shows balances and open offers, and the daily limit up to tier 2."""
    summary = dashboard["menu"].ask
    assert callable(summary)
    said = summary(turn(dashboard, "menu", "", who=member(ALAN), data=NoData()))
    assert isinstance(said, Text)
    assert (said.key, said.params["incoming"], said.params["balances"]) == (
        "dashboard.summary",
        2,
        (money("500.00 USD"), money("1000.00 ZWG"), money("2.0000 XAU")),
    )
    empty = member(GRACE)
    account = attrs.evolve(empty.profile.accounts[0], balances=())
    empty = attrs.evolve(empty, profile=attrs.evolve(empty.profile, accounts=(account,)))
    said = summary(turn(dashboard, "menu", "", who=empty, data=NoData()))
    assert isinstance(said, Text)
    assert said.params["balances"] == Text("account.empty")  # no line is left empty
    for phone in (ADA, GRACE):
        said = summary(turn(dashboard, "menu", "", who=member(phone), data=NoData()))
        assert isinstance(said, Text)
        assert said.key == "dashboard.limited"


def test_a_flood_of_offers_does_not_outgrow_the_document():
    """The profile keeps a bounded number of offers, and the number of all."""
    core = SimulatedCredexCore()
    for _ in range(500):
        core._new_offer(core._handles["ada"], core._handles["alan"], money("0.01 USD"))
    alan = member(ALAN, core)
    (account,) = me(turn(dashboard, "menu", "", who=alan)).accounts
    assert (len(account.incoming), account.incoming_count) == (KEPT, 502)


def test_a_member_without_an_account_holds_nothing():
    """A member without an account has an empty account that can pay nothing."""
    nobody = flows.bot.typed(Member("m", guest=False, authenticated=True))
    you = me(turn(dashboard, "menu", "", who=nobody))
    assert (you.account, you.accounts, you.tier) == (Account(), (), 1)
    assert not you.covers(money("0.01 USD"))


def test_flows_that_need_a_member_say_so():
    """The flows that act for a member require a login, and the others require nothing."""
    needy: list[Flow[Any]] = [dashboard, accept, decline, cancel, ledger]
    others: list[Flow[Any]] = [login, onboard, choose_account, refresh]
    assert all(flow.requires == (authenticated,) for flow in needy)
    assert upgrade.requires == (authenticated, upgradable)
    assert offer.requires == (authenticated, offering)
    assert all(flow.requires == () for flow in others)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("0.5=>handle", ("0.5", "handle")),
        (" 10 USD  =>  @Alan ", ("10 USD", "@Alan")),
        ("1=>a=>b", ("1", "a=>b")),
        *((typed, None) for typed in ("", "=>", "1=>", "=>a", "1=a", "1>a", "1 = > a", "hello")),
    ],
)
def test_the_quick_command(typed, read):
    """The shortcut reads an amount and a handle, and no other text."""
    assert quick(typed) == read


def test_data_of_the_flows_can_be_stored():
    """The data of each flow survives a round trip through the codec."""
    entry = LedgerEntry("transfer-1", "ada", "Ada Lovelace", money("-5.00 USD"))
    waits = PendingOffer("credex-1", "ada", "Ada Lovelace", money("5.00 USD"))
    known: list[Any] = [
        TEN,
        attrs.evolve(TEN, own="shop_one"),
        Names("Emmy", "Noether"),
        Choice(money("1.000 CXX"), "shop_one"),
        Answer((waits, waits)),
        Ledger(14, 7, (entry,)),
    ]
    for data in known:
        assert structure(unstructure(data), type(data)) == data


def test_every_key_has_words():
    """Each key of the flows and of the adapters has a text, and each question a help with an example."""
    known = {*FRAMEWORK, *ENGLISH, *ANSWER_TEXTS}
    ours = [flow for flow in flows.bot.flows if flow is not CARRY_ON]
    for flow in ours:
        for source, triggers in flow.buttons.items():
            assert {f"{flow.name}.{source}.{trigger}" for trigger in triggers} <= known
        for state in flow.states:
            assert not state.asks or state.call or f"{flow.name}.{state.name}.help" in known
    source = "".join(path.read_text() for path in Path(flows.__file__).parent.glob("*.py"))
    for word in ("Refused(", "Text("):
        for part in source.split(word)[1:]:
            key = part.lstrip().split('"')[1] if part.lstrip().startswith('"') else ""
            assert not key or key in known, key


def test_a_flow_file_says_nothing_of_how_it_is_kept_or_sent():
    """The flows name no store, channel, JSON, version or repetition."""
    folder = Path(flows.__file__).parent
    declaring = [path for path in folder.glob("*.py") if "Flow(\n" in path.read_text(encoding="utf-8")]
    assert len(declaring) >= 10
    for path in declaring:
        found = re.findall(
            "(?i)redis|valkey|channel|json|version|retr[iy]|whatsapp|sms", path.read_text(encoding="utf-8")
        )
        assert not found, path.name


@pytest.mark.parametrize("language", flows.bot.catalogue.languages)
def test_titles_of_buttons_are_not_cut(language):
    """The titles of buttons and of the dashboard's rows fit WhatsApp in each language."""
    titles = {
        flow.button_title(state, trigger)
        for flow in flows.bot.flows
        for state, triggers in flow.buttons.items()
        for trigger in triggers
    }
    assert all(len(flows.bot.catalogue.say(title, language).text) <= 20 for title in titles)


# Whole conversations -----------------------------------------------------------------------------------------------


class Talk:
    """A conversation of one member on one channel, with a clock that the test sets."""

    numbers = itertools.count(1)

    def __init__(self, phone, *, core=None, store=None, at=None, bot=None, channel="whatsapp"):
        self.at = at or [NOW.timestamp()]
        self.core = core or SimulatedCredexCore()
        self.core.clock = lambda: self.at[0]
        self.store = store or MemoryStore(lambda: self.at[0])
        self.manager = FlowStateManager(bot or flows.bot, self.store, services={"credex_core": self.core}, rates=None)
        self.channel = Channel(channel, phone)
        self.outcome: Any = None

    def send(self, **content: Any):
        content = {"id": f"m{next(self.numbers)}", **content}
        self.outcome = self.manager.handle(Message(self.channel, **content))
        return self.said

    def say(self, *lines):
        for line in lines:
            self.send(text=line)
        return self.said

    @property
    def said(self):
        return [reply.text for reply in self.outcome.replies]

    @property
    def place(self):
        run = self.outcome.state.run if self.outcome else None
        return f"{run.flow}.{run.step}" if run else ""

    @property
    def data(self):
        return self.outcome.state.flow_data.data.fields

    def button(self, title):
        reply = self.outcome.replies[-1]
        choices = reply.buttons if isinstance(reply, Buttons) else reply.rows if isinstance(reply, Menu) else ()
        return next(choice.id for choice in choices if choice.title.text == title)

    def made(self):
        """Return the offers that the conversation made."""
        self.core.check_conservation()
        return [(o.issuer, o.receiver, f"{o.amount} {o.denom}", o.status) for o in self.core.offers[2:]]


def known(phone, **rest):
    """Return a conversation with a member who is logged in."""
    talk = Talk(phone, **rest)
    talk.say("hi")
    return talk


ONE = [("ada", "alan", "10.00 USD", "pending")]


def test_a_guest_becomes_a_member_and_offers():
    """A guest becomes a member and makes an offer; the history of the member holds the guest's entries."""
    talk = Talk(STRANGER)
    talk.say("hi", "become_member", "Emmy", "Noether")
    assert talk.said == ["You are Emmy Noether. Is that right?"]
    guest = talk.outcome.state.member_id
    assert talk.say("yes")[0] == "Welcome, Emmy! Your account is open."
    assert talk.place == "dashboard.menu"
    member_id = talk.outcome.state.member_id
    assert guest.startswith("guest-")
    assert member_id != guest
    talk.say("menu", "offer", "10 USD", "alan")
    assert talk.said == ["Offer 10.00 USD\nfrom Emmy Noether (@emmy_noether)\nto Alan Turing (@alan)?"]
    assert talk.say("yes")[0] == "Your offer was made: 10.00 USD to Alan Turing (@alan)."
    assert "Left to offer today: 15.00 USD\nOffers waiting: 0 in, 1 out" in talk.said[1]
    assert talk.made() == [("emmy_noether", "alan", "10.00 USD", "pending")]
    assert {entry.member_id for entry in talk.manager.history(member_id)} == {guest, member_id}
    assert talk.manager.state(member_id) == talk.outcome.state


def test_a_member_is_greeted_with_the_dashboard():
    """A member's first message logs them in and shows the dashboard."""
    talk = known(ALAN)
    (said,) = talk.said
    assert said.splitlines() == [
        "Alan Turing (@alan)", "500.00 USD", "1,000.00 ZWG", "2.0000 XAU",
        "Net assets: 5,540.00 USD", "Offers waiting: 2 in, 0 out",
    ]  # fmt: skip
    assert talk.outcome.state.authenticated


def test_a_member_of_tier_5_chooses_an_account():
    """A member of tier 5 chooses an account at login, which then pays the offers."""
    talk = known(KATHERINE)
    assert talk.place == "choose_account.choosing"
    talk.send(choice=talk.button("Shop One"))
    assert talk.place == "dashboard.menu"
    assert talk.said[0].startswith("Shop One (@shop_one)\n250.00 USD")
    talk.say("offer", "300", "alan", "yes")
    assert talk.made() == [("shop_one", "alan", "300.00 USD", "pending")]
    assert talk.outcome.state.current_account["handle"] == "shop_one"


def test_an_account_that_is_not_on_the_list_is_refused():
    """A choice of an account that is not listed is refused."""
    talk = known(KATHERINE)
    for choice in ({"text": "ada"}, {"choice": "ada"}, {"text": "4"}):
        assert talk.send(**choice)[0] == "That is not one of the choices."
        assert (talk.place, talk.outcome.status) == ("choose_account.choosing", "refused")
    talk.say("shop_two")
    assert talk.outcome.state.current_account["handle"] == "shop_two"


def test_every_refusal_keeps_place_and_answers():
    """A refused answer leaves the state and the earlier answers as they are."""
    talk = known(ADA)
    talk.say("offer")
    for typed in ("ten", "0", "-5", "1.001", "١٠٠", "9" * 310, "1 EUR", "25.01", "1 ZWG", "nan", "\u202e10"):
        talk.say(typed)
        assert (talk.place, talk.outcome.status) == ("offer.amount", "refused"), typed
        assert talk.said[-1] == "How much do you want to offer?"
    talk.say("10")
    for typed in ("al an", "ada", "@ADA", "nobody_there"):
        talk.say(typed)
        assert talk.place == "offer.handle", typed
        assert talk.data["amount"]["amount"] == "10.00"
    assert talk.say("ALAN")[-1].startswith("Offer 10.00 USD")
    talk.say("maybe")
    assert (talk.place, talk.outcome.status) == ("offer.confirm", "refused")
    talk.say("no")
    assert talk.place == "dashboard.menu"
    assert talk.made() == []


def test_a_refusal_says_why():
    """The reply to a refused answer gives the reason."""
    talk = known(ADA)
    talk.say("offer")
    assert talk.say("30")[0] == "You may offer 25.00 USD more today; please offer no more than that."
    assert talk.say("1 xau")[0] == "Your account holds 0.0000 XAU; please offer no more than that."
    assert talk.say("10", "nobody")[0] == "No account has the handle nobody."
    assert talk.say("ada")[0] == "That account is your own; please name another one."


def test_back_shows_the_earlier_answer_and_changes_it():
    """The word "back" shows the earlier answer, and a new answer replaces it."""
    talk = known(ADA)
    talk.say("offer", "10", "alan")
    assert talk.say("back")[0] == "Your earlier answer: alan"
    assert talk.say("back")[0] == "Your earlier answer: 10.00 USD"
    assert talk.place == "offer.amount"
    talk.say("12", "alan", "yes")
    assert talk.made() == [("ada", "alan", "12.00 USD", "pending")]


@pytest.mark.parametrize("lines", [[], ["10"], ["10", "alan"]], ids=["amount", "handle", "confirm"])
@pytest.mark.parametrize("word", ["cancel", " STOP ", "x"])
def test_cancel_ends_the_offer_and_sends_nothing(lines, word):
    """The word "cancel" ends an offer at each question without a call."""
    talk = known(ADA)
    talk.say("offer", *lines, word)
    assert talk.place == "dashboard.menu"
    assert talk.said[0] == "Cancelled; nothing was sent."
    assert talk.say("yes")
    assert talk.made() == []


@pytest.mark.parametrize(
    ("lines", "place"),
    [([], "amount"), (["10"], "handle"), (["10", "alan"], "confirm")],
    ids=["amount", "handle", "confirm"],
)
def test_help_replies_with_the_question(lines, place):
    """The word "help" replies with the help of the question, and the question."""
    talk = known(ADA)
    talk.say("offer", *lines)
    asked = talk.said[-1]
    said = talk.say("help")
    assert said[0] == ENGLISH[f"offer.{place}.help"]
    assert said[-1] == asked
    assert talk.place == f"offer.{place}"


def test_menu_in_the_middle_offers_the_offer_back():
    """The word "menu" interrupts an offer, and the member can continue it."""
    talk = known(ADA)
    talk.say("offer", "10", "menu")
    assert talk.place == "carry_on.offered"
    talk.say("yes")
    assert talk.place == "offer.handle"
    talk.say("alan", "Home", "no")
    assert talk.place == "dashboard.menu"
    assert talk.made() == []


def test_the_quick_command_goes_to_the_account_check():
    """The shortcut answers amount and handle, and asks for the confirmation."""
    talk = known(ADA)
    assert talk.say("0.5=>@Alan") == ["Offer 0.50 USD\nfrom Ada Lovelace (@ada)\nto Alan Turing (@alan)?"]
    talk.say("yes")
    assert talk.made() == [("ada", "alan", "0.50 USD", "pending")]
    assert talk.place == "dashboard.menu"


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("99=>alan", "offer.amount"),
        ("x=>alan", "offer.amount"),
        ("1=>ada", "offer.handle"),
        ("1=>nobody", "offer.handle"),
        ("1=>a b", "offer.handle"),
    ],
)
def test_a_shortcut_with_a_refused_answer_asks_for_it(typed, place):
    """A shortcut with a refused answer asks for that answer."""
    talk = known(ADA)
    talk.say(typed)
    assert talk.place == place
    talk.say("cancel")
    assert talk.place == "dashboard.menu"
    assert talk.made() == []


def test_a_quick_command_with_no_flow_open_waits_for_the_login():
    """A shortcut as the first message makes no offer without a confirmation."""
    talk = Talk(ADA)
    talk.say("0.5=>alan")
    assert talk.place in ("offer.confirm", "dashboard.menu")
    assert talk.made() == []


def test_confirmed_twice_is_offered_once():
    """A repeated confirmation, redelivered or pressed again, makes one offer."""
    talk = known(ADA)
    talk.say("offer", "10", "alan")
    yes = talk.button("Yes, offer it")
    first = talk.send(choice=yes, id="once")
    assert talk.send(choice=yes, id="once") == first
    assert talk.outcome.status == "duplicate"
    assert talk.send(choice=yes)[0] == "That question is closed."
    talk.say("yes")
    assert talk.made() == ONE


def test_two_workers_confirm_and_it_is_offered_once():
    """A confirmation that two managers handle at the same time makes one offer."""
    one = known(ADA)
    two = Talk(ADA, core=one.core, store=one.store, at=one.at)
    one.say("offer", "10", "alan")
    yes = one.button("Yes, offer it")
    one.core.faults = [Fault("slow", call="createCredex", seconds=0.05)]
    start = threading.Barrier(2)

    def confirm(talk):
        start.wait()
        talk.send(choice=yes)

    threads = [threading.Thread(target=confirm, args=[talk]) for talk in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.made() == ONE


def test_a_core_that_is_down_when_confirming_costs_no_answer():
    """If credex-core is down at the confirmation, the member can confirm again."""
    talk = known(ADA)
    talk.say("offer", "10", "alan")
    talk.core.faults = [Fault("down", call="createCredex", times=1)]
    assert talk.say("yes")[0] == ENGLISH["core.not_done"]
    assert talk.place == "offer.confirm"
    assert talk.made() == []
    talk.say("yes")
    assert talk.made() == ONE


def test_a_core_that_is_down_when_looking_for_an_account_keeps_the_amount():
    """If credex-core is down at the lookup of the handle, the amount is kept."""
    talk = known(ADA)
    talk.core.faults = [Fault("down", call="getAccountByHandle", times=1)]
    talk.say("offer", "10", "alan")
    assert (talk.place, talk.data["amount"]["amount"]) == ("offer.handle", "10.00")
    talk.say("alan", "yes")
    assert talk.made() == ONE


def test_an_outage_at_login_is_one_apology_and_no_invitation():
    """If credex-core is down at the login, the reply apologises and does not offer a membership."""
    talk = Talk(ADA)
    talk.core.faults = [Fault("down")]
    for typed in ("hi", "hello?", "menu"):
        assert talk.say(typed) == [ENGLISH["core.down"], "Send anything to try again."], typed
        assert talk.place == "login.unavailable"
    assert len(talk.core.calls) == 3
    talk.core.faults = ()
    talk.say("again")
    assert talk.place == "dashboard.menu"


def test_an_outage_while_onboarding_keeps_the_names():
    """If credex-core is down at the registration, the names are kept."""
    talk = Talk(STRANGER)
    talk.say("hi", "1", "Emmy", "Noether")
    talk.core.faults = [Fault("down", times=1)]
    assert talk.say("yes")[0] == ENGLISH["core.not_done"]
    assert talk.place == "onboard.confirm"
    assert talk.say("yes")[0].startswith("Welcome, Emmy!")


def test_a_guest_who_is_a_member_by_now_is_logged_in_and_not_told_to_log_in():
    """If the number belongs to a member when the guest confirms, the member is logged in, with no other request."""
    talk = Talk(STRANGER)
    talk.say("hi", "1", "Emmy", "Noether")
    talk.core.onboard_member(firstname="Emmy", lastname="Noether", phone=STRANGER)
    said = talk.say("yes")
    assert said[0] == ENGLISH["core.member_exists"]
    assert talk.place == "dashboard.menu"
    assert "Please log in first." not in said


@pytest.mark.parametrize("typed", ["E", "R2D2", "Emmy😀", "<script>", "\u202eEmmy", " ", "x" * 51])
def test_a_name_that_is_none_is_refused(typed):
    """A text that is not a name is refused."""
    talk = Talk(STRANGER)
    talk.say("hi", "become_member", typed)
    assert (talk.place, talk.outcome.status) == ("onboard.firstname", "refused")
    talk.say(" Emmy ", typed)
    assert (talk.place, talk.data["firstname"]) == ("onboard.lastname", "Emmy")


def test_names_can_be_written_again():
    """A member who declines the confirmation can enter the names again."""
    talk = Talk(STRANGER)
    talk.say("hi", "become_member", "Emy", "Noether", "no", "Emmy", "Noether")
    assert talk.said == ["You are Emmy Noether. Is that right?"]


def test_a_guest_who_became_a_member_elsewhere_is_logged_in():
    """A registration of a number that has a member already leads to the login."""
    talk = Talk(STRANGER)
    talk.say("hi", "become_member", "Emmy", "Noether")
    talk.core.onboard_member(firstname="Emmy", lastname="Noether", phone=STRANGER)
    talk.say("yes")
    assert talk.said[0] == ENGLISH["core.member_exists"]
    assert talk.place == "dashboard.menu"


def test_a_lost_reply_offers_once():
    """An offer whose reply was lost once is made once."""
    talk = known(ADA)
    talk.core.faults = [Fault("lost", call="createCredex", times=1)]
    assert talk.say("offer", "10", "alan", "yes")[0].startswith("Your offer was made: 10.00 USD")
    assert talk.made() == ONE


def test_a_lost_reply_onboards_once():
    """A registration whose reply was lost once is made once."""
    talk = Talk(STRANGER)
    talk.core.faults = [Fault("lost", call="onboardMember", times=1)]
    assert talk.say("hi", "become_member", "Emmy", "Noether", "yes")[0].startswith("Welcome, Emmy!")


def test_an_offer_whose_outcome_stays_unknown_is_not_offered_for_confirmation_again():
    """An offer with an unknown outcome ends with that notice and cannot be confirmed again."""
    talk = known(ADA)
    talk.say("offer", "10", "alan")
    talk.core.faults = [Fault("lost", call="createCredex")]
    talk.say("yes")
    assert talk.place == "offer.creating"
    for _ in range(10):
        if talk.place != "offer.creating":
            break
        talk.at[0] += 31
        talk.say("well?")
    assert ENGLISH["offer.unsure"] in talk.said
    assert talk.place == "dashboard.menu"
    assert talk.made() == ONE


def test_a_token_that_ran_out_is_renewed_unnoticed():
    """After a 401 the token is renewed, and the offer is made with its key."""
    talk = known(ADA)
    talk.say("offer", "10", "alan")
    talk.core.expire_tokens()
    assert talk.say("yes")[0].startswith("Your offer was made: 10.00 USD")
    assert talk.made() == ONE
    assert [call.name for call in talk.core.calls[-3:]] == ["createCredex", "login", "createCredex"]
    assert talk.core.calls[-1].key == talk.core.calls[-3].key != ""


def test_an_offer_that_the_core_rejects_can_be_corrected():
    """The reply gives credex-core's reason, and the member can correct the offer."""
    talk = known(ALAN)
    talk.say("500=>grace", "yes", "500=>grace")
    assert talk.say("yes")[0] == "Your account holds 0.00 USD; please offer no more than that."
    assert talk.place == "offer.confirm"
    talk.say("back", "back", "cancel")
    assert talk.made() == [("alan", "grace", "500.00 USD", "pending")]


def test_an_image_is_answered():
    """An image at a question is refused, and the state stays."""
    talk = known(ADA)
    talk.say("offer")
    talk.send(kind="image")
    assert talk.place == "offer.amount"
    assert talk.outcome.status == "refused"


def test_a_session_that_ended_executes_no_stale_confirm():
    """A confirmation after the end of the session makes no offer; the member can continue the flow."""
    talk = known(ADA)
    talk.say("offer", "10", "alan")
    talk.at[0] += 301
    said = talk.say("yes")
    assert said[0] == "Your session ended after a while of silence."
    assert talk.made() == []
    assert talk.place == "carry_on.offered"
    talk.say("yes")
    assert talk.place == "offer.confirm"
    talk.say("yes")
    assert talk.made() == ONE


WORDS = """hi offer 10 30 alan ada nobody yes no back cancel help menu 1 2 0.5=>alan x=>y become_member Emmy Noether
shop_one offer_secured"""
NOISE = st.lists(st.sampled_from([*WORDS.split(), "1 xau", "", "\x00"]), max_size=2)
PATH = ["hi", "become_member", "Emmy", "Noether", "yes", "offer", "10", "alan", "yes", "0.5=>grace", "yes", "menu"]
LINES = st.tuples(*(NOISE for _ in PATH)).map(
    lambda noises: [line for word, noise in zip(PATH, noises, strict=True) for line in (*noise, word)]
)
FAULTS = st.lists(
    st.builds(Fault, st.sampled_from(["down", "401", "lost"]), times=st.integers(1, 3), chance=st.floats(0, 1)),
    max_size=3,
)


@examples(60)
@given(LINES, FAULTS, st.sampled_from([ADA, ALAN, KATHERINE, STRANGER]))
def test_no_conversation_fails_and_each_offer_is_confirmed(lines, faults, phone):
    """No conversation fails, and each offer has a confirmation, whatever the texts and the faults."""
    talk = Talk(phone)
    talk.core.faults = faults
    confirmed = 0
    for line in lines:
        at_confirm = talk.place == "offer.confirm"
        talk.say(line)
        confirmed += at_confirm and line in ("yes", "1")
        unknown = talk.place.endswith(".creating") and any(fault.kind == "lost" for fault in faults)
        assert talk.outcome.status in ("advanced", "refused", "ignored", "failed" if unknown else ""), talk.said
        assert talk.outcome.replies
        assert len(talk.made()) <= confirmed


def test_a_session_the_network_has_forgotten_leads_through_the_login():
    """If credex-core does not know the token, the member logs in again, and no offer is made."""
    talk = known(ADA)
    talk.say("offer", "1 USD", "alan")
    talk.core.faults = [Fault("401", times=100)]
    said = talk.say("yes")
    assert "logged in again" in said[0]
    talk.core.faults = []
    talk.say("yes")
    assert [made[:3] for made in talk.made()] == [("ada", "alan", "1.00 USD")]
    assert talk.place == "dashboard.menu"


# What flows require -------------------------------------------------------------------------------------------------


def perks_bot() -> Bot:
    """Return VimbisoPay with one more flow, for members of tier 2 and above."""
    perks = Flow(
        "perks",
        initial="shown",
        requires=[authenticated, tier(2)],
        states=[State("shown", ask=Text("Yours."))],
        transitions=[Transition("done_with_it", "shown", "shown")],
    )
    return attrs.evolve(flows.bot, flows=[*flows.bot.flows, perks], home=perks)


@pytest.mark.parametrize(("phone", "let_in"), [(ADA, False), (GRACE, True), (ALAN, True), (KATHERINE, True)])
def test_a_tier_is_required_after_the_login(phone, let_in):
    """A member without a session logs in first; then the tier decides."""
    talk = Talk(phone, bot=perks_bot())
    said = talk.say("hi")
    if phone == KATHERINE:
        said = talk.say("1")
    assert [call.name for call in talk.core.calls] == ["login"]
    assert talk.outcome.state.authenticated
    assert ("Yours." in said, "That is for members of tier 2 and above." in said) == (let_in, not let_in)
    assert talk.place == ("perks.shown" if let_in else "")


def test_a_tier_is_named_in_the_audit():
    """The name of the guard in the audit holds its tier."""
    assert (tier(2).__name__, tier(5).__name__) == ("tier_2", "tier_5")
