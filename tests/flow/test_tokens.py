"""Login tokens: their checks, their lifetime, their renewal and their end."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bots import member_document, one_flow
from tests.examples import examples
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.document.document import Document, Member, TokenLife
from vimbiso_fsm.errors import BadToken, FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.calls import READ_ONLY, Call, Caller, call
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.tokens import Tokens
from vimbiso_fsm.flow.turn import Changes, Turn, authenticated
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat, Talk, words

SECRET = "a secret that is long enough for it" * 2
LIFE = 300.0
MEMBER = Member("m-1", guest=False, authenticated=True, jwt_token="t")


def a_token(at: datetime = START, *, sub: Any = "m-1", life: float = LIFE, **claims: Any) -> str:
    """Return a token as an issuer makes it."""
    said = {"sub": sub, "iat": at.timestamp(), "exp": at.timestamp() + life, **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, SECRET, algorithm="HS256")


class Office:
    """A service that issues tokens and takes payments.

    `calls` holds the method, key and token of each call, `answers` replaces results, and a closed `gate` blocks calls.
    """

    def __init__(self) -> None:
        self.clock: Any = START.timestamp
        self.calls: list[tuple[str, str, str | None]] = []
        self.answers: dict[str, list[Any]] = {}
        self.paid: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def login(self, *, caller: Caller = Caller()) -> Any:  # noqa: B008
        """Issue a token."""
        return self._serve("login", caller, lambda: a_token(self.now(), jti=next(self._numbers)))

    def pay(self, *, caller: Caller = Caller()) -> Any:  # noqa: B008
        """Take a payment, once for a key."""
        return self._serve("pay", caller, lambda: self._paid(caller.key))

    def look(self, *, caller: Caller = Caller()) -> Any:  # noqa: B008
        """Read only."""
        return self._serve("look", caller, lambda: "seen")

    def _serve(self, name: str, caller: Caller, usual: Any) -> Any:
        self.calls.append((name, caller.key, caller.token))
        assert self.gate.wait(30)
        waiting = self.answers.get(name)
        answer = waiting.pop(0) if waiting else None
        if answer is not None:
            if isinstance(answer, BaseException):
                raise answer
            return None if answer == "nobody" else answer
        if name != "login" and self._lapsed(caller.token):
            return Refused("unauthorised")
        return usual()

    def _paid(self, key: str) -> str:
        self.paid.add(key)
        return "paid"

    def _lapsed(self, token: str | None) -> bool:
        if token is None:
            return True
        said = jwt.decode(token, options={"verify_signature": False, "verify_exp": False, "verify_iat": False})
        return bool(said["exp"] <= self.clock())

    @property
    def asked(self) -> list[str]:
        return [name for name, _, _ in self.calls]


def log_in(turn: Turn[Any]) -> Call[Any]:
    """Propose the call that requests a token."""
    return call(Office.login)


def logged_in(turn: Turn[Any]) -> Changes[Any]:
    """Prepare: take the token of a login."""
    member = attrs.evolve(turn.member, id="m-1", guest=False, authenticated=True, jwt_token=str(turn.answer))
    return turn.changes(member=member)


def logged_out(turn: Turn[Any]) -> Changes[Any]:
    """Prepare: drop the token."""
    return turn.changes(member=attrs.evolve(turn.member, authenticated=False, jwt_token=None))


def paid(turn: Turn[NoData]) -> Call[Any]:
    """Propose a payment."""
    return call(Office.pay)


def looked(turn: Turn[NoData]) -> Call[Any]:
    """Propose a call that only reads."""
    return call(Office.look)


def of_age(turn: Turn[object]) -> bool | Refused:
    """Guard: the member is of age."""
    return bool(turn.member.profile.get("of_age", True)) or Refused("too.young")


login: Flow[Any] = Flow(
    "login", initial="asking",
    states=[
        State("asking", call=log_in, policy=READ_ONLY),
        State("unavailable", ask=Text("No login."), reads=str),
        State("known", say=Text("Welcome."), final=True),
    ],
    transitions=[
        Transition("done", "asking", "known", prepare=logged_in),
        Transition("failed", "asking", "unavailable"),
        Transition("answer", "unavailable", "asking"),
    ],
)  # fmt: skip

shop: Flow[Any] = Flow(
    "shop", initial="menu", requires=[authenticated, of_age],
    states=[
        State("menu", ask=Text("What now?")),
        State("paying", call=paid),
        State("looking", call=looked, policy=READ_ONLY),
        State("done", say=Text("Done."), final=True),
        State("out", say=Text("Logged out."), final=True),
    ],
    transitions=[
        Transition("pay", "menu", "paying"),
        Transition("look", "menu", "looking"),
        Transition("leave", "menu", "out", prepare=logged_out),
        Transition("done", ["paying", "looking"], "done"),
        Transition("failed", ["paying", "looking"], "menu"),
    ],
)  # fmt: skip

TOKENS = Tokens(renew=log_in, renewed=logged_in)


def a_bot(office: Office, **options: Any) -> Bot:
    """Return a bot with a shop that needs a login."""
    return Bot([shop, login], entry=login, tokens=TOKENS, services={"office": office}, session=100_000, **options)


def shopping(**options: Any) -> tuple[Chat, Office]:
    """Return a chat at the menu, after a login, and its service."""
    office = Office()
    chat = Chat(a_bot(office, **options))
    chat.say("hi")
    assert office.asked == ["login"]
    office.calls.clear()
    return chat, office


def life(chat: Chat) -> TokenLife:
    """Return the instants of the stored token."""
    found = chat.document().token
    assert found is not None
    return found


# What is taken as a token ---------------------------------------------------------------------------------------------


def test_its_instants_are_known():
    """The life of a token begins at its `iat` and ends at its `exp`."""
    assert TOKENS.life(a_token(), MEMBER, START) == TokenLife(
        START.replace(microsecond=START.microsecond), START + timedelta(seconds=LIFE)
    )


def test_a_token_that_does_not_say_when_it_was_issued_was_issued_when_it_came():
    """A token without `iat` was issued when it was received."""
    assert TOKENS.life(a_token(iat=None), MEMBER, START).issued == START


UNSIGNED = jwt.encode({"sub": "m-1", "exp": START.timestamp() + LIFE}, "", algorithm="none")
LATER, EARLIER = START + timedelta(hours=1), START - timedelta(hours=1)


@pytest.mark.parametrize(
    ("token", "claim", "fault"),
    [
        (UNSIGNED, "alg", "not among those that are accepted"),
        (jwt.encode({"sub": "m-1", "exp": 2e9}, SECRET, algorithm="HS384"), "alg", "not among those"),
        (a_token(exp=None), "exp", "is missing"),
        (a_token(sub=None), "sub", "is missing"),
        (a_token(EARLIER), "exp", "has passed"),
        (a_token(LATER), "iat", "is in the future"),
        (a_token(nbf=LATER.timestamp()), "nbf", "is in the future"),
        (a_token(sub="m-2"), "sub", "names another member"),
        (a_token(exp="soon"), "exp", "is not an instant"),
        (a_token(exp=True), "exp", "is not an instant"),
        (a_token(exp=1e300), "exp", "is not an instant"),
        (a_token(iat=[]), "iat", "is not an instant"),
        ("token-1", "", "cannot be read"),
        ("a.b.c", "", "cannot be read"),
        ("é", "", "cannot be read"),
        (a_token()[:-40], "", "cannot be read"),
        ("." * 1000, "", "cannot be read"),
    ],
)
def test_an_invalid_token_is_refused_without_a_quote(token: str, claim: str, fault: str):
    """The error names the member, the claim and the fault, and quotes nothing of the token."""
    with pytest.raises(BadToken, match=fault) as caught:
        TOKENS.life(token, MEMBER, START)
    assert (caught.value.member_id, caught.value.claim) == ("m-1", claim)
    assert token not in str(caught.value) or len(token) < 3


def test_a_subject_that_is_no_text_is_none():
    """A token whose `sub` is not a text is refused, even if any subject is accepted."""
    token = jwt.api_jws.PyJWS().encode(b'{"sub":7,"exp":2000000000}', SECRET, algorithm="HS256")
    with pytest.raises(BadToken) as caught:
        attrs.evolve(TOKENS, subject=None).life(token, MEMBER, START)
    assert caught.value.claim == "sub"


def test_a_signature_is_verified_where_the_key_is_known():
    """With a key, a token that is unsigned or signed with another key is refused."""
    keyed = attrs.evolve(TOKENS, key=SECRET)
    assert keyed.life(a_token(), MEMBER, START).issued == START
    forged = jwt.encode({"sub": "m-1", "exp": 2e9}, SECRET[::-1], algorithm="HS256")
    with pytest.raises(BadToken, match="not signed with the key"):
        keyed.life(forged, MEMBER, START)
    with pytest.raises(BadToken, match="not among those"):
        keyed.life(UNSIGNED, MEMBER, START)


@given(st.text(max_size=60) | st.text("eyJ.abc-_=", max_size=60))
@example(a_token())
@examples(200)
def test_any_text_is_a_token_or_is_not(text: str):
    """Reading any text as a token raises nothing but `BadToken`."""
    try:
        TOKENS.life(text, MEMBER, START)
    except BadToken as error:
        assert error.fault  # noqa: PT017  # most texts are none


@pytest.mark.parametrize("seconds", [-3600, -305, -304, 4, 5, 6, 3600])
def test_the_issuers_clock_may_be_off_by_the_leeway(seconds: float):
    """The leeway applies to a token's end and to its beginning."""
    token = a_token(START + timedelta(seconds=seconds))
    if -305 < seconds <= 5:
        assert TOKENS.life(token, MEMBER, START).expires == START + timedelta(seconds=seconds + LIFE)
    else:
        with pytest.raises(BadToken):
            TOKENS.life(token, MEMBER, START)


@pytest.mark.parametrize(
    "options", [{"algorithms": ()}, {"algorithms": ("HS256", "None")}, {"leeway": -1}, {"margin": float("nan")}]
)
def test_settings_that_are_none_are_refused(options: dict[str, Any]):
    """Settings out of range raise `FlowError`."""
    with pytest.raises(FlowError, match=r"Tokens: (algorithms|leeway|margin)"):
        Tokens(log_in, logged_in, **options)


# In the document ------------------------------------------------------------------------------------------------------


def test_the_document_knows_when_its_token_runs_out():
    """The document stores the instants of its token."""
    chat, _ = shopping()
    at = datetime.fromtimestamp(chat.clock.at, UTC)
    assert life(chat).expires - life(chat).issued == timedelta(seconds=LIFE)
    assert abs(life(chat).issued - at) < timedelta(seconds=1)
    stored = chat.document()
    assert decode(encode(stored)) == stored


def test_a_member_is_authenticated_while_their_token_lives():
    """A member is authenticated until the token expires by the store's clock, for guards and in the document."""
    seen: list[bool] = []

    def note(turn: Turn[NoData]) -> bool:
        seen.append(turn.member.authenticated)
        return True

    flow = one_flow([State("ask", ask=Text("Well?"), reads=str)], [Transition("answer", "ask", "ask", conditions=note)])
    token = a_token()
    document = member_document(jwt_token=token, token=TOKENS.life(token, MEMBER, START))
    talk = Talk(Bot([flow], tokens=TOKENS, session=100_000), document)
    talk.says("hi", "a").wait(LIFE - 0.5).say("b")
    assert (set(seen), talk.state.authenticated) == ({True}, True)
    assert talk.state.at(talk.now).authenticated
    talk.wait(0.5)
    assert not talk.state.at(talk.now).authenticated
    talk.say("c")
    assert (seen[-1], talk.state.authenticated, talk.state.jwt_token) == (False, False, token)


def test_a_token_of_which_nothing_is_known_is_not_believed():
    """A stored token without instants does not count, and the member logs in again."""
    office = Office()
    talk = Talk(a_bot(office), member_document(jwt_token="token-0"))
    talk.say("hi")
    assert office.asked == ["login"]
    assert (talk.place, talk.state.authenticated) == ("shop.menu", True)


@pytest.mark.parametrize("answer", ["token-1", a_token(sub="m-2"), UNSIGNED, a_token(LATER)])
def test_a_login_that_answers_no_token_costs_nothing(answer: str):
    """A turn with a bad token fails, keeps the document and audits nothing of the token."""
    office = Office()
    office.answers["login"] = [answer]
    chat = Chat(a_bot(office))
    outcome = chat.say("hi")
    assert outcome.status == "failed"
    assert "Reference" in words(outcome.replies)[-1]
    guest = chat.document(outcome.state.member_id)
    assert (guest.jwt_token, guest.authenticated, guest.call is not None) == (None, False, True)
    assert all(answer.encode() not in entry.body for entry in chat.entries(outcome.state.member_id))
    chat.wait(3600).say("again")
    assert chat.outcome is not None
    assert (chat.outcome.state.authenticated, office.asked) == (True, ["login", "login"])


# Renewal --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [LIFE - 20, LIFE, LIFE + 1, 50_000])
@pytest.mark.parametrize("cached", [True, False])
def test_a_token_is_renewed_before_a_call_that_needs_it(seconds: float, cached: bool):
    """A token that has expired, or will within the margin, is renewed before the call."""
    office = Office()
    chat = Chat(a_bot(office), cached=cached)
    chat.say("hi")
    office.calls.clear()
    before = chat.document().jwt_token
    chat.wait(seconds).say("pay")
    assert office.asked == ["login", "pay"]
    document = chat.document()
    assert document.jwt_token not in (None, before)
    assert office.calls[1][2] == document.jwt_token
    assert (document.authenticated, office.paid, chat.words[:1]) == (True, {office.calls[1][1]}, ["Done."])
    assert life(chat).expires.timestamp() == pytest.approx(chat.clock.at + LIFE)


def test_a_token_that_lasts_is_not_renewed():
    """A token that lasts longer than the margin is used as it is."""
    chat, office = shopping()
    chat.wait(LIFE - 20.5).say("pay")
    assert office.asked == ["pay"]


def test_messages_without_a_call_renew_no_token():
    """Messages without a call renew no token, even in a flow that requires a login."""
    chat, office = shopping()
    for _ in range(10):
        chat.wait(250).say("nonsense")
        assert chat.words[-1] == "What now?"
    chat.say("help", "back")
    assert office.calls == []


def test_a_401_is_healed_once_with_the_same_key():
    """After a 401 the token is renewed, and the call is repeated with its key."""
    chat, office = shopping()
    office.answers["pay"] = [Refused("unauthorised")]
    chat.say("pay")
    assert office.asked == ["pay", "login", "pay"]
    (_, first, old), (_, renewal, _), (_, second, new) = office.calls
    assert first == second != renewal
    assert old != new == chat.document().jwt_token
    assert chat.words[:1] == ["Done."]
    assert len(office.paid) == 1


def test_a_401_with_the_new_token_is_for_the_flow():
    """A second 401 fires `failed`, and the member's next attempt makes a new call."""
    chat, office = shopping()
    office.answers["pay"] = [Refused("unauthorised")] * 2
    chat.say("pay")
    assert office.asked == ["pay", "login", "pay"]
    assert (chat.words[-1], office.paid) == ("What now?", set())
    office.answers.clear()
    chat.say("pay")
    assert (office.asked[3:], len(office.paid)) == (["pay"], 1)


def test_a_token_renewed_before_the_call_is_not_renewed_after_it():
    """A token is renewed at most once for one call."""
    chat, office = shopping()
    office.answers["pay"] = [Refused("unauthorised")]
    chat.wait(400).say("pay")
    assert office.asked == ["login", "pay"]
    assert chat.words[-1] == "What now?"


@pytest.mark.parametrize("answer", ["nobody", Refused("unauthorised")])
@pytest.mark.parametrize("late", [True, False])
def test_a_renewal_that_is_refused_leads_through_the_login_and_back(answer: Any, late: bool):
    """After a refused renewal the member logs in, and the call is made with the same key."""
    chat, office = shopping()
    office.answers["login"] = [answer]
    if late:
        chat.wait(400)
    else:
        office.answers["pay"] = [Refused("unauthorised")]
    chat.say("pay")
    assert office.asked == ([] if late else ["pay"]) + ["login", "login", "pay"]
    assert (chat.words, len(office.paid)) == (["Welcome.", "Done."], 1)
    assert len({key for name, key, _ in office.calls if name == "pay"}) == 1


def test_a_login_that_refuses_too_keeps_the_place():
    """After a refused renewal, the next login continues the call that waits."""
    chat, office = shopping()
    office.answers["login"] = [Refused("unauthorised")] * 2
    chat.wait(400).say("pay")
    assert chat.words[-1] == "No login."
    assert chat.document().jwt_token is None
    chat.say("now?")
    assert (office.asked, len(office.paid)) == (["login", "login", "login", "pay"], 1)


@pytest.mark.parametrize("answer", [Refused("core.down"), ConnectionError("down")])
def test_an_outage_is_no_logout(answer: Any):
    """If the renewal is unreachable the flow receives `failed`, and the token stays."""
    chat, office = shopping()
    office.answers["login"] = [answer] * 3
    outcome = chat.wait(400).say("pay")
    assert set(office.asked) == {"login"}
    assert outcome.status == "advanced"  # as with any call that was refused
    assert chat.words[-1] == "What now?"
    assert chat.words[0] == (
        "core.down" if isinstance(answer, Refused) else chat.bot.catalogue.say(Text("call.unavailable")).text
    )
    assert chat.document().jwt_token is not None
    office.answers.clear()
    chat.say("pay")
    assert (office.asked[-2:], len(office.paid)) == (["login", "pay"], 1)


def test_a_call_is_not_reported_as_not_done_while_an_earlier_try_may_have_done_it():
    """A call in doubt stays in doubt if its token can no longer be renewed."""
    chat, office = shopping()
    office.answers["pay"] = [ConnectionError("lost")]
    chat.say("pay")
    assert chat.document().call is not None
    office.answers["login"] = [Refused("core.down")]
    chat.wait(400).wake()
    document = chat.document()
    assert (office.asked[-1], document.call and document.call.tries) == ("login", 2)
    chat.wait(400).wake()
    assert chat.document().call is None
    assert office.asked[-2:] == ["login", "pay"]
    assert len({key for name, key, _ in office.calls if name == "pay"}) == 1


def test_requires_is_evaluated_again_after_a_renewal():
    """`requires` is evaluated again after a renewal, and a refusal prevents the call."""

    def renewed(turn: Turn[Any]) -> Changes[Any]:
        member = logged_in(turn).member
        return turn.changes(member=attrs.evolve(member, profile={"of_age": False}))

    office = Office()
    bot = attrs.evolve(a_bot(office), tokens=Tokens(log_in, renewed))
    chat = Chat(bot)
    chat.say("hi")
    office.calls.clear()
    chat.wait(400).say("pay")
    assert office.asked == ["login"]
    assert "too.young" in chat.words
    assert chat.document().call is None


def test_a_renewal_that_answers_nonsense_is_a_failure_of_ours():
    """A wrong result of `renewed` is audited as an error and loses neither the member nor the call."""
    office = Office()
    bot = attrs.evolve(a_bot(office), tokens=Tokens(log_in, lambda turn: turn))  # type: ignore[arg-type,return-value]
    chat = Chat(bot)
    chat.say("hi")
    outcome = chat.wait(400).say("pay")
    assert outcome.status == "failed"
    document = chat.document()
    assert document.call is not None
    assert document.jwt_token is not None


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_worker_that_dies_at_any_step_of_a_renewal_loses_and_doubles_nothing(steps: int):
    """After a worker dies within a renewal, the next one makes the call once, with the same key."""
    chat, office = shopping()
    chat.wait(400)
    exchange = chat.begin(chat.message("pay"))
    for _ in range(steps):
        if exchange.request is None:
            break
        chat.step(exchange)
    for _ in range(4):
        chat.wait(100).wake()
    if not office.paid:
        chat.say("pay")
    assert len(office.paid) == 1
    assert chat.document().call is None
    assert chat.document().authenticated


def shops(office: Office, shift: list[float]) -> dict[str, Any]:
    """Return the arguments of a manager on a store with an adjustable clock."""
    office.clock = lambda: time.time() + shift[0]
    return {"flows": a_bot(office), "clock": office.clock, "call_wait": 30.0}


def test_a_renewal_that_takes_longer_than_the_wait():
    """A renewal that takes long becomes a turn of its own, as does the call after it, and the reply is delivered."""
    office, shift = Office(), [0.0]
    with FlowStateManager.in_memory(**shops(office, shift)) as manager:
        manager.handle(Message(CHANNEL, "1", text="hi"))
        shift[0], manager._base.call_wait = 400, 0.05
        office.gate.clear()
        outcome = manager.handle(Message(CHANNEL, "2", text="pay"))
        assert words(outcome.replies) == ["We are still working on your last answer; you will hear from us."]
        office.gate.set()
    document = manager.state("m-1")
    assert document is not None
    assert (office.asked, len(office.paid), document.call) == (["login", "login", "pay"], 1, None)


def test_a_renewal_that_takes_longer_than_the_wait_in_tasks():
    """In the async manager, a renewal that takes long continues after the reply, and the call follows it."""
    office, shift = Office(), [0.0]

    async def talk() -> Document | None:
        async with AsyncFlowStateManager.in_memory(**shops(office, shift)) as manager:
            await manager.handle(Message(CHANNEL, "1", text="hi"))
            shift[0], manager._base.call_wait = 400, 0.05
            office.gate.clear()
            outcome = await manager.handle(Message(CHANNEL, "2", text="pay"))
            assert words(outcome.replies) == ["We are still working on your last answer; you will hear from us."]
            await asyncio.to_thread(office.gate.set)
        return await manager.state("m-1")

    document = asyncio.run(talk())
    assert document is not None
    assert (office.asked, len(office.paid), document.call) == (["login", "login", "pay"], 1, None)


def test_the_audit_shows_a_renewal():
    """A renewal has an audit entry of its own."""
    chat, _ = shopping()
    chat.wait(400).say("pay")
    kinds = [unseal(entry).kind for entry in chat.entries()]
    assert kinds[-3:] == ["transition", "renewal", "transition"]


def test_an_entry_flow_renews_nothing():
    """A call of the entry flow renews no token."""
    office = Office()
    token = a_token()
    document = member_document(jwt_token=token, token=TOKENS.life(token, MEMBER, START))
    talk = Talk(a_bot(office), document).wait(400)
    talk.bot = attrs.evolve(talk.bot, home=login)
    talk.say("hi")
    assert office.asked == ["login"]


# The end of it --------------------------------------------------------------------------------------------------------


def test_a_logout_is_final():
    """A logout deletes the token, and the next visit requests another."""
    chat, office = shopping()
    old = chat.document().jwt_token
    assert old is not None
    chat.say("leave")
    document = chat.document()
    assert chat.words == ["Logged out."]
    assert (document.jwt_token, document.token, document.authenticated) == (None, None, False)
    assert old.encode() not in encode(document)
    chat.say("hi")  # home requires a login: through the entry flow, with a token of its own
    assert office.asked == ["login"]
    assert chat.document().jwt_token not in (None, old)


def test_the_sessions_end_drops_the_token():
    """The end of a session deletes the token."""
    office = Office()
    chat = Chat(attrs.evolve(a_bot(office), session=300.0))
    chat.say("hi")
    chat.wait(301).wake()
    document = chat.document()
    assert (document.jwt_token, document.token, document.authenticated) == (None, None, False)


@pytest.mark.parametrize("operator", [True, False])
@pytest.mark.parametrize("how", ["logout", "silence"])
@pytest.mark.parametrize("spoilt", [b"{broken", b'{"member_id":"m-1"}'])
def test_recovery_brings_no_token_back(operator: bool, how: str, spoilt: bytes):
    """Recovery to a document before the token's end does not bring the token back."""
    office = Office()
    chat = Chat(attrs.evolve(a_bot(office), session=300.0), cached=False)
    chat.say("hi")
    old = chat.document().jwt_token
    if how == "logout":
        chat.say("leave")
    else:
        chat.wait(301).wake()
    damage(chat, spoilt)
    office.answers["login"] = [Refused("down")] * 10
    if operator:
        manager = FlowStateManager(chat.bot, chat.store)
        manager.recover("m-1")
    else:
        chat.say("hello?")
    document = chat.document()
    assert (document.jwt_token, document.authenticated, document.token) == (None, False, None)
    assert old is not None
    assert old.encode() not in encode(document)


def test_recovery_keeps_a_token_that_can_be_seen():
    """Recovery of a damaged document keeps a token that can still be read."""
    chat, _ = shopping()
    chat.say("help")
    chat.cache.forget("m-1")
    before = chat.document()
    damage(chat, encode(before).replace(b'"authenticated":true', b'"authenticated"%true'))
    chat.say("hello?")
    assert (chat.document().jwt_token, chat.document().token) == (before.jwt_token, before.token)


def damage(chat: Chat, data: bytes) -> None:
    """Damage the stored document of the member."""
    member = chat.store._members["m-1"]
    assert member.state is not None
    member.state = attrs.evolve(member.state, document=data)


def test_a_member_put_back_long_after_their_session_has_one():
    """A member that recovery puts back gets a new session."""
    office = Office()
    chat = Chat(attrs.evolve(a_bot(office), session=300.0), cached=False)
    chat.say("hi", "help")
    version = chat.document().version
    chat.wait(301).wake()
    chat.wait(3600)
    FlowStateManager(chat.bot, chat.store).recover("m-1", to=version)
    deadline = chat.document().deadline
    assert deadline is not None
    assert deadline.timestamp() == pytest.approx(chat.clock.at + 300)
