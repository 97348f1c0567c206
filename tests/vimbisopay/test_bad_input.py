"""Bad input to VimbisoPay: any message at any question, and any fault of credex-core at any call.

The state is kept, the reply gives the reason, and nothing happens twice.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import flows
from flows.credex_core import Fault, HttpCredexCore, SimulatedCredexCore
from flows.credex_core import server as core_server
from flows.credex_core.server import application, listening, running
from flows.texts.english import ENGLISH
from tests.examples import examples
from tests.places import PLACES, kept, talking
from tests.vimbisopay.test_flows import ADA, ALAN, STRANGER, Talk
from vimbiso_fsm.messages.words import normalise, number, without_stop
from vimbiso_fsm.runtime.flow_state import FlowStateManager

HOSTILE = [
    "", " ", "\n\t", "\x00", "10\x00", "a\x00b", "\x1b[2J", "\u202e10", "10\u202c", "\u2066Emmy\u2069", "10\u200b",
    "\ufeff10", "\ud83d", "10\ud83d", "🙂", "Emmy 🙂", "E\u0301" * 2000, "\u0301" * 3000, "ﷺ" * 500, "x" * 4096,
    "x" * 4097, "x" * 10_000, "9" * 310, "9" * 16, "nan", "inf", "Infinity", "1e5", "1E-5", "0x10", "١٠٠", "１０", "½",
    "0.00001", "0", "00", "0.00", "-1", "+5", "-0", "1.", ".5", "1.0.0", "1,000", "1 000", "1_0.0", "$5", "10 EUR",
    "10 USD USD", "USD 10 USD", "10 (USD", "((10))", "{0}", "{amount}", "%s%n", "<b>Emmy</b>", "'; DROP TABLE x;--",
    "../../etc/passwd", "=credex-1", "#next", "#prev", "=", "..", "a.1.yes", "x" * 8 + ".1.yes", "yes no", "1 2", "999",
    "!" + "x" * 8 + "yes", "!yes",
    "[]", "{}", '"yes"', "\r\nX-Injected: 1", "credex-0", "-- ",
]  # fmt: skip
"""Nothing of this is an answer to any question, or only to one that takes handles or names."""

TAKEN = {
    "onboard.firstname": {"nan", "inf", "Infinity", "yes no"},
    "onboard.lastname": {"nan", "inf", "Infinity", "yes no"},
    "offer.handle": {"nan", "inf", "Infinity", "1e5", "0x10", "0", "00", "999", "9" * 16},
}
"""Texts that can be a name or a handle."""

READS = {"onboard.firstname", "onboard.lastname", "offer.amount", "offer.handle", "language.naming"}
"""Questions that read text. At every other question, `1.` is the number of a choice."""

SAID = [place for place in PLACES if place != "login.unavailable"]
"""Questions that refuse something; at `login.unavailable` anything tries again."""


# What is typed and pressed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", SAID)
def test_a_text_that_is_no_answer_keeps_the_state(place: str) -> None:
    """A text that is not an answer is refused with a reason and the same question, without a call."""
    talk = talking(place)
    asked, before, calls = talk.said[-1], kept(talk), len(talk.core.calls)
    for text, way in product(HOSTILE, ("text", "choice")):
        if text in TAKEN.get(place, ()) or (text == "1." and place not in READS):
            continue
        talk.send(**{way: text})
        assert talk.outcome.status in ("refused", "ignored"), ascii(text)
        assert kept(talk) == before, ascii(text)
        assert len(talk.said) >= 2, ascii(text)
        assert talk.said[-1] == asked, ascii(text)
        assert all(len(said) < 1000 for said in talk.said)
    assert len(talk.core.calls) == calls


@pytest.mark.parametrize("kind", ["image", "sticker", "audio", "location", "unknown"])
@pytest.mark.parametrize("place", PLACES)
def test_a_message_without_text_is_refused(place: str, kind: str) -> None:
    """A message without text, such as an image, is refused and not read as an empty text."""
    talk = talking(place)
    asked, before = talk.said[-1], kept(talk)
    talk.send(kind=kind)
    assert (talk.outcome.status, kept(talk)) == ("refused", before)
    assert talk.outcome.replies[0].key == "message.unsupported"
    assert talk.said[-1] == asked


@examples(150)
@given(
    st.sampled_from(SAID), st.lists(st.text(max_size=30), min_size=1, max_size=4), st.sampled_from(["text", "choice"])
)
def test_any_text_is_answered_and_breaks_nothing(place: str, texts: list[str], way: str) -> None:
    """Any sequence of texts is answered, without a failure and without an unconfirmed effect."""
    talk = talking(place)
    for text in texts:
        confirming = talk.place.endswith(".confirm")
        talk.send(**{way: text})
        assert talk.outcome.status in ("advanced", "refused", "ignored")
        assert talk.said
        assert all(talk.said)
        word = without_stop(normalise(text))
        if confirming and word not in ("yes", "y", "ok", "confirm") and number(word) != 1:
            assert [
                call.name for call in talk.core.calls if call.key and call.name.startswith(("create", "accept"))
            ] == []
    talk.core.check_conservation()


@pytest.mark.parametrize("place", ["accept_offer.list", "decline_offer.list", "cancel_offer.list"])
def test_an_offer_that_is_not_on_the_list_is_not_answered(place: str) -> None:
    """An offer that is not listed cannot be answered."""
    core = SimulatedCredexCore()
    ten = core.offers[0].money
    for giver, taker in (("shop_one", "ada"), ("ada", "shop_two"), ("grace", "katherine")):
        core._new_offer(core._handles[giver], core._handles[taker], ten)
    core._new_offer(core._handles["alan"], core._handles["grace"], ten)
    talk = talking(place, core=core)
    mine = {"accept_offer.list": "incoming", "decline_offer.list": "incoming", "cancel_offer.list": "outgoing"}[place]
    handle = "ada" if place == "cancel_offer.list" else "alan"
    waiting = getattr(core._handles[handle], mine)
    before = kept(talk)
    for id in [offer.id for offer in core.offers if offer.id not in waiting] + ["credex-" + "0" * 16]:
        for way, text in product(("text", "choice"), (id, f"={id}", id.upper())):
            talk.send(**{way: text})
            assert (talk.outcome.status, kept(talk)) == ("refused", before)
    assert {call.name for call in core.calls} == {"login"}


# What the core does ------------------------------------------------------------------------------------------------


@attrs.frozen
class Calling:
    """The moment before a call.

    It holds the member, the state and the word that leads to the call, the state after a failure (`stays`), and whether
    the call changes anything (`effect`).
    """

    phone: str
    words: str
    word: str
    stays: str
    done: str
    effect: bool = True

    def talk(self, **rest: Any) -> Talk:
        """Return a conversation at this moment."""
        talk = Talk(self.phone, **rest)
        if self.words:
            talk.say(*self.words.split())
        return talk


CALLS = {
    "login": Calling(ADA, "", "hi", "login.unavailable", "dashboard.menu", effect=False),
    "onboardMember": Calling(STRANGER, "hi 1 Emmy Noether", "yes", "onboard.confirm", "dashboard.menu"),
    "getAccountByHandle": Calling(ADA, "hi offer 10", "alan", "offer.handle", "offer.confirm", effect=False),
    "createCredex": Calling(ADA, "hi offer 10 alan", "yes", "offer.confirm", "dashboard.menu"),
    "acceptCredex": Calling(ALAN, "hi accept 1", "yes", "accept_offer.confirm", "accept_offer.list"),
    "acceptCredexBulk": Calling(ALAN, "hi accept accept_all", "yes", "accept_offer.confirm", "dashboard.menu"),
    "declineCredex": Calling(ALAN, "hi decline 1", "yes", "decline_offer.confirm", "decline_offer.list"),
    "cancelCredex": Calling(ADA, "hi cancel_offer 1", "yes", "cancel_offer.confirm", "dashboard.menu"),
    "getLedger": Calling(ALAN, "hi", "ledger", "ledger.unread", "ledger.page", effect=False),
    "createRecurring": Calling(ADA, "hi upgrade", "yes", "upgrade.confirm", "dashboard.menu"),
}
CODES = {"sendCode", "checkCode"}
"""The calls that prove a number, which `test_numbers.py` tries."""
EFFECTS = [name for name, calling in CALLS.items() if calling.effect]
QUESTIONS = [name for name, calling in CALLS.items() if not calling.effect]


def world(core: SimulatedCredexCore) -> Any:
    """Return the members, the offers and the balances of a core."""
    with core._lock:
        balances = {account.handle: dict(account.balances) for account in core._accounts.values()}
        tiers = {phone: member.tier for phone, member in core._phones.items()}
        return tiers, [(o.issuer, o.receiver, o.amount, o.status) for o in core.offers], balances


def undisturbed(name: str) -> Any:
    """Return the world after the call without a fault."""
    talk = CALLS[name].talk()
    talk.say(CALLS[name].word)
    assert talk.place == CALLS[name].done
    return world(talk.core)


def answers(talk: Talk) -> Any:
    """Return the data of the flow."""
    return {name: value for name, value in talk.data.items() if name != "to"} if talk.outcome else {}


def calls(talk: Talk, name: str) -> list[Any]:
    """Return the calls of that name that arrived."""
    return [call for call in talk.core.calls if call.name == name]


@pytest.mark.parametrize("name", CALLS)
def test_a_core_that_is_down_costs_no_place_and_does_nothing(name: str) -> None:
    """While credex-core is down nothing happens and the answers stay; afterwards the call is made once."""
    calling = CALLS[name]
    talk = calling.talk()
    before, gathered = world(talk.core), answers(talk)
    talk.core.faults = [Fault("down", call=name, times=2)]
    for _ in range(2):
        talk.say("again" if talk.place in ("login.unavailable", "ledger.unread") else calling.word)
        assert talk.outcome.replies[0].key == ("core.not_done" if calling.effect else "core.down")
        assert talk.place == calling.stays
        assert world(talk.core) == before
        if calling.effect:
            assert answers(talk) == gathered
    talk.say("again" if talk.place in ("login.unavailable", "ledger.unread") else calling.word)
    assert talk.place == calling.done
    assert world(talk.core) == undisturbed(name)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("login", "onboardMember")])
def test_a_token_that_is_not_accepted_is_renewed_unnoticed(name: str) -> None:
    """After a 401 one login follows, and the call is repeated with its key; repeated 401s keep the state."""
    calling = CALLS[name]
    talk = calling.talk()
    asked = len(talk.core.calls)
    talk.core.faults = [Fault("401", call=name, times=1)]
    talk.say(calling.word)
    assert [call.name for call in talk.core.calls[asked:]] == [name, "login", name]
    assert len({call.key for call in calls(talk, name)}) == 1
    assert talk.place == calling.done
    assert world(talk.core) == undisturbed(name)
    talk = calling.talk()
    before = world(talk.core)
    talk.core.faults = [Fault("401", call=name)]
    talk.say(calling.word)
    assert (talk.place, talk.outcome.replies[0].key) == (calling.stays, "core.unauthorised")
    assert world(talk.core) == before


@pytest.mark.parametrize("lost", [1, 2, 5])
@pytest.mark.parametrize("name", EFFECTS)
def test_a_reply_that_is_lost_does_it_once(name: str, lost: int) -> None:
    """After lost replies the call is repeated with its key and has one effect."""
    calling = CALLS[name]
    talk = calling.talk()
    talk.core.faults = [Fault("lost", call=name, times=lost)]
    talk.say(calling.word)
    while talk.outcome.state.call is not None:
        assert len(talk.said) == 1
        assert talk.said == [ENGLISH[talk.place]]
        talk.at[0] += 61
        talk.say(calling.word)
    assert talk.place == calling.done
    assert len({call.key for call in calls(talk, name)}) == 1
    assert world(talk.core) == undisturbed(name)


@pytest.mark.parametrize("name", EFFECTS)
def test_an_unknown_outcome_is_told_and_not_confirmed_again(name: str) -> None:
    """If no reply arrives, the member reads that the outcome is unknown and cannot confirm it again."""
    talk = CALLS[name].talk()
    talk.core.faults = [Fault("lost", call=name)]
    talk.say(CALLS[name].word)
    said: list[str] = []
    for _ in range(20):
        if talk.outcome.state.call is None:
            break
        talk.at[0] += 61
        talk.say("yes")
        assert len(set(talk.said)) == len(talk.said)
        said += [getattr(reply, "key", "") for reply in talk.outcome.replies]
    assert "call.unsure" in said
    assert not talk.place.endswith(".confirm")
    talk.core.faults = []
    talk.say("menu")
    assert talk.place == "dashboard.menu"
    assert world(talk.core) == undisturbed(name)


class MemberLock:
    """A core that blocks one of its calls until it is released, so that no test depends on the time."""

    def __init__(self, core: SimulatedCredexCore, method: str) -> None:
        self._core, self._method, self.let = core, method, threading.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._core, name)
        if name != self._method:
            return found

        @functools.wraps(found)
        def held(*arguments: Any, **named: Any) -> Any:
            assert self.let.wait(60)
            return found(*arguments, **named)

        return held


@pytest.mark.parametrize("name", CALLS)
def test_a_slow_core_is_waited_for_and_asked_once(name: str) -> None:
    """During a slow call each message gets the reply of the call's state, and the call is made once."""
    calling = CALLS[name]
    talk = calling.talk()
    held = MemberLock(talk.core, _method(name))
    talk.manager = FlowStateManager(flows.bot, talk.store, services={"credex_core": held}, call_wait=0.01)
    talk.say(calling.word)
    waiting = talk.place
    assert talk.said == [ENGLISH[waiting]]
    for word in ("menu", "cancel", "back", "help", "yes", "1", "0.5=>alan"):
        talk.say(word)
        assert (talk.outcome.status, talk.place, talk.said) == ("ignored", waiting, [ENGLISH[waiting]])
    held.let.set()
    member_id, until = talk.outcome.state.member_id, time.monotonic() + 60
    while time.monotonic() < until and (state := talk.manager.state(member_id)) and (state.call or state.moved):
        time.sleep(0.02)
    talk.say("help")
    assert talk.place == calling.done
    assert len(calls(talk, name)) == 1
    assert world(talk.core) == undisturbed(name)


@pytest.mark.parametrize("name", CALLS)
def test_a_service_that_raises_is_no_disaster(name: str) -> None:
    """An unexpected exception of a service shows nothing of it and keeps the state, or leaves the outcome unknown."""
    calling = CALLS[name]
    talk = calling.talk()
    real, method = talk.core, _method(name)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret internals {of} a <stranger>")

    class Broken:
        def __getattr__(self, attribute: str) -> Any:
            return broken if attribute == method else getattr(real, attribute)

    talk.manager = FlowStateManager(flows.bot, talk.store, services={"credex_core": Broken()})
    before = world(real)
    talk.say(calling.word)
    assert "internals" not in "".join(talk.said)
    assert world(real) == before
    if calling.effect:
        assert talk.said == [ENGLISH[talk.place]]
    else:
        assert (talk.place, talk.outcome.replies[0].key) == (calling.stays, "call.unavailable")


def _method(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


# The same over HTTP ------------------------------------------------------------------------------------------------


class Nonsense:
    """A server that replaces responses to a call, before or after the call is made."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.name = ""
        self.times = 0
        self.answer: tuple[int, str, bytes] = (500, "text/plain", b"")
        self.works = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] != f"/{self.name}" or not self.times:
            return await self._app(scope, receive, send)
        self.times -= 1
        if self.works:
            await self._app(scope, receive, _nowhere)
        status, kind, body = self.answer
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _nowhere(_: Message) -> None:
    """Discard a part of a response."""


ODD: dict[str, tuple[int, str, bytes]] = {
    "500": (500, "application/json", b'{"message": "Internal Server Error"}'),
    "502 page": (502, "text/html", b"<html>Bad Gateway</html>"),
    "200 page": (200, "text/html", b"<html>Welcome</html>"),
    "200 empty": (200, "application/json", b""),
    "200 of another": (200, "application/json", b'{"data": {"action": {"type": "SOMETHING_ELSE", "details": {}}}}'),
    "200 no object": (200, "application/json", b"[1, 2, 3]"),
    "200 deep": (200, "application/json", b"[" * 100_000),
    "200 NaN": (200, "application/json", b'{"data": NaN}'),
    "302": (302, "text/plain", b""),
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Nonsense, Any, str]]:
    """One server for all tests, whose core is replaced."""
    app = application(SimulatedCredexCore())
    nonsense = Nonsense(app)
    with listening() as bound, running(nonsense, bound) as url:
        yield nonsense, app, url


def over_http(calling: Calling, served: tuple[Nonsense, Any, str], client: HttpCredexCore) -> Talk:
    """Return a conversation before a call over HTTP."""
    core = served[1].state.core = SimulatedCredexCore()
    served[0].times = 0
    talk = Talk(calling.phone, core=core)
    talk.manager = FlowStateManager(flows.bot, talk.store, services={"credex_core": client})
    if calling.words:
        talk.say(*calling.words.split())
    return talk


@pytest.mark.parametrize("works", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", CALLS)
def test_nonsense_over_http_costs_no_place_and_does_nothing_twice(
    name: str,
    works: bool,
    served: tuple[Nonsense, Any, str],
) -> None:
    """Unreadable responses fail a call that only reads; a call with an effect is repeated and acts once."""
    calling, nonsense = CALLS[name], served[0]
    with HttpCredexCore(served[2]) as client:
        for odd, answer in ODD.items():
            talk = over_http(calling, served, client)
            nonsense.name, nonsense.answer, nonsense.works, nonsense.times = name, answer, works, 1
            talk.say(calling.word)
            if calling.effect:
                assert talk.place == calling.done, odd
                assert world(talk.core) == undisturbed(name), odd
            else:
                assert (talk.place, talk.outcome.replies[0].key) == (calling.stays, "core.down"), odd
                talk.say("again" if talk.place in ("login.unavailable", "ledger.unread") else calling.word)
                assert talk.place == calling.done, odd
            talk.core.check_conservation()


def test_every_call_is_tried() -> None:
    """The table of calls holds each call of the port."""
    assert set(CALLS) | CODES == set(core_server.CALLS)
