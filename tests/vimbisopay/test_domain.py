"""The rules of the domain, each in every state where it applies."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import count, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flows
from flows.answer_offers import incoming
from flows.credex_core import DECIMALS, Fault, SimulatedCredexCore
from flows.ledger import PAGE
from flows.members import FRESH, KEPT, me
from flows.offer import money as read_amount
from flows.offer import offer
from flows.texts.english import ENGLISH
from tests.examples import examples
from tests.places import ASKED, PLACES, kept, talking
from tests.vimbisopay.test_flows import ADA, ALAN, GRACE, KATHERINE, Talk, codes, fire, known, member, money, turn
from vimbiso_fsm.channels import sms, telegram, whatsapp
from vimbiso_fsm.flow.commands import Commands
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Row
from vimbiso_fsm.runtime.flow_state import FlowStateManager

WORDS = Commands()
GREETINGS = [
    "hi", "hie", "hy", "hey", "hello", "start", "menu", "home", "mhoro", "makadii", "sawubona", "jambo", "habari",
    "bonjour", "salut", "hola", "buenos dias",
]  # fmt: skip
HOME = ("dashboard.menu", "onboard.welcome")
"""The home of a member, and of a guest."""
ASKS = {"login", "getAccountByHandle", "getLedger"}
"""The calls that change nothing."""


def choices(talk: Talk) -> Sequence[Button | Row]:
    """Return the choices of a question as they are shown."""
    match talk.outcome.replies[-1]:
        case Buttons(buttons=shown) | Menu(rows=shown):
            return shown
        case _:
            return ()


def bare(choice: Button | Row) -> str:
    """Return the id of a choice without its run."""
    return choice.id[9:].lstrip("=#")


def keys(talk: Talk) -> list[str]:
    """Return the keys of the texts that were replied."""
    return [getattr(reply, "body", reply).key for reply in talk.outcome.replies]


def effects(talk: Talk) -> list[str]:
    """Return the calls so far that may have had an effect."""
    return [call.name for call in talk.core.calls if call.name not in ASKS]


class Live:
    """A conversation by the wall clock."""

    _ids = count()

    def __init__(self, manager: FlowStateManager, phone: str) -> None:
        self.manager, self.channel = manager, Channel("whatsapp", phone)

    def say(self, *lines: str) -> Any:
        return [self.manager.handle(Message(self.channel, f"d{next(self._ids)}", line)) for line in lines][-1]


def test_every_question_is_come_to() -> None:
    """The table of places holds each question of the bot."""
    assert set(PLACES) == ASKED


# The words that always work ----------------------------------------------------------------------------------------

ANSWERED = [
    "onboard.lastname", "onboard.confirm", "offer.handle", "offer.confirm", "accept_offer.confirm",
    "decline_offer.confirm", "cancel_offer.confirm",
]  # fmt: skip
"""Questions at which answers can be lost."""


@pytest.mark.parametrize("word", [*GREETINGS, " HI ", "Buenos  Dias", "MENU\n"])
def test_each_greeting_leads_home(word: str) -> None:
    """A greeting leads home, after an offer to continue if the flow has answers."""
    talk = talking("offer.amount")
    talk.say(word)
    assert (talk.place, talk.outcome.status) == ("dashboard.menu", "advanced")
    talk = talking("offer.handle")
    talk.say(word)
    assert talk.place == "carry_on.offered"


@pytest.mark.parametrize("place", PLACES)
def test_menu_leads_home_from_everywhere(place: str) -> None:
    """The word "menu" offers the interrupted question back, which yes continues and no or another menu leaves."""
    talk = talking(place)
    asked, before = talk.said[-1], kept(talk)
    talk.say("Menu")
    if place in ANSWERED:
        assert talk.place == "carry_on.offered"
    else:
        assert talk.place == ("onboard.welcome" if talk.outcome.state.guest else "dashboard.menu")
    if place in ANSWERED:
        talk.say("yes")
        assert (talk.place, talk.said[-1]) == (place, asked)
        assert kept(talk)[1:] == before[1:]
        talk.say("menu", "menu")
        assert talk.place in HOME
    assert effects(talk) == []


@pytest.mark.parametrize("word", ["cancel", " Stop ", "EXIT", "x"])
@pytest.mark.parametrize("place", PLACES)
def test_cancel_ends_it_everywhere_and_sends_nothing(place: str, word: str) -> None:
    """The word "cancel" leads home from each question, and a later yes confirms nothing."""
    talk = talking(place)
    talk.say(word)
    assert talk.place in HOME
    assert [run.flow for run in talk.outcome.state.suspended if run.waits == "asked"] == []
    talk.say("yes")
    assert effects(talk) == []
    assert [offer.status for offer in talk.core.offers] == ["pending", "pending"]


@pytest.mark.parametrize("word", ["help", " HELP ", "?"])
@pytest.mark.parametrize("place", PLACES)
def test_help_says_the_global_words_and_asks_again(place: str, word: str) -> None:
    """The word "help" replies with the help of the question, the global words and the question."""
    talk = talking(place)
    asked, before = talk.said[-1], kept(talk)
    talk.say(word)
    own = [f"{place}.help"] if f"{place}.help" in flows.bot.catalogue else []
    assert keys(talk)[:-1] == [*own, "help.words"]
    assert own or place == "carry_on.offered"
    assert (talk.said[-1], kept(talk)) == (asked, before)


BEFORE = {
    "onboard.firstname": ("onboard.welcome", None),
    "onboard.lastname": ("onboard.firstname", "Emmy"),
    "onboard.confirm": ("onboard.lastname", "Noether"),
    "offer.handle": ("offer.amount", "10"),
    "offer.confirm": ("offer.handle", "alan"),
    "accept_offer.confirm": ("accept_offer.list", "5.00"),
    "decline_offer.confirm": ("decline_offer.list", "5.00"),
    "cancel_offer.confirm": ("cancel_offer.list", "5.00"),
}
"""The question before, and what it was answered with."""


@pytest.mark.parametrize("place", PLACES)
def test_back_leads_to_the_question_before_with_its_answer(place: str) -> None:
    """The word "back" leads to the question before and keeps the answers; at a first question the reply says so."""
    talk = talking(place)
    before = kept(talk)
    data = talk.data
    talk.say(" Back ")
    asked, answer = BEFORE.get(place, (place, None))
    assert (talk.place, talk.data) == (asked, data)
    if place not in BEFORE:
        assert keys(talk)[0] == "back.nowhere"
        assert kept(talk) == before
    elif answer:
        assert keys(talk)[0] == "back.earlier"
        assert answer in talk.said[0]


@pytest.mark.parametrize(("words", "trigger"), [(WORDS.yes, "yes"), (WORDS.no, "no")], ids=["yes", "no"])
@pytest.mark.parametrize("place", PLACES)
def test_yes_and_no_count_where_they_are_shown(place: str, words: frozenset[str], trigger: str) -> None:
    """The words of yes and no press these buttons where they are shown, and nothing elsewhere."""
    pressed = talking(place)
    button = next((choice for choice in choices(pressed) if bare(choice) == trigger), None)
    if button is None:
        return
    pressed.send(choice=button.id)
    for word in sorted(words):
        typed = talking(place)
        typed.say(f" {word.upper()} ")
        assert (typed.place, keys(typed)) == (pressed.place, keys(pressed)), word


@pytest.mark.parametrize("place", PLACES)
def test_a_choice_is_its_number_its_id_and_its_title(place: str) -> None:
    """A choice can be typed as its number, its id or its title, in any case."""
    shown = choices(talking(place))
    for number, choice in enumerate(shown, 1):
        pressed = talking(place)
        pressed.send(choice=choices(pressed)[number - 1].id)
        typed = [str(number), f" {number}\n", bare(choice), bare(choice).upper(), choice.title.text.swapcase()]
        for text in typed:
            for way in ("text", "choice"):
                talk = talking(place)
                talk.send(**{way: text})
                assert (talk.place, keys(talk)) == (pressed.place, keys(pressed)), (text, way)
    for beyond in ("0", str(len(shown) + 1), "-1", "1.0", "01x"):
        if shown:
            talk = talking(place)
            before = kept(talk)
            talk.say(beyond)
            assert (talk.outcome.status, kept(talk), keys(talk)[0]) == ("refused", before, "choice.unknown"), beyond


@pytest.mark.parametrize("place", [place for place in PLACES if place != "login.unavailable"])
def test_after_three_refusals_help_after_six_the_menu(place: str) -> None:
    """Three refusals in a row lead to the help and six to the menu; an accepted answer resets the count."""
    talk = talking(place)
    before = kept(talk)
    met = []
    for _ in range(7):
        talk.say("?!#")
        assert (talk.outcome.status, kept(talk)) == ("refused", before)
        met.append(("help.words" in keys(talk), "limits.menu" in keys(talk)))
    assert met == [(number == 3, number == 6) for number in range(1, 8)]


def test_a_refusal_of_credex_core_counts() -> None:
    """An unknown handle counts as a refusal, and an outage does not."""
    talk = talking("offer.handle")
    met = []
    for text in ("nobody_1", "?!#", "nobody_2", "nobody_3", "nobody_4", "?!#"):
        talk.say(text)
        met.append(("help.words" in keys(talk), "limits.menu" in keys(talk)))
        assert talk.place == "offer.handle"
        assert keys(talk)[-1] == "offer.handle"
    assert met == [(number == 3, number == 6) for number in range(1, 7)]
    talk.say("alan", "back", "nobody_5")
    assert keys(talk) == ["handle.unknown", "offer.handle"]
    talk.core.faults = [Fault("down", call="getAccountByHandle")]
    for _ in range(7):
        talk.say("alan")
        assert keys(talk) == ["core.down", "offer.handle"]


def test_every_help_of_a_typed_answer_has_an_example() -> None:
    """The help of each typed question holds an example."""
    typed = [place for place in PLACES if flows.bot.flow(place.split(".")[0])[place.split(".")[1]].reads]
    for place in typed:
        assert place == "login.unavailable" or "for example" in str(ENGLISH[f"{place}.help"])


# The dashboard -----------------------------------------------------------------------------------------------------

ROWS = [
    "offer_secured", "accept_offer", "decline_offer", "cancel_offer", "view_ledger", "upgrade_membertier",
    "switch_account",
]  # fmt: skip
TITLES = {"offer": "offer_secured", "accept": "accept_offer", "decline": "decline_offer", "ledger": "view_ledger",
          "upgrade": "upgrade_membertier", "switch": "switch_account"}  # fmt: skip


@pytest.mark.parametrize(
    ("held", "tier", "left", "offers"),
    [
        ("0.00", 1, "10.00", False),
        ("0.01", 1, "10.00", True),
        ("50.00", 1, "0.00", False),  # the limit of the day is used up
        ("50.00", 3, "0.00", True),
        ("0.00", 5, "0.00", True),  # a member of tier 5 may owe
    ],
)
def test_an_offer_is_begun_where_an_amount_can_be_offered(held: str, tier: int, left: str, offers: bool) -> None:
    """Where no amount can be offered, the menu has no row for it, and a shortcut says so in place of a question."""
    core = SimulatedCredexCore()
    core._phones[GRACE].tier, core._phones[GRACE].remaining = tier, Decimal(left)
    core._handles["grace"].balances["USD"] = Decimal(held)
    talk = known(GRACE, core=core)
    assert ("offer_secured" in [bare(choice) for choice in choices(talk)]) is offers
    talk.say("0.01=>alan")
    assert (talk.place == "dashboard.menu") is not offers
    assert ("offer.nothing" in keys(talk)) is not offers


@pytest.mark.parametrize("tier", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("came_in", "went_out", "several"), list(product([False, True], repeat=3)))
def test_the_rows_of_the_dashboard(tier: int, came_in: bool, went_out: bool, several: bool) -> None:
    """The dashboard shows the rows that the member may use, and any other row is refused."""
    core = SimulatedCredexCore()
    core._phones[GRACE].tier = tier
    grace, ada = core._handles["grace"], core._handles["ada"]
    if came_in:
        core._new_offer(ada, grace, money("1.00 USD"))
    if went_out:
        core._new_offer(grace, ada, money("1.00 USD"))
    if several:
        core._new_account(core._phones[GRACE], "grace_two", "Grace Two")
    talk = known(GRACE, core=core)
    if talk.place == "choose_account.choosing":
        talk.say("grace")
    shows = {
        "offer_secured": tier >= 5,  # the account holds nothing
        "accept_offer": came_in,
        "decline_offer": came_in,
        "cancel_offer": went_out,
        "view_ledger": True,
        "upgrade_membertier": tier <= 2,
        "switch_account": several,
    }
    assert [bare(choice) for choice in choices(talk)] == [row for row in ROWS if shows[row]]
    assert (keys(talk)[-1] == "dashboard.limited") is (tier <= 2)
    before, calls = kept(talk), len(talk.core.calls)
    for hidden in [row for row in ROWS if not shows[row]]:
        words = [word for word, row in TITLES.items() if row == hidden]
        for way, said in product(("text", "choice"), [hidden, hidden.upper(), *words]):
            talk.send(**{way: said})
            assert (talk.outcome.status, keys(talk)[0], kept(talk)) == ("refused", "choice.unknown", before), said
        forged = choices(talk)[0].id.replace(bare(choices(talk)[0]), hidden)
        talk.send(choice=forged)
        assert (talk.outcome.status, kept(talk)) == ("refused", before)
    assert len(talk.core.calls) == calls


def test_a_greeting_requests_the_dashboard_again() -> None:
    """A greeting requests the dashboard again, unless it is current."""
    clock = [1_760_000_000.0]
    core = SimulatedCredexCore(clock=lambda: clock[0])
    with FlowStateManager.in_memory("flows", services={"credex_core": core}, clock=lambda: clock[0]) as manager:
        alan, ada = Live(manager, ALAN), Live(manager, ADA)
        alan.say("hi")
        ada.say("hi", "3=>alan", "yes")
        clock[0] += FRESH.total_seconds()
        assert alan.say("menu").replies[-1].body.params["incoming"] == 2
        clock[0] += 0.1
        greeted = alan.say("menu")
        assert greeted.replies[-1].body.params["incoming"] == 3
        alan.say("accept", "3", "yes")
        assert core.offers[-1].status == "accepted"
        core.check_conservation()


def test_a_greeting_during_an_outage_shows_the_stored_dashboard() -> None:
    """A greeting during an outage shows an apology and the stored dashboard, and keeps the login."""
    clock = [1_760_000_000.0]
    core = SimulatedCredexCore(clock=lambda: clock[0])
    with FlowStateManager.in_memory("flows", services={"credex_core": core}, clock=lambda: clock[0]) as manager:
        ada = Live(manager, ADA)
        before = ada.say("hi").state
        core.faults = [Fault("down")]
        clock[0] += 11
        greeted = ada.say("hello")
        assert greeted.replies[0].key == "core.down"
        assert (greeted.state.run.flow, greeted.state.run.step) == ("dashboard", "menu")
        assert (greeted.state.authenticated, greeted.state.profile) == (True, before.profile)


def test_a_language_that_was_chosen_stays() -> None:
    """A chosen language survives updates of the dashboard."""
    with FlowStateManager.in_memory("flows", services={"credex_core": SimulatedCredexCore()}) as manager:
        ada = Live(manager, ADA)
        spoken = ada.say("hi", "shona").replies[-1].text
        assert ada.say("menu").replies[-1].text == spoken
        ada.say("1=>alan", "yes")
        assert ada.say("menu").state.profile["language"] == "sn"


@pytest.mark.parametrize(
    ("waiting", "listed"),
    [([17, *[0] * 14], [17, *[0] * 14]), ([50, 5, 5], [50, 5, 5]), ([100, 100, 1], [29, 29, 1]), ([100], [KEPT])],
    ids=str,
)
def test_an_account_lists_its_offers_though_others_have_none(waiting: list[int], listed: list[int]) -> None:
    """The bound of stored offers is shared by the accounts that have offers."""
    core = SimulatedCredexCore()
    for number, offers in enumerate(waiting):
        new = core._new_account(core._phones[GRACE], f"grace_{number}", "Grace") if number else None
        for _ in range(offers):
            core._new_offer(core._handles["ada"], new or core._handles["grace"], money("0.01 USD"))
    grace = me(turn(flows.bot.home, "menu", "", who=member(GRACE, core)))
    assert [len(incoming(account)) for account in grace.accounts] == listed
    assert [account.incoming_count for account in grace.accounts] == waiting


# Amounts -----------------------------------------------------------------------------------------------------------

FORMS = ["{n} {d}", "{d} {n}", "{n}{d}", "{d}{n}", "{n} ({d})", "({d}) {n}", "{n}({d})", " {n}  {d} "]


@settings(deadline=None)
@given(st.sampled_from(sorted(DECIMALS)), st.integers(1, 10**11 - 1), st.data())
def test_an_amount_is_read_exactly_in_every_form(denom: str, units: int, data: st.DataObject) -> None:
    """An amount is read digit by digit, with the decimals of its denomination, in any order and case."""
    given = data.draw(st.integers(0, DECIMALS[denom]))
    amount = Decimal(units).scaleb(-given)
    form = data.draw(st.sampled_from(FORMS if denom != "USD" else [*FORMS, "{n}"]))
    cased = data.draw(st.sampled_from([denom, denom.lower(), denom.title()]))
    read = read_amount(form.format(n=f"{amount:f}", d=cased))
    assert isinstance(read, Money)
    assert (read.amount, read.currency) == (amount, denom)
    assert -read.amount.as_tuple().exponent == DECIMALS[denom]  # type: ignore[operator]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_nothing_else_is_an_amount(text: str) -> None:
    """An amount is positive and consists of ASCII digits, at most one point and at most one denomination."""
    read = read_amount(text)
    assert isinstance(read, Refused) or (
        read.amount > 0 and set(text.upper()) <= set("0123456789.() \t\n\r\u00a0") | set("USDZWGCADXAUCXX")
    )


@examples(200)
@given(
    st.sampled_from([1, 2, 3, 4, 5]),
    st.sampled_from(sorted(DECIMALS)),
    st.integers(0, 2000),
    st.integers(1, 2000),
    st.integers(0, 2000),
)
def test_an_amount_is_accepted_within_limit_and_balance(
    tier: int, denom: str, held: int, offered: int, left: int
) -> None:
    """Tier 1 is bound by the daily limit in US dollars, and each tier below 5 by the balance."""
    amount = Money(Decimal(offered).scaleb(-DECIMALS[denom]), denom)
    core = SimulatedCredexCore()
    core._phones[GRACE].tier, core._phones[GRACE].remaining = tier, Decimal(left).scaleb(-2)
    core._handles["grace"].balances = {denom: Decimal(held).scaleb(-DECIMALS[denom])}
    fired = fire(offer, "amount", "answer", who=member(GRACE, core), answer=amount)
    over = tier == 1 and denom == "USD" and offered > left
    short = tier < 5 and offered > held
    assert fired.to == (None if over or short else "handle")
    assert (codes(fired)[:1] == ["amount.limit"]) is over


@pytest.mark.parametrize(
    ("typed", "place", "code"),
    [
        ("0.5=>alan", "offer.confirm", ""),
        ("0.5 => @ALAN", "offer.confirm", ""),
        ("usd 0.5=>alan", "offer.confirm", ""),
        ("0=>alan", "offer.amount", "amount.zero"),
        ("1e1=>alan", "offer.amount", "amount.format"),
        ("1 EUR=>alan", "offer.amount", "amount.currency"),
        ("25.01=>alan", "offer.amount", "amount.limit"),
        ("1=>ada", "offer.handle", "handle.own"),
        ("1=>nobody", "offer.handle", "handle.unknown"),
        ("1=>a=>b", "offer.handle", "handle.format"),
    ],
)
def test_the_quick_command_from_home_and_with_no_flow_open(typed: str, place: str, code: str) -> None:
    """The shortcut works from the dashboard and as the first message, with a login in between."""
    for talk in (known(ADA), Talk(ADA)):
        talk.say(typed)
        assert talk.place == place
        assert not code or code in keys(talk)
        assert effects(talk) == []
    if not code:
        talk.say("yes")
        assert talk.made() == [("ada", "alan", "0.50 USD", "pending")]
    for elsewhere in ("offer.amount", "accept_offer.list", "onboard.firstname"):
        talk = talking(elsewhere)
        talk.say(typed)
        assert (talk.place, talk.outcome.status) == (elsewhere, "refused")


# Lists and pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [1, 2, 9, 10, 11, 15, 25, 40])
@pytest.mark.parametrize("flow", ["accept", "decline", "cancel_offer"])
def test_every_offer_can_be_reached_ten_rows_at_a_time(flow: str, waiting: int) -> None:
    """The pages of a long list hold each offer once, in order, with at most ten rows."""
    core = SimulatedCredexCore()
    ada, grace = core._handles["ada"], core._handles["grace"]
    for number in range(waiting):
        giver, taker = (grace, ada) if flow == "cancel_offer" else (ada, grace)
        core._new_offer(giver, taker, money(f"{number + 1}.00 USD"))
    talk = known(GRACE, core=core)
    talk.say(flow)
    met: list[str] = []
    for _ in range(10):
        ids = [bare(choice) for choice in choices(talk)]
        assert 0 < len(ids) <= 10
        met += [each for each in ids if each.startswith("credex-")]
        assert ("accept_all" in ids) is (flow == "accept" and waiting > 1)
        if "next" not in ids:
            break
        talk.say("Next")
    assert met == [each.id for each in core.offers[2:]]
    talk.say(*["prev"] * 9)
    assert bare(choices(talk)[0]) == met[0]


@pytest.mark.parametrize("owned", [2, 10, 11, 23])
def test_every_account_can_be_reached_ten_rows_at_a_time(owned: int) -> None:
    """The pages of a long list hold each account of the member, and no other account can be chosen."""
    core = SimulatedCredexCore()
    for number in range(1, owned):
        core._new_account(core._phones[ADA], f"ada_{number}", f"Ada {number}")
    for last in (f"ada_{owned - 1}", "ada"):
        talk = known(ADA, core=core)
        talk.say("switch")
        for _ in range(owned):
            assert len(choices(talk)) <= 10
            if last in [bare(choice) for choice in choices(talk)]:
                break
            talk.say("next")
        for other in ("alan", "ada_99", "shop_one"):
            talk.say(other)
            assert (talk.outcome.status, talk.place) == ("refused", "choose_account.choosing")
        talk.say(last.upper())
        assert (talk.place, talk.outcome.state.current_account["handle"]) == ("dashboard.menu", last)


@pytest.mark.parametrize("entries", [0, 1, 6, 7, 8, 14, 15])
def test_the_ledger_a_page_at_a_time(entries: int) -> None:
    """The pages of the ledger hold each entry once, with `next` and `prev` where there is a page."""
    core = SimulatedCredexCore()
    for number in range(entries):
        core._transfer(core._handles["ada"], core._handles["grace"], money(f"{number + 1}.00 USD"))
    talk = known(GRACE, core=core)
    talk.say("ledger")
    pages = max(1, -(-entries // PAGE))
    seen = 0
    for page in range(pages):
        ids = [bare(choice) for choice in choices(talk)]
        assert ids == ["prev"] * (page > 0) + ["next"] * (page < pages - 1) + ["dashboard"]
        seen += talk.said[-1].count("\n")
        assert f"{entries - page * PAGE}.00 USD" in talk.said[-1] or not entries
        if page < pages - 1:
            talk.say("next")
    assert seen == entries
    talk.say(*["prev"] * (pages - 1))
    assert (f"{entries}.00 USD" in talk.said[-1]) is (entries > 0)
    talk.say("dashboard")
    assert talk.place == "dashboard.menu"


# The session -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_session_that_ended_is_told_of_and_nothing_is_done(place: str) -> None:
    """A confirmation after the end of a session has no effect; after a login the flow can be continued."""
    for press in (True, False):
        talk = talking(place)
        shown = choices(talk)
        talk.at[0] += 301
        if press and shown:
            talk.send(choice=shown[0].id)
        else:
            talk.say("yes")
        assert keys(talk)[0] == "session.ended"
        assert effects(talk) == []
        open_flow = place in ANSWERED and not place.startswith("onboard")
        assert ("session.unsent" in keys(talk)) is (place in ANSWERED or place == "carry_on.offered")
        if open_flow:
            assert talk.place == "carry_on.offered"
            talk.say("yes")
            assert talk.place == place


# What the channels take --------------------------------------------------------------------------------------------


def rich() -> SimulatedCredexCore:
    """Return a core in which the texts and lists about Alan are as long as possible."""
    core = SimulatedCredexCore()
    name = ("Тест Имя 名前 " * 6)[:50]
    alan = core._handles["alan"]
    alan.name = core._phones[ALAN].firstname = name
    for denom in DECIMALS:
        core._transfer(core._treasury, alan, Money(Decimal("99999999999.99"), denom))
    giver = core._new_account(core._phones[KATHERINE], "x" * 30, name)
    for number in range(15):
        amount = Money(Decimal(f"9999999999.{number:02}"), "CXX")
        core._new_offer(giver, alan, amount)
        core._new_offer(alan, giver, amount)
        core._transfer(giver, alan, amount)
        core._new_account(core._phones[ALAN], f"{'y' * 28}{number:02}", name)
    return core


PATHS = [
    "hi", "hi accept", "hi accept next", "hi accept 1", "hi accept accept_all", "hi accept accept_all yes",
    "hi decline next 2 yes", "hi cancel_offer next 1 yes", "hi ledger next", "hi switch next",
    "hi offer 1 katherine other_account", "hi offer 1 katherine yes", "hi offer 1 junk help", "hi junk junk junk",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_reply_fits_every_channel(path: str) -> None:
    """With the longest names and lists, each reply fits the limits of each channel, and each choice can be made."""
    talk = Talk(ALAN, core=rich())
    talk.say(*path.split())
    for payload in whatsapp.render(talk.channel, talk.outcome.replies):
        if payload["type"] == "text":
            assert len(payload["text"]["body"]) <= 4096
            continue
        asked = payload["interactive"]
        assert len(asked["body"]["text"]) <= (1024 if asked["type"] == "button" else 4096)
        rows = [row for section in asked["action"].get("sections", []) for row in section["rows"]]
        assert len(rows) <= 10
        assert all(len(row["title"]) <= 24 and len(row.get("description", "")) <= 72 for row in rows)
        assert all(len(row["id"]) <= 200 for row in rows)
        buttons = [button["reply"] for button in asked["action"].get("buttons", [])]
        assert len(buttons) <= 3
        assert all(len(button["title"]) <= 20 and len(button["id"]) <= 256 for button in buttons)
        assert len(rows or buttons) == len(choices(talk))
    for payload in telegram.render(talk.channel, talk.outcome.replies):
        board = payload.get("reply_markup", {}).get("inline_keyboard", [])
        assert len(payload["text"]) <= 4096
        assert all(len(key["callback_data"].encode()) <= 64 for line in board for key in line)
    texts = [payload["Body"] for payload in sms.render(Channel("sms", ALAN), talk.outcome.replies)]
    assert all(sms.segments(text) <= 3 for text in texts)
    last = texts[-1]
    assert not choices(talk) or f"{len(choices(talk))}. " in last
