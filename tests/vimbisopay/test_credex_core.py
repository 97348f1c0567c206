"""The simulated credex-core: conservation of money, idempotency keys, tokens and faults."""

import datetime as dt
import inspect
import threading
import time
from decimal import Decimal

import attrs
import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.credex_core import (
    DECIMALS,
    Account,
    CredexCore,
    Fault,
    LedgerEntry,
    Receipt,
    Recipient,
    ReplyLost,
    Session,
    SimulatedCredexCore,
)
from vimbiso_fsm.document.json_codec import dumps, loads
from vimbiso_fsm.document.typed_data import structure, unstructure
from vimbiso_fsm.flow.calls import Caller
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused, Unreachable

ADA, ALAN, GRACE, KATHERINE = (f"26377100000{n}" for n in (1, 2, 3, 5))
DAY = dt.date(2026, 11, 22)


def money(text):
    """Return an amount from its text."""
    amount, currency = text.split()
    return Money(Decimal(amount), currency)


class Person:
    """A member with a token, whose calls have fresh keys."""

    def __init__(self, core, phone):
        self.core, self.channel = core, Channel("whatsapp", phone)
        session = core.login(phone=phone)
        assert isinstance(session, Session)
        self.session = session

    def caller(self, key=""):
        return Caller(key, "m", self.session.token, self.channel, self.channel.identifier)

    def account(self, handle):
        return next(a for a in self.core.login(caller=self.caller()).dashboard.accounts if a.handle == handle)

    def offer(self, handle, to, amount, key=""):
        receiver = self.core.get_account_by_handle(to, caller=self.caller())
        assert isinstance(receiver, Recipient)
        return self.core.create_credex(
            issuer=self.account(handle).id, receiver=receiver.id, amount=money(amount), caller=self.caller(key)
        )


@pytest.fixture
def core():
    """A simulated core without faults."""
    return SimulatedCredexCore()


def port(core: SimulatedCredexCore) -> CredexCore:
    """Return a simulator as the port, for the type checkers."""
    return core


# Who is there ------------------------------------------------------------------------------------------------------


def test_it_starts_with_the_members_of_the_domain(core):
    """The simulator starts with the members, balances and offers of the domain."""
    for phone, name, tier, remaining, accounts in (
        (ADA, "Ada Lovelace", 1, "25.00 USD", {"ada": "100.00 USD"}),
        (ALAN, "Alan Turing", 3, "0.00 USD", {"alan": "500.00 USD 1000.00 ZWG 2.0000 XAU"}),
        (GRACE, "Grace Hopper", 2, "100.00 USD", {"grace": "0.00 USD"}),
        (KATHERINE, "Katherine Johnson", 5, "0.00 USD", {"katherine": "50.00 USD", "shop_one": "250.00 USD"}),
    ):
        session = core.login(phone=phone)
        assert isinstance(session, Session)
        dashboard = session.dashboard
        assert f"{dashboard.firstname} {dashboard.lastname}" == name
        assert (dashboard.tier, str(dashboard.remaining_usd)) == (tier, remaining)
        held = {account.handle: " ".join(map(str, account.balances)) for account in dashboard.accounts}
        assert held | accounts == held
        assert all(account.owned for account in dashboard.accounts)
    alan = Person(core, ALAN).account("alan")
    assert [(o.handle, str(o.amount)) for o in alan.incoming] == [("ada", "5.00 USD"), ("shop_one", "7.50 USD")]
    assert (alan.incoming_count, alan.outgoing_count) == (2, 0)
    assert [(o.issuer, o.receiver, o.amount, o.denom, o.status) for o in core.offers] == [
        ("ada", "alan", Decimal("5.00"), "USD", "pending"),
        ("shop_one", "alan", Decimal("7.50"), "USD", "pending"),
    ]
    assert core.login(phone="263779999999") is None
    assert isinstance(core.login(phone="+263771000001"), Session)
    core.check_conservation()


def test_the_simulator_fits_the_port_word_for_word():
    """The simulator's methods have the signatures of the port."""
    for name, method in inspect.getmembers(CredexCore, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(SimulatedCredexCore, name)) == inspect.signature(method)


def test_the_same_seed_makes_the_same_core():
    """The seed determines ids and tokens, whatever the faults."""

    def lived(seed):
        core = SimulatedCredexCore(seed, clock=lambda: 1_700_000_000.0)
        session = core.onboard_member(firstname="Emmy", lastname="Noether", phone="1")
        return core.offers, core.login(phone=ADA), session

    assert lived(1) == lived(1)
    assert lived(1) != lived(2)
    calm = SimulatedCredexCore(clock=lambda: 1_700_000_000.0)
    stormy = SimulatedCredexCore(faults=[Fault("slow", chance=0.5)], clock=lambda: 1_700_000_000.0)
    assert calm.login(phone=ADA) == stormy.login(phone=ADA)


def test_onboarding_makes_a_member_with_an_account_once(core):
    """Onboarding makes one member with one account; repeated with its key, it issues another token."""
    caller = Caller("k", phone="263770000001")
    session = core.onboard_member(firstname="Emmy", lastname="Noether", caller=caller)
    (account,) = session.dashboard.accounts
    assert (account.handle, account.name, [str(m) for m in account.balances]) == (
        "emmy_noether",
        "Emmy Noether",
        ["20.00 USD"],
    )
    assert (session.dashboard.tier, str(session.dashboard.remaining_usd)) == (1, "25.00 USD")
    repeated = core.onboard_member(firstname="Emmy", lastname="Noether", caller=caller)
    assert repeated.dashboard == session.dashboard
    assert repeated.token != session.token  # the first may have run out before its answer arrives
    again = core.onboard_member(firstname="Emmy", lastname="Noether", caller=attrs.evolve(caller, key="l"))
    assert again == Refused("core.member_exists")
    core.check_conservation()


def test_handles_are_unique_and_well_formed(core):
    """A new account gets a unique handle of at most 24 letters, digits and underscores."""
    names = [("Emmy", "Noether"), ("EMMY", "noether"), ("李", "小龍"), ("O’Neill", "J. R."), ("x" * 50, "y" * 50)]
    sessions = [core.onboard_member(firstname=f, lastname=n, phone=str(i)) for i, (f, n) in enumerate(names)]
    handles = [session.dashboard.accounts[0].handle for session in sessions]
    assert handles == ["emmy_noether", "emmy_noether_2", "member", "oneill_jr", "x" * 24]
    refused = core.onboard_member(firstname="E", lastname="N", phone="x", default_denom="EUR")
    assert refused == Refused("core.rejected", reason="unknown denomination")


# Offers ------------------------------------------------------------------------------------------------------------


def test_an_offer_binds_money_and_accepting_moves_it(core):
    """An offer binds the balance of its issuer, and its acceptance transfers the amount."""
    alan, grace = Person(core, ALAN), Person(core, GRACE)
    receipt = alan.offer("alan", "grace", "300.00 USD")
    assert isinstance(receipt, Receipt)
    (account,) = receipt.dashboard.accounts
    assert (account.balance("USD"), account.outgoing_count) == (money("500.00 USD"), 1)
    assert alan.offer("alan", "grace", "200.01 USD") == Refused(
        "amount.balance", field="amount", held=money("200.00 USD")
    )
    accepted = core.accept_credex(receipt.id, caller=grace.caller())
    assert accepted.dashboard.accounts[0].balance("USD") == money("300.00 USD")
    assert alan.account("alan").balance("USD") == money("200.00 USD")
    assert core.offers[-1].status == "accepted"
    core.check_conservation()


def test_core_judges_every_offer(core):
    """Offers with a wrong account or amount, beyond the limit or beyond the balance are refused."""
    ada, alan = Person(core, ADA), Person(core, ALAN)
    mine, yours = ada.account("ada").id, alan.account("alan").id

    def create(issuer, receiver, amount):
        return core.create_credex(issuer=issuer, receiver=receiver, amount=amount, caller=ada.caller())

    for refused in (
        create(yours, mine, money("1 USD")),
        create(mine, mine, money("1 USD")),
        create(mine, "nobody", money("1 USD")),
        create(mine, "", money("1 USD")),
        create("treasury", mine, money("1 USD")),
        create(mine, "treasury", money("1 USD")),
        *(create(mine, yours, money(a)) for a in ("0 USD", "-1 USD", "1 EUR", "0.001 USD", "NaN USD", "Infinity USD")),
    ):
        assert refused.code == "core.rejected"
    assert create(mine, yours, money("25.01 USD")).code == "amount.limit"
    assert create(mine, yours, money("1 XAU")).code == "amount.balance"
    assert isinstance(create(mine, yours, money("25 USD")), Receipt)
    assert create(mine, yours, money("0.01 USD")) == Refused(
        "amount.limit", field="amount", remaining=Money(Decimal(0), "USD")
    )
    assert len(core.offers) == 3


def test_only_tier_5_offers_more_than_it_holds(core):
    """Only an account of a member of tier 5 can go below zero."""
    katherine = Person(core, KATHERINE)
    assert isinstance(katherine.offer("shop_two", "alan", "10.00 USD"), Receipt)
    assert isinstance(core.accept_credex(core.offers[-1].id, caller=Person(core, ALAN).caller()), Receipt)
    assert katherine.account("shop_two").balance("USD") == money("-10.00 USD")
    assert Person(core, GRACE).offer("grace", "alan", "0.01 USD").code == "amount.balance"
    core.check_conservation()


def test_each_offer_is_answered_once_and_by_the_right_side(core):
    """The receiver accepts or declines an offer and the issuer cancels it, once."""
    ada, alan, grace = (Person(core, phone) for phone in (ADA, ALAN, GRACE))
    gone = Refused("core.offer_gone")
    first, second = (offer.id for offer in core.offers)
    for stranger in (ada, grace):
        assert core.accept_credex(first, caller=stranger.caller()) == gone
        assert core.decline_credex(first, caller=stranger.caller()) == gone
    for stranger in (alan, grace):
        assert core.cancel_credex(first, caller=stranger.caller()) == gone
    assert isinstance(core.cancel_credex(first, caller=ada.caller()), Receipt)
    assert core.accept_credex(first, caller=alan.caller()) == gone
    assert isinstance(core.decline_credex(second, caller=alan.caller()), Receipt)
    assert core.decline_credex(second, caller=alan.caller()) == gone
    assert core.accept_credex("no such id", caller=alan.caller()) == gone
    assert [offer.status for offer in core.offers] == ["cancelled", "declined"]
    assert alan.account("alan").incoming == ()
    core.check_conservation()


def test_several_offers_are_accepted_all_or_none(core):
    """The bulk call accepts all offers, or none if one of them is not open."""
    alan = Person(core, ALAN)
    ids = [offer.id for offer in core.offers]
    assert core.accept_credex_bulk([*ids, "nothing"], caller=alan.caller()) == Refused("core.offer_gone")
    assert core.accept_credex_bulk([], caller=alan.caller()) == Refused("core.offer_gone")
    assert {offer.status for offer in core.offers} == {"pending"}
    receipt = core.accept_credex_bulk([*ids, ids[0]], caller=alan.caller())
    assert receipt.dashboard.accounts[0].balance("USD") == money("512.50 USD")
    core.check_conservation()


def test_the_ledger_tells_each_movement_from_both_sides(core):
    """A ledger lists the transfers of an account, latest first, with the sign of its side."""
    alan, ada = Person(core, ALAN), Person(core, ADA)
    core.accept_credex_bulk([offer.id for offer in core.offers], caller=alan.caller())
    mine = alan.account("alan").id
    entries = core.get_ledger(mine, caller=alan.caller())
    assert [(e.handle, str(e.amount)) for e in entries] == [
        ("shop_one", "7.50 USD"),
        ("ada", "5.00 USD"),
        ("", "2.0000 XAU"),
        ("", "1000.00 ZWG"),
        ("", "500.00 USD"),
    ]
    assert isinstance(entries[0], LedgerEntry)
    assert core.get_ledger(mine, start_row=1, num_rows=2, caller=alan.caller()) == entries[1:3]
    assert core.get_ledger(mine, start_row=9, caller=alan.caller()) == ()
    assert core.get_ledger(mine, start_row=-1, num_rows=-1, caller=alan.caller()) == ()
    assert str(core.get_ledger(ada.account("ada").id, caller=ada.caller())[0].amount) == "-5.00 USD"
    assert core.get_ledger(mine, caller=ada.caller()).code == "core.rejected"


def test_a_subscription_is_paid_and_raises_the_tier(core):
    """A subscription raises the tier after the first payment; one that cannot be paid is refused."""
    ada, grace, alan = (Person(core, phone) for phone in (ADA, GRACE, ALAN))

    def subscribe(person, handle, *, tier=3, amount="1.00 USD", days=28):
        return core.create_recurring(
            source_account_id=person.account(handle).id,
            member_tier=tier,
            amount=money(amount),
            pay_frequency=days,
            start_date=DAY,
            caller=person.caller(),
        )

    receipt = subscribe(ada, "ada")
    assert (receipt.dashboard.tier, str(receipt.dashboard.accounts[0].balance("USD"))) == (3, "99.00 USD")
    assert subscribe(grace, "grace") == Refused("core.insufficient_secured_balance", held=money("0.00 USD"))
    assert subscribe(alan, "alan").code == "core.rejected"
    assert subscribe(grace, "grace", amount="0 USD").code == "core.rejected"
    assert subscribe(grace, "grace", days=0).code == "core.rejected"
    core.check_conservation()


def test_net_assets_are_in_dollars(core):
    """Net assets are in US dollars, and a missing balance is zero."""
    assert str(Person(core, ALAN).account("alan").net_assets) == "5540.00 USD"
    assert Account().balance("XAU") == money("0.0000 XAU")
    assert str(Account().balance("XAU")) == "0.0000 XAU"


def test_a_conservation_that_is_broken_is_noticed(core):
    """The check of conservation finds changed balances and transfers."""
    core._handles["ada"].balances["USD"] += 1
    with pytest.raises(AssertionError, match="'ada' holds"):
        core.check_conservation()
    core = SimulatedCredexCore()
    core._transfers.append(attrs.evolve(core._transfers[0], source="nobody"))
    core._handles["ada"].balances["USD"] += core._transfers[0].money.amount
    with pytest.raises(AssertionError, match="balances sum to"):
        core.check_conservation()


def test_everything_it_answers_is_storable(core):
    """Each result survives a round trip through the codec."""
    alan = Person(core, ALAN)
    for value in (
        alan.session,
        alan.session.dashboard,
        core.get_account_by_handle("ada", caller=alan.caller()),
        core.accept_credex(core.offers[0].id, caller=alan.caller()),
    ):
        assert structure(loads(dumps(unstructure(value))), type(value)) == value


# Keys, tokens, faults ----------------------------------------------------------------------------------------------


def test_a_key_acts_once_and_answers_the_same(core):
    """A repeated key returns the first result, a refusal too; with other arguments it is refused."""
    ada = Person(core, ADA)
    first = ada.offer("ada", "alan", "1.00 USD", key="k")
    assert ada.offer("ada", "alan", "1.00 USD", key="k") == first
    assert len(core.offers) == 3
    assert ada.offer("ada", "alan", "2.00 USD", key="k") == Refused("core.key_reused")
    assert ada.offer("ada", "alan", "1.00 USD", key="l") != first
    refused = ada.offer("ada", "alan", "99.00 USD", key="m")
    assert refused.code == "amount.limit"
    assert ada.offer("ada", "alan", "99.00 USD", key="m") == refused
    assert [call.key for call in core.calls if call.name == "createCredex"] == ["k", "k", "k", "l", "m", "m"]


def test_a_key_acts_once_for_many_threads(core):
    """A key acts once, even if several threads use it at the same time."""
    ada = Person(core, ADA)
    issuer, receiver = ada.account("ada").id, core.get_account_by_handle("alan", caller=ada.caller()).id
    start, receipts = threading.Barrier(8), []

    def create():
        start.wait()
        caller = ada.caller("k")
        receipts.append(core.create_credex(issuer=issuer, receiver=receiver, amount=money("1.00 USD"), caller=caller))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receipts) == 8
    assert len({receipt.id for receipt in receipts}) == 1
    assert len(core.offers) == 3


def test_a_token_is_not_accepted_once_it_has_run_out(core):
    """An expired token is refused without an effect, and the key can still be used."""
    ran_out = Refused("core.unauthorised")
    at = [1_700_000_000.25]
    core.clock = lambda: at[0]
    ada = Person(core, ADA)
    issuer, receiver = ada.account("ada").id, core.get_account_by_handle("alan", caller=ada.caller()).id

    def offered(caller):
        return core.create_credex(issuer=issuer, receiver=receiver, amount=money("1.00 USD"), caller=caller)

    at[0] += 299.9
    assert core.get_account_by_handle("alan", caller=ada.caller()).handle == "alan"
    at[0] += 0.1
    assert core.get_account_by_handle("alan", caller=ada.caller()) == ran_out
    assert offered(ada.caller("k")) == ran_out
    assert len(core.offers) == 2
    renewed = Person(core, ADA)
    assert isinstance(offered(renewed.caller("k")), Receipt)
    assert isinstance(offered(renewed.caller("k")), Receipt)
    assert len(core.offers) == 3
    core.expire_tokens()
    assert core.get_account_by_handle("alan", caller=renewed.caller()) == ran_out


def test_a_token_has_a_subject_and_a_lifetime(core):
    """A token is a JSON Web Token with subject and lifetime, and two tokens of one second differ."""
    core.clock = lambda: 1_700_000_000.0
    first, second = core.login(phone=ADA), core.login(phone=ADA)
    said = jwt.decode(first.token, options={"verify_signature": False})
    assert (said["sub"], said["iat"], said["exp"]) == (first.dashboard.member_id, 1_700_000_000, 1_700_000_300)
    assert first.token != second.token


def test_a_call_without_a_token_is_refused(core):
    """A call without a valid token is unauthorised and has no effect."""
    ran_out = Refused("core.unauthorised")
    assert core.get_account_by_handle("ada") == ran_out
    stranger = Caller("k", "m", "no token", Channel("whatsapp", "263779999999"))
    assert core.accept_credex(core.offers[0].id, caller=stranger) == ran_out
    ada = Person(core, ADA)
    core.faults = [Fault("401", call="getAccountByHandle", times=1)]
    assert core.get_account_by_handle("alan", caller=ada.caller()) == ran_out
    assert core.get_account_by_handle("alan", caller=ada.caller()).handle == "alan"


def test_a_core_that_is_down_does_nothing(core):
    """While the core is down, calls have no effect and return `Unreachable`."""
    ada = Person(core, ADA)
    receipt = ada.offer("ada", "alan", "1.00 USD")
    core.faults = [Fault("down")]
    for answer in (core.login(phone=ADA), core.get_account_by_handle("alan", caller=ada.caller())):
        assert answer == Unreachable("core.down")
    for answer in (
        core.onboard_member(firstname="E", lastname="N", phone="1"),
        core.cancel_credex(receipt.id, caller=ada.caller("k")),
    ):
        assert answer == Unreachable("core.not_done")
    assert core.offers[-1].status == "pending"
    core.faults = ()
    assert isinstance(core.cancel_credex(receipt.id, caller=ada.caller("k")), Receipt)


def test_a_lost_reply_is_work_done(core):
    """A lost reply raises `ReplyLost` after the effect; a call that only reads returns `Unreachable`."""
    ada = Person(core, ADA)
    core.faults = [Fault("lost", times=1)]
    with pytest.raises(ReplyLost):
        core.cancel_credex(core.offers[0].id, caller=ada.caller("k"))
    assert core.offers[0].status == "cancelled"
    assert core.cancel_credex(core.offers[0].id, caller=ada.caller("k")).id == core.offers[0].id
    core.faults = [Fault("lost")]
    assert core.login(phone=ADA) == Unreachable("core.down")
    assert core.get_account_by_handle("alan", caller=ada.caller()) == Unreachable("core.down")


def test_faults_strike_the_calls_they_are_meant_for():
    """A fault applies to the calls that it names, as often and as likely as it says."""
    core = SimulatedCredexCore(faults=[Fault("down", call="login", times=2)])
    assert [core.login(phone=ADA) == Unreachable("core.down") for _ in range(3)] == [True, True, False]
    assert core.faults == (Fault("down", call="login", times=0),)
    core.faults = [Fault("down", chance=0.5)]
    struck = [isinstance(core.login(phone=ADA), Refused) for _ in range(100)]
    assert 20 < sum(struck) < 80
    core.faults = [Fault("slow", seconds=0.05)]
    began = time.monotonic()
    assert isinstance(core.login(phone=ADA), Session)
    assert time.monotonic() - began >= 0.05


# Programs ----------------------------------------------------------------------------------------------------------

PHONES = [ADA, ALAN, GRACE, KATHERINE]
HANDLES = ["ada", "alan", "grace", "katherine", "shop_one", "shop_two"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "create", "accept", "bulk", "decline", "cancel", "recurring", "onboard", "expire"]),
        st.sampled_from(PHONES),
        st.sampled_from(HANDLES),
        st.sampled_from(HANDLES),
        st.decimals(min_value=-1, max_value=600, places=2),
        st.sampled_from(sorted(DECIMALS)),
        st.integers(0, 20),
    ),
    max_size=40,
)
FAULTS = st.lists(
    st.builds(Fault, st.sampled_from(["down", "401", "lost"]), times=st.integers(1, 5), chance=st.floats(0, 1)),
    max_size=4,
)


def act(core, step, mine, yours, amount, number, caller):
    """Make one call of a generated program."""
    offer = core.offers[number % len(core.offers)]
    match step:
        case "create":
            return core.create_credex(issuer=mine, receiver=yours, amount=amount, caller=caller)
        case "accept":
            return core.accept_credex(offer.id, caller=caller)
        case "bulk":
            ids = [o.id for o in core.offers if o.receiver == offer.receiver and o.status == "pending"]
            return core.accept_credex_bulk(ids, caller=caller)
        case "decline":
            return core.decline_credex(offer.id, caller=caller)
        case "cancel":
            return core.cancel_credex(offer.id, caller=caller)
        case "recurring":
            return core.create_recurring(
                source_account_id=mine,
                member_tier=3,
                amount=amount,
                pay_frequency=28,
                start_date=DAY,
                caller=caller,
            )
        case "onboard":
            return core.onboard_member(firstname="E", lastname="N", phone=str(number), caller=caller)
        case _:
            return core.expire_tokens()


@settings(deadline=None)
@given(STEPS, FAULTS, st.integers(0, 5))
def test_no_program_makes_or_loses_money(steps, faults, seed):
    """No sequence of calls and faults makes or loses money, and a refused call has no effect."""
    core = SimulatedCredexCore(seed)
    ids = {account.handle: account.id for account in core._handles.values()}
    tokens = {phone: Person(core, phone).session.token for phone in PHONES}
    core.faults = faults
    for place, (step, phone, mine, yours, amount, denom, number) in enumerate(steps):
        caller = Caller(str(place), "m", tokens[phone], Channel("sms", phone))
        before = core.offers
        try:
            result = act(core, step, ids[mine], ids[yours], Money(amount, denom), number, caller)
        except ReplyLost:
            result = None
        if isinstance(result, Refused):
            assert core.offers == before
        core.check_conservation()
        for account in core._accounts.values():
            owner = next(m for m in core._phones.values() if m.id == account.owner)
            assert owner.tier == 5 or all(amount >= 0 for amount in account.balances.values())
