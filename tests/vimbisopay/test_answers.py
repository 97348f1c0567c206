"""Answers to offers, the ledger, the upgrade and the accounts: by the machine, then in conversations."""

from __future__ import annotations

import attrs
import pytest

from flows.answer_offers import Answer, accept, cancel, decline
from flows.choose_account import Choice, choose_account
from flows.credex_core import CredexCore, Fault, LedgerEntry, PendingOffer, SimulatedCredexCore
from flows.dashboard import dashboard
from flows.ledger import Ledger, ledger
from flows.members import KEPT
from flows.offer import Offer, offer
from flows.texts.english import ENGLISH
from flows.upgrade import upgrade
from tests.vimbisopay.test_flows import ADA, ALAN, GRACE, KATHERINE, codes, fire, known, member, money, turn
from vimbiso_fsm.flow.calls import call
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text

FIVE = PendingOffer("credex-1", "ada", "Ada Lovelace", money("5.00 USD"))
ONE_ZWG = PendingOffer("credex-2", "shop_one", "Shop One", money("1.00 ZWG"))
ENTRY = LedgerEntry("transfer-1", "ada", "Ada Lovelace", money("-5.00 USD"))


# By the machine alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [accept, decline, cancel], ids=lambda flow: flow.name)
@pytest.mark.parametrize(
    ("state", "trigger", "reason", "to"),
    [
        ("list", "answer", None, "confirm"),
        ("confirm", "yes", None, "answering"),
        ("confirm", "no", None, "list"),
        ("answering", "failed", "core.down", "confirm"),
        ("answering", "failed", "core.offer_gone", "refreshing"),
        ("answering", "failed", "call.unsure", "refreshing"),
        ("refreshing", "done", None, "refreshed"),
        ("refreshing", "cancelled", None, "refreshed"),
    ],
)
def test_the_three_faces_go_the_same_ways(flow, state, trigger, reason, to):
    """Accepting, declining and cancelling have the same transitions."""
    fired = fire(
        flow, state, trigger, who=member(ALAN), data=Answer((FIVE,)), answer=(FIVE,), reason=reason and Refused(reason)
    )
    assert fired.to == to


@pytest.mark.parametrize(("flow", "phone"), [(accept, ALAN), (decline, ALAN), (cancel, ADA)])
def test_the_list_comes_again_while_offers_remain(flow, phone):
    """After an answer the list is shown again, until no offers remain."""
    assert fire(flow, "answered", "auto", who=member(phone)).to == "list"
    assert fire(flow, "answered", "auto", who=member(GRACE)).to == "over"


def test_each_flow_proposes_its_own_call():
    """Each of the flows proposes its own call; several offers are accepted by the bulk call."""
    for flow, method in (
        (accept, CredexCore.accept_credex),
        (decline, CredexCore.decline_credex),
        (cancel, CredexCore.cancel_credex),
    ):
        send = flow["answering"].call
        assert send
        assert send(turn(flow, "answering", "", data=Answer((FIVE,)))) == call(method, "credex-1")
    send = accept["answering"].call
    assert send
    both = turn(accept, "answering", "", data=Answer((FIVE, ONE_ZWG)))
    assert send(both) == call(CredexCore.accept_credex_bulk, ["credex-1", "credex-2"])


def test_all_are_accepted_when_there_are_several():
    """All incoming offers can be accepted at once if there are at least two; they cannot be declined at once."""
    fired = fire(accept, "list", "accept_all", who=member(ALAN))
    assert (fired.to, [offer.handle for offer in fired.data.offers]) == ("confirm", ["ada", "shop_one"])
    core = SimulatedCredexCore()
    core._close(core.offers[0].id, "declined")
    assert fire(accept, "list", "accept_all", who=member(ALAN, core)).to is None
    assert fire(decline, "list", "accept_all", who=member(ALAN)).to is None


@pytest.mark.parametrize(
    ("trigger", "phone", "to"),
    [
        ("accept_offer", ALAN, "accepting"),
        ("accept_offer", ADA, None),
        ("decline_offer", ALAN, "declining"),
        ("decline_offer", GRACE, None),
        ("cancel_offer", ADA, "cancelling"),
        ("cancel_offer", ALAN, None),
        ("view_ledger", GRACE, "reading"),
        ("upgrade_membertier", ADA, "upgrading"),
        ("upgrade_membertier", GRACE, "upgrading"),
        ("upgrade_membertier", ALAN, None),
        ("upgrade_membertier", KATHERINE, None),
        ("switch_account", KATHERINE, "switching"),
        ("switch_account", ADA, None),
    ],
)
def test_a_row_of_the_dashboard_needs_the_right_to_use_it(trigger, phone, to):
    """A row of the dashboard is available only to a member who can use it."""
    assert fire(dashboard, "menu", trigger, who=member(phone)).to == to


@pytest.mark.parametrize(
    ("start", "entries", "trigger", "to", "asked"),
    [
        (0, 8, "next", "reading", 7),
        (0, 7, "next", None, 0),
        (7, 8, "next", "reading", 14),
        (0, 8, "prev", None, 0),
        (7, 1, "prev", "reading", 0),
        (0, 0, "dashboard", "left", 0),
    ],
)
def test_the_pages_of_the_ledger(start, entries, trigger, to, asked):
    """`prev` and `next` request the neighbouring page, as far as there is one."""
    shown = Ledger(0, start, (ENTRY,) * entries)
    fired = fire(ledger, "page", trigger, who=member(ADA), data=shown)
    assert (fired.to, fired.data) == (to, attrs.evolve(shown, asked=asked))
    if to == "reading":
        assert fire(ledger, "reading", "done", data=fired.data, answer=(ENTRY,)).data == Ledger(asked, asked, (ENTRY,))


def test_a_page_that_cannot_be_read_leaves_the_one_before():
    """After a failed request, the ledger still has the page that was shown."""
    talk = known(ALAN)
    for _ in range(5):
        talk.core._transfer(talk.core._handles["ada"], talk.core._handles["alan"], money("1.00 USD"))
    first = talk.say("ledger")
    talk.core.faults = [Fault("down", call="getLedger")]
    talk.say("next")
    assert talk.place == "ledger.unread"
    assert talk.say("back") == first
    talk.core.faults = []
    assert "8 to 8" in talk.say("next")[0]
    assert talk.say("prev") == first


def test_seven_entries_are_shown_and_eight_asked_for():
    """A page shows 7 entries, and 8 are requested."""
    read, page = ledger["reading"].call, ledger["page"].ask
    ada = member(ADA)
    assert read
    assert callable(page)
    proposed = read(turn(ledger, "reading", "", who=ada, data=Ledger(asked=7)))
    assert proposed == call(CredexCore.get_ledger, ada.current_account["id"], start_row=7, num_rows=8)
    shown = page(turn(ledger, "page", "", who=ada, data=Ledger(7, 7, (ENTRY,) * 8)))
    assert isinstance(shown, Text)
    assert (len(shown.params["entries"]), shown.params["first"], shown.params["last"]) == (7, 8, 14)


@pytest.mark.parametrize(
    ("state", "trigger", "reason", "phone", "to"),
    [
        ("confirm", "yes", None, ADA, "paying"),
        ("confirm", "no", None, ADA, "dropped"),
        ("paying", "failed", "core.insufficient_secured_balance", GRACE, "short"),
        ("paying", "failed", "core.balance_short", GRACE, "short"),
        ("paying", "failed", "core.down", ADA, "confirm"),
        ("paying", "failed", "call.unsure", ADA, "refreshing"),
        ("refreshing", "done", None, ADA, "unsure"),
        ("refreshing", "done", None, ALAN, "upgraded"),
        ("refreshing", "cancelled", None, ADA, "unsure"),
    ],
)
def test_the_ways_of_an_upgrade(state, trigger, reason, phone, to):
    """The outcome of the payment decides where an upgrade leads."""
    assert fire(upgrade, state, trigger, who=member(phone), reason=reason and Refused(reason)).to == to


@pytest.mark.parametrize(
    ("phone", "paying", "handles"),
    [
        (KATHERINE, "0 USD", ["katherine", "shop_one", "shop_two"]),
        (KATHERINE, "1000 USD", ["katherine", "shop_one", "shop_two"]),
        (ADA, "100.00 USD", ["ada"]),
        (ADA, "100.01 USD", []),
    ],
)
def test_the_accounts_to_choose_from_are_those_that_can_pay(phone, paying, handles):
    """The list of accounts holds those that can pay the amount."""
    rows = choose_account["choosing"].rows
    assert rows
    asked = turn(choose_account, "choosing", "", who=member(phone), data=Choice(money(paying)))
    assert [row.id for row in rows(asked)] == handles


def test_below_tier_5_an_account_that_cannot_pay_is_not_offered():
    """Below tier 5, an account that cannot pay the amount is not listed."""
    core = SimulatedCredexCore()
    core._phones[KATHERINE].tier = 4
    rows = choose_account["choosing"].rows
    assert rows
    asked = turn(choose_account, "choosing", "", who=member(KATHERINE, core), data=Choice(money("60.00 USD")))
    assert [row.id for row in rows(asked)] == ["shop_one"]


def test_another_amount_is_paid_from_the_account_in_use_again():
    """A new amount discards the choice of another account."""
    ten = Offer(money("10.00 USD"), "alan", own="shop_two")
    fired = fire(offer, "amount", "answer", who=member(KATHERINE), data=ten, answer=money("11.00 USD"))
    assert (fired.to, codes(fired)) == ("handle", [])
    katherine = known(KATHERINE)
    katherine.say("1", "offer", "10", "alan", "other_account", "shop_one", "back", "back", "11", "alan")
    assert "from Katherine Johnson (@katherine)" in katherine.said[-1]


def test_each_face_has_all_its_words():
    """Each of the flows has all its texts."""
    for flow in (accept, decline, cancel):
        for key in ("title", "list", "list.help", "confirm", "confirm.help", "answering", "answered"):
            assert f"{flow.name}.{key}" in ENGLISH
    assert {"accept_offer.confirm_all", "accept_offer.answered_all"} <= set(ENGLISH)


# Whole conversations -----------------------------------------------------------------------------------------------


def statuses(talk):
    """Return the statuses of all offers, after a check that money is conserved."""
    talk.core.check_conservation()
    return [offer.status for offer in talk.core.offers]


HIDDEN = {
    ADA: ["accept_offer", "decline_offer", "switch_account", "accept", "decline", "switch", "Switch account"],
    ALAN: ["cancel_offer", "upgrade_membertier", "switch_account", "upgrade"],
    GRACE: ["accept_offer", "decline_offer", "cancel_offer", "switch_account", "accept all"],
}


@pytest.mark.parametrize("phone", HIDDEN)
def test_a_hidden_row_is_refused_politely(phone):
    """A row that is not shown is refused, typed or pressed, and no call is made."""
    talk = known(phone)
    for hidden in HIDDEN[phone]:
        for way in ("text", "choice"):
            said = talk.send(**{way: hidden})
            assert said[0] == "That is not one of the choices.", hidden
            assert (talk.place, talk.outcome.status) == ("dashboard.menu", "refused")
    assert [call.name for call in talk.core.calls] == ["login"]


def test_a_row_that_was_shown_is_judged_again_when_it_is_pressed():
    """A well-formed choice of a row that the member may not use is refused."""
    talk = known(ALAN)
    shown = talk.button("Offer credex")
    said = talk.send(choice=shown.replace("offer_secured", "upgrade_membertier"))
    assert (said[0], talk.place) == ("That is not one of the choices.", "dashboard.menu")


@pytest.mark.parametrize(
    ("phone", "word", "place"),
    [
        (ADA, "offer", "offer.amount"),
        (ALAN, "accept", "accept_offer.list"),
        (ALAN, "decline", "decline_offer.list"),
        (ADA, "cancel_offer", "cancel_offer.list"),
        (ADA, "ledger", "ledger.page"),
        (ADA, "upgrade", "upgrade.confirm"),
        (KATHERINE, "switch", "choose_account.choosing"),
    ],
)
def test_a_word_chooses_its_row_and_cancel_leaves_it(phone, word, place):
    """A word of a row starts its flow, and cancel returns to the dashboard."""
    talk = known(phone)
    if phone == KATHERINE:
        talk.say("katherine")
    talk.say(f" {word.upper()} ")
    assert talk.place == place
    talk.say("x")
    assert talk.place == "dashboard.menu"
    assert {call.name for call in talk.core.calls} <= {"login", "getLedger"}


def test_nothing_is_answered_without_a_yes():
    """No offer is answered before the member confirms."""
    talk = known(ALAN)
    talk.say("accept", "1", "no", "2", "back", "accept all", "no", "menu", "no", "decline", "1", "menu", "no")
    assert talk.place == "dashboard.menu"
    assert statuses(talk) == ["pending", "pending"]


def test_all_at_once_shows_count_and_total_of_each_denomination():
    """The confirmation of all offers shows their number and a total for each denomination."""
    ada = known(ADA)
    ada.core._handles["ada"].balances["ZWG"] = ada.core._handles["alan"].balances["ZWG"] * 0
    ada.core._new_offer(ada.core._handles["alan"], ada.core._handles["ada"], money("1.00 ZWG"))
    ada.core._new_offer(ada.core._handles["alan"], ada.core._handles["ada"], money("2.00 ZWG"))
    ada.core._new_offer(ada.core._handles["alan"], ada.core._handles["ada"], money("0.5000 XAU"))
    talk = known(ADA, core=ada.core)
    talk.say("accept", "accept all")
    assert talk.said == ["Accept all 3 offers? In all:\n3.00 ZWG\n0.5000 XAU"]
    assert talk.say("back") == ["Which offer do you want to accept?"]  # three offers are no answer to show in words
    talk.say("accept_all")
    talk.say("yes")
    assert talk.place == "dashboard.menu"
    assert [call.name for call in talk.core.calls].count("acceptCredexBulk") == 1


def test_all_or_none():
    """If one of several offers is no longer open, none is accepted, and the list is shown anew."""
    talk = known(ALAN)
    talk.say("accept", "accept all")
    talk.core._close(talk.core.offers[0].id, "cancelled")
    assert talk.say("yes")[0] == ENGLISH["core.offer_gone"]
    assert talk.place == "accept_offer.list"
    assert statuses(talk) == ["cancelled", "pending"]


def test_a_flood_of_offers_can_be_accepted_as_it_is_listed():
    """All offers that a profile keeps can be accepted at once; then the next ones are listed."""
    core = SimulatedCredexCore()
    for number in range(100):
        giver = core._new_account(core._phones[KATHERINE], f"a_rather_long_handle_{number:09}", "Ünïcödé Nämé " * 4)
        core._new_offer(giver, core._handles["alan"], money("123456789.01 USD"))
        core._new_offer(core._handles["alan"], giver, money("123456789.01 USD"))
    talk = known(ALAN, core=core)
    assert talk.say("accept", "accept all")[0].startswith(f"Accept all {KEPT} offers?")
    talk.say("yes")
    assert (talk.place, talk.outcome.status) == ("accept_offer.list", "advanced")
    assert statuses(talk).count("accepted") == KEPT
    assert f"{102 - KEPT} in" in talk.say("menu")[0]


def test_the_last_offer_is_gone():
    """If the last offer is no longer open, the reply says so, and the flow ends at the dashboard."""
    talk = known(ADA)
    talk.say("cancel_offer", "1")
    talk.core._close(talk.core.offers[0].id, "accepted")
    assert talk.say("yes")[0] == ENGLISH["core.offer_gone"]
    assert talk.place == "dashboard.menu"
    assert "0 out" in talk.said[-1]


def test_a_list_that_could_not_be_refreshed_is_the_one_there_was():
    """If the dashboard cannot be requested again, the flow shows the stored list."""
    talk = known(ALAN)
    talk.say("accept", "1")
    talk.core._close(talk.core.offers[0].id, "cancelled")
    talk.core.faults = [Fault("down", call="login")]
    assert talk.say("yes")[:2] == [ENGLISH["core.offer_gone"], ENGLISH["core.down"]]
    assert talk.place == "accept_offer.list"


@pytest.mark.parametrize("word", ["accept", "decline"])
def test_an_answer_whose_outcome_stays_unknown_is_looked_up(word):
    """After an unknown outcome the dashboard is requested, and the list lacks the answered offer."""
    talk = known(ALAN)
    talk.core.faults = [Fault("lost", call=f"{word}Credex")]
    talk.say(word, "1", "yes")
    for _ in range(10):
        if not talk.place.endswith(".answering"):
            break
        talk.at[0] += 61
        talk.say("well?")
    assert "We could not find out whether that was done. Please check before you try again." in talk.said
    assert talk.place == f"{word}_offer.list"
    assert "@ada" not in str(talk.outcome.replies[-1])
    assert statuses(talk) == [f"{word}ed".replace("eed", "ed"), "pending"]


@pytest.mark.parametrize(
    ("phone", "words", "call"),
    [
        (ADA, ["offer", "10", "alan"], "createCredex"),
        (ADA, ["upgrade"], "createRecurring"),
        (ALAN, ["accept", "1"], "acceptCredex"),
        (ALAN, ["decline", "1"], "declineCredex"),
        (ADA, ["cancel_offer", "1"], "cancelCredex"),
    ],
)
def test_a_failed_look_at_the_account_does_not_say_that_nothing_was_done(phone, words, call):
    """After an unknown outcome, an outage at the request of the dashboard does not deny the effect that was made."""
    talk = known(phone)
    talk.say(*words)
    talk.core.faults = [Fault("lost", call=call), Fault("down", call="login")]
    heard = talk.say("yes")
    for _ in range(10):
        if "We could not find out" in " ".join(heard):
            break
        talk.at[0] += 61
        heard = heard + talk.say("well?")
    assert "We could not find out whether that was done. Please check before you try again." in heard
    assert "Sorry, we cannot reach the credex network right now." in heard
    assert "nothing was done" not in " ".join(heard)


def test_an_upgrade_is_paid_once_and_the_limit_is_gone():
    """An upgrade is paid once and ends the daily limit."""
    talk = known(ADA)
    talk.say("upgrade", "yes", "offer", "90")
    assert talk.place == "offer.handle"
    assert [call.name for call in talk.core.calls].count("createRecurring") == 1
    assert str(talk.core._handles["ada"].balances["USD"]) == "99.00"
    talk.core.check_conservation()


def test_an_upgrade_that_was_made_elsewhere_is_not_made_again():
    """An upgrade of a member who has the tier already is refused and costs nothing."""
    talk = known(ADA)
    talk.say("upgrade")
    talk.core._phones[ADA].tier = 3
    assert talk.say("yes")[0].startswith("The credex network refused it")
    assert talk.place == "upgrade.confirm"
    assert str(talk.core._handles["ada"].balances["USD"]) == "100.00"


def test_the_account_switched_to_is_used():
    """After a switch of account, the dashboard, the ledger and offers use the new one."""
    talk = known(KATHERINE)
    talk.say("katherine", "switch", "2")
    assert talk.said[-1].startswith("Shop One (@shop_one)")
    talk.say("ledger")
    assert "Ledger of Shop One" in talk.said[-1]
    talk.say("dashboard", "offer", "1", "alan", "yes")
    assert talk.made()[-1][0] == "shop_one"
