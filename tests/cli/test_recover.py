"""Repairs of one member by an operator: recover, reset, wipe and quarantine, by both managers and by the command."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Generator
from types import ModuleType
from typing import Any, TypeAlias

import attrs
import pytest

from tests.bots import Bank, fruit_bot, member_document
from tests.cli_runs import embedded, fresh_flows, invoke
from tests.engines import Proxy, Server, stored_records
from tests.operations.test_handle import member_chat
from vimbiso_fsm import Bot, Flow, Inbox, Later, PassedOn, Sent, State, Text, Transition
from vimbiso_fsm.audit.entries import long_form
from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger
from vimbiso_fsm.document.codec import encode
from vimbiso_fsm.document.document import Document, needs_asking
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.errors import Contended, DamagedDocument, MemberNotFound, NotRecovered
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.memory import AsyncMemoryStore
from vimbiso_fsm.store.requests import Link, Load, Quarantine, ReadRecords, ShowQuarantined
from vimbiso_fsm.testing.chat import CHANNEL

MEMBER = "m-1"
Client: TypeAlias = Any
"""A `redis.Redis`, whose answers redis-py types for sync and async at once."""


class Both:
    """A member on a `MemoryStore`, and an operator with a manager of either kind."""

    def __init__(self, kind: str) -> None:
        self.bank = Bank()
        self.chat = member_chat(self.bank)
        self.kind = kind
        self.told: list[CommitEvent] = []
        store, bot = self.chat.store, self.chat.bot
        self.manager: Any = (
            FlowStateManager(bot, store, observers=[self.told.append])
            if kind == "sync"
            else AsyncFlowStateManager(bot, AsyncMemoryStore(store), observers=[self.told.append])
        )

    def do(self, what: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the manager, and wait for it."""
        result = getattr(self.manager, what)(MEMBER, *arguments, **options)
        return asyncio.run(_wait(result)) if asyncio.iscoroutine(result) else result

    def say(self, *texts: str) -> Outcome:
        """Send messages to a worker that has no document in its cache."""
        self.chat.cache.forget(MEMBER)
        return self.chat.say(*texts)

    def spoil(self, data: bytes | None = b"{broken", *, previous: bytes | None = None) -> None:
        """Damage the stored document, or delete it (None); damage the previous one too, if bytes are given."""
        member = self.chat.store._members[MEMBER]
        assert member.state is not None
        member.state = None if data is None else type(member.state)(member.state.head, data)
        member.previous = previous if previous is not None else member.previous

    @property
    def document(self) -> Document:
        """The stored document."""
        return self.chat.document(MEMBER)

    @property
    def detail(self) -> dict[str, Any]:
        """The kind and the details of the latest audit entry."""
        entry = long_form(self.chat.entries(MEMBER)[-1])
        return {"kind": entry["kind"], **entry["detail"]}

    @property
    def kept(self) -> Any:
        """Everything that is stored of the member."""
        member = self.chat.store._members[MEMBER]
        return attrs.asdict(member), dict(self.chat.store._due)


async def _wait(what: Any) -> Any:
    return await what


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    """A member and an operator, with each kind of manager."""
    return Both(request.param)


# Mending -------------------------------------------------------------------------------------------------------------


def test_a_sound_document_is_left_alone(both: Both):
    """`recover` leaves a sound document alone, says so, and writes nothing."""
    both.say("hi", "order", "ada")
    before = both.kept
    for dry_run in (False, True):
        found = both.do("recover", dry_run=dry_run)
        assert (found.outcome, found.version, found.faults) == ("left alone", 4, ())
        assert found.lines == ("member m-1 at version 4: left alone",)
    assert both.kept == before
    assert both.told == []


def test_an_unknown_member_is_not_recovered(both: Both):
    """`recover`, `reset` and `wipe` refuse a member of whom nothing is stored."""
    both.say("hi")
    for what in ("recover", "reset", "wipe"):
        both.manager, manager = _other(both.manager), both.manager
        with pytest.raises(MemberNotFound, match="'m-2'") as error:
            both.do(what)
        assert error.value.member_id == "m-2"
        both.manager = manager


def _other(manager: Any) -> Any:
    """Wrap a manager so that it asks for another member, whatever id it is given."""

    class Other:
        def __getattr__(self, name: str) -> Any:
            return lambda _, **options: getattr(manager, name)("m-2", **options)

    return Other()


@pytest.mark.parametrize(
    ("data", "previous", "where", "source", "tried"),
    [
        (b"{broken", None, "order.pin", "previous", []),
        (b"{broken", b"{", "order.pin", "turns", ["previous"]),
        (None, None, "order.pin", "previous", []),
        (None, b"{", "order.pin", "turns", ["previous"]),
    ],
)
def test_a_damaged_document_is_repaired_without_a_message(
    both: Both, data: bytes | None, previous: bytes | None, where: str, source: str, tried: list[str]
):
    """`recover` repairs a damaged document from the best source.

    A dry run reports the same and writes nothing. The member is told with the next reply, and asked again.
    """
    both.say("hi", "order", "ada", "1234")
    before = both.document
    both.spoil(data, previous=previous)
    stored = both.kept
    foretold = both.do("recover", dry_run=True)
    assert both.kept == stored
    found = both.do("recover")
    assert found == foretold
    assert (found.outcome, found.source, [name for name, _ in found.tried]) == ("repaired", source, tried)
    assert f"{found.flow}.{found.step}" == where
    assert "document" in found.lost
    detail = both.detail
    assert (detail["kind"], detail["by"], detail["from"]) == ("recovery", "operator", source)
    assert (detail["kept"], detail["lost"]) == (list(found.kept), list(found.lost))
    assert detail["tried"] == dict(found.tried)
    assert [details.entry.kind for details in both.told] == ["recovery"]
    aside = both.do("quarantined")
    assert [one.what for one in aside] == ([] if data is None else ["state"])
    told = long_form(both.chat.entries(MEMBER)[-1])["token"][:10]
    assert both.do("recover").outcome == "left alone"
    after = both.document
    assert (after.member_id, after.channel, after.channels) == (MEMBER, CHANNEL, before.channels)
    assert source != "previous" or after.profile == before.profile
    seen = before.jwt_token is not None and before.jwt_token.encode() in (data or b"")
    assert after.jwt_token == (before.jwt_token if seen else None)
    assert both.say("4321").status == "advanced"
    assert both.chat.words[0].startswith("We had to tidy up our notes")
    assert both.chat.words[0].endswith(f"Reference: {told}")
    if source == "previous":
        assert (both.chat.words[-1], both.document.run.step) == ("Your PIN?", "pin")  # type: ignore[union-attr]
        assert both.document.run.fields["pin"] == ""  # type: ignore[union-attr]
        both.say("4321")
        assert both.chat.words == ["Which fruit?"]
    both.chat.check()


def test_a_core_field_that_is_sound_stays(both: Both):
    """A repair replaces the damaged field only."""
    both.say("hi", "order", "ada")
    before = both.document
    raw = {**loads(encode(before)), "current_account": "none"}
    both.spoil(json.dumps(raw).encode())
    found = both.do("recover")
    assert found.faults == ("current_account must be an object",) or "current_account" in found.faults[0]
    after = both.document
    for name in ("channel", "channels", "profile", "jwt_token", "authenticated", "deadline"):
        assert getattr(after, name) == getattr(before, name), name
    both.chat.check()


def test_a_repair_does_not_go_back_over_a_call(both: Both):
    """A repair never goes back over a call with an effect; the member is told to check."""
    both.say("hi", "order", "ada", "1234", "fruit02")
    confirming = encode(both.document)
    both.say("yes")
    both.spoil(previous=confirming)
    found = both.do("recover")
    assert (found.source, found.flow) == ("fresh", "")
    assert "a call with an effect may have been made since, in turn 7" in dict(found.tried)["previous"]
    both.say("yes")
    assert "could not find out" in both.chat.words[0]
    assert len(both.bank.calls) == 1
    both.chat.check()


def test_an_unknown_channel_reaches_no_member(both: Both):
    """Without a known channel, `recover` leaves the repair to the member's next message, and says so."""
    both.say("hi")
    both.spoil(previous=b"{")
    both.chat.store._members[MEMBER].turns = ()
    with pytest.raises(NotRecovered, match="their next message repairs the document") as error:
        both.do("recover")
    assert (error.value.member_id, error.value.to, error.value.barrier) == (MEMBER, None, None)
    assert both.say("hi").status == "recovered"
    both.chat.check()


@pytest.mark.parametrize("operator", [False, True])
def test_a_recovery_is_logged(both: Both, caplog: pytest.LogCaptureFixture, operator: bool):
    """A repair is logged with what was kept and lost and each rejected source, and without words of the member."""
    both.say("hi", "order", "zebra")
    both.spoil(previous=b'{"zebra":')
    if operator:
        both.do("recover")
    else:
        message = both.chat.message("1234")
        result = both.manager.handle(message)
        _ = asyncio.run(_wait(result)) if asyncio.iscoroutine(result) else result
    (record,) = [one for one in caplog.records if one.levelname == "WARNING" and "was recovered" in one.message]
    assert "m-1" not in record.message  # the reference leads to the entry
    token = long_form(both.chat.entries(MEMBER)[-1])["token"]
    reference = f"'reference': '{token[:10]}'"
    for said in (
        reference,
        "'version': 5",
        "'kept': ",
        "'lost': ('document', ",
        "'from': 'turns'",
        "'tried': {'previous': 'not readable'}",
    ):
        assert said in record.message
    assert "zebra" not in record.message
    assert "zebra" not in str(both.detail)


@pytest.mark.parametrize(("wiped", "why"), [(True, "it was wiped"), (False, "its time was over")])
def test_an_expired_or_wiped_document_is_no_damage(both: Both, wiped: bool, why: str):
    """A document that expired or was wiped is not damage."""
    both.say("hi", "order")
    if wiped:
        both.do("wipe")
    else:
        both.chat.wait(32 * 86_400)
    found = both.do("recover")
    assert (found.outcome, found.faults) == ("left alone", (why,))
    with pytest.raises(NotRecovered, match=why):
        both.do("recover", to=1)


def test_the_faster_writer_wins(both: Both):
    """A message that repairs the document before the operator's commit leaves nothing to recover."""
    both.say("hi", "order", "ada", "1234")
    both.spoil()
    store = both.chat.store
    perform, meddled = store.perform, list[str]()

    def meddling(request: Any) -> Any:
        if isinstance(request, Quarantine) and not meddled:
            meddled.append("now")
            both.chat.cache.forget(MEMBER)
            both.chat.say("hello?")
        return perform(request)

    store.perform = meddling  # type: ignore[method-assign]
    assert both.do("recover").outcome == "left alone"
    assert [long_form(entry)["kind"] for entry in both.chat.entries(MEMBER)].count("recovery") == 1
    both.chat.check()


# Putting back --------------------------------------------------------------------------------------------------------


def test_a_member_is_put_back_to_a_version_that_is_kept(both: Both):
    """`recover --to` restores a kept state from the turn records.

    The later answers are lost and named; the profile, the token and the session stay.
    """
    both.say("hi", "order", "ada", "1234", "fruit02", "back", "back")
    before = both.document
    stored = both.kept
    foretold = both.do("recover", to=4, dry_run=True)
    assert both.kept == stored
    found = both.do("recover", to=4)
    assert found == foretold
    assert (found.outcome, found.source, found.flow, found.step) == ("put back", "version 4", "order", "pin")
    assert found.lost == ("turn 5", "turn 6", "turn 7", "turn 8")
    after = both.document
    assert (after.version, after.profile, after.jwt_token, after.deadline) == (
        before.version + 1,
        before.profile,
        before.jwt_token,
        before.deadline,
    )
    assert after.run is not None
    assert (after.run.fields["name"], after.run.fields["fruit"]) == ("ada", "")
    assert needs_asking(after.run)
    assert [run.flow for run in after.suspended] == ["home"]
    assert both.detail["outcome"] == "put back"
    again = both.do("recover", to=4)
    assert (again.outcome, both.document.version) == ("left alone", after.version)
    both.say("1234")
    assert both.chat.words == [
        "We put this conversation back to an earlier question; let us go on from here.",
        "Your PIN?",
    ]
    both.say("1234", "fruit03", "yes")
    assert len(both.bank.calls) == 1
    assert both.chat.words == ["Paid: receipt-1", "What now?"]
    both.chat.check()


def test_at_the_first_question_whose_answer_no_record_keeps(both: Both):
    """A secret is in no turn record, so it is asked for again."""
    both.say("hi", "order", "ada", "1234", "fruit02", "menu", "yes")
    found = both.do("recover", to=6)
    assert (found.flow, found.step) == ("order", "pin")


def test_a_damaged_member_is_put_back(both: Both):
    """`recover --to` moves a damaged document to quarantine first."""
    both.say("hi", "order", "ada", "1234", "fruit02")
    both.spoil()
    found = both.do("recover", to=3)
    assert (found.outcome, found.step, len(both.do("quarantined"))) == ("put back", "name", 1)
    assert both.say("bob").replies[-1].text == "Your name?"
    both.chat.check()


def test_a_member_is_not_put_back_over_a_call(both: Both):
    """`recover --to` refuses to go back over a call with an effect, and names the turn and the possible versions."""
    both.say("hi", "order", "ada", "1234", "fruit02", "yes", "order", "bob")
    before = both.kept
    with pytest.raises(NotRecovered) as error:
        both.do("recover", to=5)
    assert (error.value.to, error.value.barrier) == (5, 7)
    assert str(error.value) == (
        "member 'm-1' was not put back to version 5: a call with an effect was made in turn 7, or may have been; "
        "version 7 and later are still possible"
    )
    assert both.kept == before
    assert both.do("recover", to=9).step == "name"


@pytest.mark.parametrize(
    ("to", "fault"),
    [(99, "the latest version is 5"), (1, "no state of version 1 is kept; kept are those of 2, 3, 4, 5")],
)
def test_a_version_that_is_not_kept(both: Both, to: int, fault: str):
    """`recover --to` refuses a version that is not kept, and names those that are."""
    both.say("hi", "order", "ada", "1234")
    member = both.chat.store._members[MEMBER]
    member.turns = member.turns[1:]
    with pytest.raises(NotRecovered, match=fault):
        both.do("recover", to=to)


def test_a_version_at_which_a_call_was_on_its_way(both: Both):
    """A version at which a call is pending is no state to go back to, during the call and after it."""
    from vimbiso_fsm.operations.effects import RunCall

    both.say("hi", "order", "ada", "1234", "fruit02")
    exchange = both.chat.begin(both.chat.message("yes"))
    while not isinstance(exchange.request, RunCall):
        both.chat.step(exchange)
    assert both.document.call is not None
    with pytest.raises(NotRecovered, match="a call"):
        both.do("recover", to=7)
    both.chat.finish(exchange)
    with pytest.raises(NotRecovered, match="a call"):
        both.do("recover", to=7)


# Reset, wipe ---------------------------------------------------------------------------------------------------------


def test_reset_ends_every_flow_and_keeps_the_rest(both: Both):
    """`reset` ends the open flows and keeps everything else; a second one changes nothing."""
    both.say("hi", "order", "ada", "menu")
    before = both.document
    done = both.do("reset")
    after = both.document
    assert done.document == after
    assert set(done.flows) == {run.flow for run in (before.run, *before.suspended) if run}
    assert after == attrs.evolve(
        before, run=None, suspended=(), version=before.version + 1, last_updated=after.last_updated
    )
    assert (both.detail["kind"], both.detail["by"]) == ("reset", "operator")
    assert both.do("reset").flows == ()
    assert both.document == after
    both.say("anything")
    assert both.chat.words == ["What now?"]
    both.chat.check()


def test_reset_tells_of_a_call_that_it_leaves(both: Both):
    """`reset` names a pending call; its answer changes nothing later, and it is not made again."""
    from vimbiso_fsm.operations.effects import RunCall

    both.say("hi", "order", "ada", "1234", "fruit02")
    exchange = both.chat.begin(both.chat.message("yes"))
    while not isinstance(exchange.request, RunCall):
        both.chat.step(exchange)
    assert both.do("reset").call == "bank.pay"
    both.chat.finish(exchange)
    both.chat.wait(100)
    both.say("hi")
    assert both.chat.words[0] == "We could not find out whether that was done. Please check before you try again."
    assert (both.chat.words[-1], len(both.bank.calls)) == ("What now?", 1)
    both.chat.check()


def test_reset_repairs_nothing(both: Both):
    """`reset` refuses a damaged document."""
    both.say("hi")
    both.spoil()
    with pytest.raises(DamagedDocument):
        both.do("reset")


def test_wipe_removes_all_but_tokens_and_audit(both: Both):
    """`wipe` keeps the tokens and the audit.

    A message of before the wipe is a duplicate, and the next one begins anew without an authenticated member.
    """
    both.say("hi", "order", "ada", "1234", "fruit02")
    confirm = both.chat.message("yes")
    both.chat.handle(confirm)
    both.spoil()
    both.say("hello")
    done = both.do("wipe")
    assert done.removed == ("state", "previous", "turns", "quarantine")
    stored: Any = both.chat.store.perform(Load(MEMBER, previous=True))
    assert (stored.document, stored.previous, stored.head.version) == (None, None, done.version)
    assert both.chat.store.perform(ReadRecords(MEMBER)) == ()
    assert both.do("quarantined") == ()
    assert FlowAuditLogger.faults(both.chat.entries(MEMBER)) == ()
    assert both.detail["kind"] == "wipe"
    again = both.do("wipe")
    assert (again.removed, again.version) == ((), done.version)
    both.chat.cache.forget(MEMBER)
    assert both.chat.handle(confirm).status == "duplicate"
    assert len(both.bank.calls) == 1
    outcome = both.say("hi")
    assert outcome.status == "advanced"
    assert not outcome.state.authenticated
    assert outcome.state.guest, "the channel was unlinked"
    assert "Your session ended" not in " ".join(both.chat.words)
    both.chat.check()


def test_a_wipe_makes_the_copy_of_a_worker_stale(both: Both):
    """A worker's cached copy of a wiped document leads to a conflict and does not bring it back."""
    both.say("hi", "order", "ada")
    cache = both.chat.cache
    assert cache.document(MEMBER) is not None
    both.do("wipe")
    outcome = both.chat.say("1234")
    assert outcome.state.run is not None
    assert outcome.state.run.flow in ("home", "sign_in")
    assert not outcome.state.authenticated
    both.chat.check()


def test_a_busy_member_is_given_up_in_time(both: Both):
    """`reset` and `wipe` raise `Contended` when they lose every race."""
    both.say("hi", "order")
    both.manager._base.patience = -1.0
    store = both.chat.store
    perform = store.perform

    def busy(request: Any) -> Any:
        result: Any = perform(request)
        if isinstance(request, Load):
            return attrs.evolve(result, head=attrs.evolve(result.head, digest="stale"))
        return result

    store.perform = busy  # type: ignore[method-assign]
    for what in ("reset", "wipe"):
        with pytest.raises(Contended):
            both.do(what)


# On engines, by command ----------------------------------------------------------------------------------------------


@pytest.fixture
def client(valkey_server: Server) -> Generator[Client]:
    """A plain client of the server, to change stored keys directly."""
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def at(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The options that name the store and a package of the test's own."""
    name, _ = fresh_flows(monkeypatch)
    return "--redis", valkey_url, "--flows", name


ADA = "whatsapp:263771000001"


def talk(url: str, *texts: str) -> Outcome:
    """Send messages of Ada, and return the last outcome."""
    import sys

    with FlowStateManager.from_url(url, sys.modules["fresh_flows"].bot) as manager:
        talk.said = getattr(talk, "said", 0)  # type: ignore[attr-defined]
        outcomes = []
        for text in texts:
            talk.said += 1  # type: ignore[attr-defined]
            outcomes.append(manager.handle(Message(Channel(*ADA.split(":")), f"c{talk.said}", text)))  # type: ignore[attr-defined]
    return outcomes[-1]


@embedded
@pytest.mark.embedded
def test_the_commands(at: tuple[str, ...], client: Client):
    """An operator can recover, put back, quarantine, reset and wipe by command, and no output quotes the member."""
    url = at[1]
    talk(url, "hi", "offer", "5")
    code, out, err = invoke("recover", ADA, *at)
    assert (code, err) == (0, "")
    assert out.endswith(": left alone\n")
    (key,) = client.keys("*member-*:state")
    spoilt = client.hget(key, "d")[:-9] + b'zebra"}'
    client.hset(key, "d", spoilt)
    dry = invoke("recover", ADA, "--dry-run", *at)
    assert invoke("quarantine", ADA, *at)[0] == 1
    done = invoke("recover", ADA, *at)
    assert done == dry
    assert done[0] == 0
    assert "repaired" in done[1]
    assert "from: previous" in done[1]
    assert "zebra" not in done[1]
    code, out, _ = invoke("quarantine", ADA, *at)
    assert (code, out) == (0, out)
    assert out.startswith("1. state, at version ")
    code, out, _ = invoke("quarantine", ADA, "--unmasked", "1", *at)
    assert spoilt.decode() in out
    assert invoke("quarantine", ADA, "--unmasked", "2", *at)[0] == 1
    outcome = talk(url, "hello?", "5", "alan")
    version = outcome.state.version
    code, _, err = invoke("recover", ADA, "--to", str(version + 50), *at)
    assert code == 1
    assert "the latest version is" in err
    code, out, err = invoke("recover", ADA, "--to", str(version - 2), *at)
    assert (code, err) == (0, "")
    assert "put back" in out
    assert "stands at: offer." in out
    code, out, _ = invoke("reset", ADA, *at)
    assert (code, out) == (0, "ended: dashboard, offer\n")
    code, out, _ = invoke("wipe", ADA, *at)
    assert (code, out) == (0, "removed: state, previous, turns, quarantine\n")
    assert invoke("wipe", ADA, *at)[1] == "removed: nothing was left\n"
    left = {name.rpartition(b":")[2] for name in client.keys("*:member:member-*")}
    assert left == {b"audit", b"tokens"}
    assert invoke("recover", "nobody", *at)[0] == 1


@embedded
@pytest.mark.embedded
def test_where_a_member_stood_by_the_document_before(at: tuple[str, ...], client: Client):
    """`state --at` finds the latest and the previous state in the documents, without turn records."""
    version = talk(at[1], "hi", "offer", "5").state.version
    shown = [invoke("state", ADA, "--at", str(number), *at) for number in (version, version - 1)]
    for key in client.keys("*:state"):
        client.hdel(key, *stored_records(client, key))
    assert [invoke("state", ADA, "--at", str(number), *at) for number in (version, version - 1)] == shown
    assert [(code, json.loads(out)["step"]) for code, out, _ in shown] == [(0, "handle"), (0, "amount")]
    assert invoke("state", ADA, "--at", str(version - 2), *at)[0] == 1


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["audit", "tokens"])
def test_a_key_of_a_wrong_type(valkey_url: str, client: Client, name: str):
    """A key of a wrong type is repaired like a damaged document.

    The key is moved to quarantine whole, the other keys stay, and a dry run reports the same and moves nothing.
    """
    bot = fruit_bot()
    with FlowStateManager.from_url(valkey_url, bot) as manager:
        manager.ask(Link(CHANNEL, MEMBER))
        manager.save(member_document())
        for place, text in enumerate(("hi", "order", "ada")):
            manager.handle(Message(CHANNEL, f"t{place}", text))
        (key,) = [found.removesuffix(b"state") + name.encode() for found in client.keys(f"*:{MEMBER}:state")]
        client.delete(key)
        client.set(key, "words")
        before = {each: client.dump(each) for each in client.keys("*")}
        foretold = manager.recover(MEMBER, dry_run=True)
        assert {each: client.dump(each) for each in client.keys("*")} == before
        found = manager.recover(MEMBER)
        assert found == foretold
        assert (found.outcome, found.step) == ("repaired", "pin")
        (aside,) = manager.quarantined(MEMBER)
        assert aside.what == name
        assert manager.ask(ShowQuarantined(MEMBER, aside)) == (b"words",)
        assert manager.recover(MEMBER).outcome == "left alone"
        assert manager.history(MEMBER)[-1].kind == "recovery"
        assert manager.wipe(MEMBER).removed[-1] == "quarantine"
        assert manager.quarantined(MEMBER) == ()


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["prev", "turns", "tokens", "audit", "due", "asides"])
def test_wipe_wipes_whatever_stands_there(valkey_url: str, client: Client, name: str):
    """`wipe` deletes a key of a wrong type like any other."""
    bot = fruit_bot()
    with FlowStateManager.from_url(valkey_url, bot) as manager:
        manager.save(member_document())
        manager.update(MEMBER, lambda document: attrs.evolve(document, profile={"n": 1}))
        (state,) = client.keys("*:state")
        shard, _, _ = state.partition(b"}")
        key = shard + b"}:due" if name == "due" else state.removesuffix(b"state") + name.encode()
        client.delete(key)
        client.set(key, "words")
        assert "state" in manager.wipe(MEMBER).removed
        left = {each.rpartition(b":")[2] for each in client.keys("*:member:*")}
        assert left - {b"due", b"lease"} == {b"audit", b"tokens"} or name == "audit"
        assert manager.state(MEMBER) is None


@pytest.mark.embedded
@pytest.mark.parametrize("lost", [1, 2])
def test_a_wipe_whose_answer_is_lost_is_made_once(valkey_server: Server, valkey_url: str, lost: int):
    """A wipe whose reply was lost is asked for again and takes effect once."""
    bot = fruit_bot()
    with FlowStateManager.from_url(valkey_url, bot) as manager:
        manager.save(attrs.evolve(member_document(), channels=()))
    with Proxy(valkey_server.socket) as proxy, FlowStateManager.from_url(proxy.url, bot) as manager:
        proxy.plan = ["pass", "pass", "pass", *["lose"] * lost]  # load, records, the quarantine, the wipe
        done = manager.wipe(MEMBER)
        assert done.removed == ("state", "turns")
        assert [entry.kind for entry in manager.history(MEMBER)] == ["update", "wipe"]
        assert manager.wipe(MEMBER).removed == ()


def _take_nothing(passed: PassedOn) -> Later:
    return Later(1.0)


@pytest.mark.parametrize("command", ["wipe", "erase"])
@pytest.mark.parametrize("reached", [True, False])
@pytest.mark.embedded
@embedded
def test_a_person_is_told_of_the_end(valkey_url: str, monkeypatch: pytest.MonkeyPatch, command: str, reached: bool):
    """A person who has the conversation is told by `--inboxes` that it has ended; without it, the operator is."""
    told = list[str]()

    def take(passed: PassedOn) -> Sent:
        told.append(passed.kind)
        return Sent()

    module = ModuleType("desk")
    flow = Flow(
        "rest",
        initial="rest",
        states=[State("rest", ask=Text("Rest?"))],
        transitions=[Transition("stay", "rest", "rest")],
    )
    module.bot = Bot([flow], inboxes=[Inbox("support", words=("human",))])  # type: ignore[attr-defined]
    module.inboxes = lambda: {"support": take}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "desk", module)
    with FlowStateManager.from_url(valkey_url, module.bot, inboxes={"support": _take_nothing}) as manager:
        member_id = manager.handle(Message(CHANNEL, "1", "hi")).state.member_id
        manager.handle(Message(CHANNEL, "2", "human"))
    options = ("--inboxes", "desk:inboxes") if reached else ()
    code, out, err = invoke(command, member_id, "--redis", valkey_url, "--flows", "desk", *options)
    assert (code, err) == (0, "")
    assert told == (["ended"] if reached else [])
    assert ("a person in inbox support had the conversation" in out) is not reached
