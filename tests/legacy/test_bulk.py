"""Records of the previous release on a real server, imported by a message or by a bulk import."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from flows.credex_core import Fault, SimulatedCredexCore
from tests.digests import digests_at
from tests.engines import Server
from tests.legacy.bulk.bot import Everybody, bot
from tests.legacy.bulk.records import BROKEN, offered, registering, text
from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.audit.flow_audit import FlowAuditLogger
from vimbiso_fsm.document.codec import decode
from vimbiso_fsm.document.document import Document, needs_asking, to_be_asked
from vimbiso_fsm.errors import DamagedDocument, RecordNotImported, StoreUnavailable, VimbisoError
from vimbiso_fsm.legacy import Legacy
from vimbiso_fsm.legacy.bulk import BulkImport, Counts, MemberMapping, Report, find, read_mapping
from vimbiso_fsm.legacy.convert import Imported, ImportRecord, convert, import_token
from vimbiso_fsm.legacy.records import SIDE_KEYS, not_imported, record_digests
from vimbiso_fsm.legacy.source import AsyncLegacySource, LegacySource
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.effects import LegacyRecord
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
from vimbiso_fsm.store.requests import Commit, FindOwner, Link, Load, ReadAudit, Request, Stored
from vimbiso_fsm.testing.chat import Held

pytestmark = pytest.mark.embedded

NUMBER, OTHER = "263771234567", "263771234568"
ADA = Channel("whatsapp", NUMBER)
MEMBER = f"m-{NUMBER}"


@pytest.fixture
def client(valkey_server: Server, valkey_url: str) -> Generator[Any, None, None]:
    """Return a client of the server."""
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def core() -> Everybody:
    """Return a service that knows the owner of each number."""
    return Everybody()


class Manage:
    """Makes managers on the server, with one credex-core."""

    def __init__(self, url: str, core: SimulatedCredexCore) -> None:
        self.url, self._core = url, core
        self.made: list[FlowStateManager] = []

    def __call__(self, **options: Any) -> FlowStateManager:
        options = {"legacy": True, "services": {"credex_core": self._core}, **options}
        self.made.append(FlowStateManager.from_url(self.url, bot, **options))
        return self.made[-1]

    def guest(self, channel: Channel) -> str:
        """Return the id of the guest on a channel."""
        return digests_at(self.url).guest_id(channel)

    def digest(self, number: str) -> str:
        """Return the name of a number in reports."""
        return record_digests(digests_at(self.url), number)[0]


@pytest.fixture
def manage(valkey_url: str, core: Everybody) -> Generator[Manage, None, None]:
    """Make managers with a legacy source, and close them after the test."""
    manage = Manage(valkey_url, core)
    yield manage
    for manager in manage.made:
        manager.close()


def say(manager: FlowStateManager, text: str, id: str = "", channel: Channel = ADA, **rest: Any) -> Outcome:
    """Send a text as one message."""
    return manager.handle(Message(channel, id or text, text, **rest))


def stands(document: Document | None) -> tuple[str, str]:
    """Return the flow and the step of the document's run."""
    assert document is not None
    assert document.run is not None
    return document.run.flow, document.run.step


def fields(document: Document) -> Any:
    """Return the fields of the data of the document's run."""
    assert document.run is not None
    return document.run.fields


def migrations(manager: FlowStateManager, member_id: str) -> list[AuditEntry]:
    """Return the audit entries of imports, oldest first."""
    return [entry for entry in manager.history(member_id) if entry.kind == "migration"]


# The scenarios -------------------------------------------------------------------------------------------------------


def test_sg69_a_record_of_the_old_shape_survives(manage: Manage, client: Any, core: Everybody):
    """A record of the previous release is imported with the next message of its number.

    Given a record with `mobile_number` and `member_id` at the top, no `channel`, and an offer at step 1 of 5 USD; when
    the next message arrives; then the channel is WhatsApp with that number, and member id, step and amount are kept.
    """
    old = text(offered(NUMBER, MEMBER))
    client.set(NUMBER, old)
    core.onboard_member(firstname="Alan", lastname="Turing", phone=OTHER)
    outcome = say(manage(), "alan_turing")
    document = outcome.state
    assert (document.member_id, document.guest) == (MEMBER, False)
    assert document.channel.address == ADA.address
    assert [address.identifier for address in document.channels] == [NUMBER]
    assert fields(document)["amount"] == {"amount": "5.00", "currency": "USD"}
    # The text was the answer to step 1, the handle: the member is logged in and continues from there.
    assert stands(document) == ("offer", "confirm")
    assert fields(document)["handle"] == "alan_turing"
    assert document.authenticated
    assert document.jwt_token != "old.token.of-unknown-age"
    [first, *_] = manage().history(MEMBER)
    assert (first.kind, first.version, first.flow, first.dest) == ("migration", 1, "offer", "handle")
    assert client.get(NUMBER) == old, "the original stays until it is purged"


def test_sg69_the_stored_document_has_the_values_of_the_record(manage: Manage, client: Any):
    """The stored document has the step, the answers, the profile and the account of the record."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    migrate(manage.url)
    document = manage().state(MEMBER)
    assert document is not None
    assert stands(document) == ("offer", "handle")
    assert fields(document)["amount"] == {"amount": "5.00", "currency": "USD"}
    assert document.profile["firstname"] == "Ada"
    assert document.current_account["id"] == f"account of {NUMBER}"
    assert (document.version, document.jwt_token) == (1, None)


def test_sg70_conversion_is_safe_to_repeat(manage: Manage, client: Any):
    """Given a converted record; when converted again; then the same record, version raised once."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    first = migrate(manage.url)
    before = manage().state(MEMBER)
    again = migrate(manage.url)
    assert (first.converted, again.converted, again.already) == (1, 0, 1)
    assert manage().state(MEMBER) == before
    assert before is not None
    assert before.version == 1


@pytest.mark.parametrize("member_id", [MEMBER, None], ids=["named", "guest"])
def test_sg70_two_workers_at_once(manage: Manage, client: Any, member_id: str | None):
    """Two workers that convert a record at the same time convert it once, in any order of steps."""
    client.set(NUMBER, text(offered(NUMBER, member_id)))
    record = LegacyRecord(NUMBER, client.get(NUMBER))
    manager = manage()
    one, two = importing_of(record), importing_of(record)
    while one.request is not None or two.request is not None:
        for importing in (one, two):
            if importing.request is not None:
                importing.take(manager.ask(importing.request))
    assert [importing.outcome and importing.outcome.outcome for importing in (one, two)] == ["converted", "already"]
    assert len(migrations(manager, member_id or bot.digests.guest_id(ADA))) == 1


def test_sg70_a_message_and_a_runner_at_once(manage: Manage, client: Any):
    """Each record is converted once and no message is lost when members write during a bulk import."""
    numbers = [f"2637712{n:05}" for n in range(60)]
    for n in numbers:
        client.set(n, text(offered(n, f"m-{n}")))
    workers = [manage(patience=60.0) for _ in range(2)]
    start = threading.Barrier(3)

    def talk(worker: FlowStateManager, which: Sequence[str]) -> list[Outcome]:
        start.wait()
        return [say(worker, "help", f"{n}", Channel("whatsapp", n)) for n in which]

    def run() -> Counts:
        start.wait()
        return migrate(manage.url)

    with ThreadPoolExecutor(3) as pool:
        talks = [pool.submit(talk, workers[0], numbers), pool.submit(talk, workers[1], numbers[::-1])]
        counts = pool.submit(run).result()
        answered = [outcome for one in talks for outcome in one.result()]
    assert counts.converted + counts.already == len(numbers)
    assert counts.refused == 0
    for n in numbers:
        assert len(migrations(workers[0], f"m-{n}")) == 1
        assert stands(workers[0].state(f"m-{n}")) == ("offer", "handle")
    assert {outcome.state.member_id for outcome in answered} == {f"m-{n}" for n in numbers}


class OldRelease:
    """The previous release at the keys of a number, as far as it is known (SG-10, SG-33).

    It reads four keys. A value that is not a JSON object is no session.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def session(self, number: str) -> dict[str, Any]:
        """Return the session that the previous release goes on with, or a new one."""
        found, *beside = self._client.mget([number, *(number + name for name in SIDE_KEYS)])
        if not found:
            return {"member_id": None, "flow_data": None, "jwt_token": None}
        return {**json.loads(found), **dict(zip(SIDE_KEYS, beside, strict=True))}


def test_sg71_old_code_new_record(manage: Manage, client: Any):
    """Given a rollback to the previous release.

    When it reads a new record; then the session restarts cleanly; no partial state is acted upon.
    """
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    client.set(f"{NUMBER}_stage", "handle_action_offer")
    migrate(manage.url, purge=True)
    say(manage(), "help")
    assert manage().state(MEMBER) is not None
    assert OldRelease(client).session(NUMBER) == {"member_id": None, "flow_data": None, "jwt_token": None}
    # Whatever is stored of the member now has a name that no number and no side key of a number can be.
    assert all(key.startswith(b"vimbiso:") for key in client.keys("*"))


def test_sg71_before_the_purge_it_finds_its_own_record(manage: Manage, client: Any):
    """Before the purge the previous release finds its own record unchanged."""
    record = offered(NUMBER, MEMBER)
    client.set(NUMBER, text(record))
    say(manage(), "menu")
    assert {name: OldRelease(client).session(NUMBER)[name] for name in record} == record


# Met by a message ----------------------------------------------------------------------------------------------------


def test_both_shells_convert_on_the_way(valkey_url: str, client: Any, core: Everybody):
    """The async manager imports a record with a message too."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER, channel=True)))

    async def talk() -> Outcome:
        services = {"credex_core": core}
        async with AsyncFlowStateManager.from_url(valkey_url, bot, services=services, legacy=True) as manager:
            return await manager.handle(Message(ADA, "1", "help"))

    assert stands(asyncio.run(talk()).state) == ("offer", "handle")


def test_without_legacy_records_none_are_read(manage: Manage, client: Any):
    """A manager without `legacy=` imports no record."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    assert stands(say(manage(legacy=None), "hi").state) == ("dashboard", "menu")
    assert migrations(manage(), MEMBER) == []


def test_old_records_may_be_elsewhere(manage: Manage, client: Any, valkey_server: Server):
    """The records may be on another database, which a URL names."""
    with valkey_server.client() as other:
        other.select(1)
        other.set(NUMBER, text(offered(NUMBER, MEMBER)))
    assert stands(say(manage(legacy=f"{manage.url}?db=1"), "help").state) == ("offer", "handle")


def test_a_confirmed_offer_is_confirmed_again(manage: Manage, client: Any, core: Everybody):
    """A record after its confirmation is confirmed again, and no offer is sent until then."""
    to = {"handle": "alan_turing", "account_id": "account-7", "name": "Alan Turing"}
    client.set(NUMBER, text(offered(NUMBER, MEMBER, step=3, handle=to)))
    outcome = say(manage(), "yes")
    assert stands(outcome.state) == ("offer", "confirm")
    assert [received.name for received in core.calls if received.name == "createCredex"] == []


@pytest.mark.parametrize("word", ["menu", "hi"])
def test_menu_offers_the_old_flow_back(manage: Manage, client: Any, word: str):
    """A global word as the first message offers the imported flow to be carried on."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    assert stands(say(manage(), word).state) == ("carry_on", "offered")
    assert stands(say(manage(), "yes").state) == ("offer", "handle")


def test_cancel_ends_the_old_flow(manage: Manage, client: Any):
    """The imported flow ends if the first message is "cancel"."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    assert stands(say(manage(), "cancel").state) == ("dashboard", "menu")


def test_a_button_of_the_old_release_is_asked_for_anew(manage: Manage, client: Any):
    """A button of the previous release is no answer: the member logs in, and the question is asked again."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    outcome = manage().handle(Message(ADA, "1", choice="confirm_action"))
    assert stands(outcome.state) == ("offer", "handle")
    assert outcome.status == "advanced"


def test_without_a_login_the_place_and_the_answer_are_kept(manage: Manage, client: Any, core: Everybody):
    """If the login fails, the question and the answer are kept until it succeeds."""
    core.faults = [Fault("down", "login", times=1)]
    core.onboard_member(firstname="Alan", lastname="Turing", phone=OTHER)
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    assert stands(say(manage(), "alan_turing").state) == ("login", "unavailable")
    outcome = say(manage(), "again")
    assert stands(outcome.state) == ("offer", "confirm")
    assert fields(outcome.state)["handle"] == "alan_turing"


def test_a_question_after_the_login_does_not_lose_the_message(manage: Manage, client: Any):
    """A question between the login and the flow does not lose the message before it."""
    number, core = "263771000005", SimulatedCredexCore()
    client.set(number, text(offered(number, None)))
    manager, channel = manage(services={"credex_core": core}), Channel("whatsapp", number)
    assert stands(say(manager, "alan", "1", channel).state) == ("choose_account", "choosing")
    outcome = say(manager, "2", "2", channel)
    assert stands(outcome.state) == ("offer", "confirm")
    assert fields(outcome.state)["handle"] == "alan"
    assert outcome.state.current_account["handle"] == "shop_one"


def test_a_record_without_a_member_id_goes_to_the_login(manage: Manage, client: Any):
    """A record without a member id is a guest's, and its flow goes to the member that the login names."""
    client.set(NUMBER, text(offered(NUMBER, None)))
    outcome = say(manage(), "help")
    assert (outcome.state.member_id, outcome.state.guest) == (MEMBER, False)
    assert stands(outcome.state) == ("offer", "handle")
    assert len(migrations(manage(), MEMBER)) == 1


def test_a_registration_goes_on(manage: Manage, client: Any):
    """A registration goes on at its question, without a login."""
    client.set(NUMBER, text(registering(NUMBER)))
    outcome = say(manage(), "Hopper")
    assert stands(outcome.state) == ("onboard", "confirm")
    assert (fields(outcome.state)["firstname"], fields(outcome.state)["lastname"]) == ("Grace", "Hopper")


@pytest.mark.parametrize("name", ["cut off", "a step of 999", "too long", "two members"])
def test_a_record_that_cannot_be_converted_is_an_incident(manage: Manage, client: Any, name: str):
    """A record that cannot be converted stays, an incident has the reason, and the member begins anew."""
    make, words = BROKEN[name]
    client.set(NUMBER, make(NUMBER))
    outcome = say(manage(), "hi")
    assert stands(outcome.state) == ("dashboard", "menu")
    [incident] = manage().incidents(manage.guest(ADA))
    assert incident.kind == "legacy"
    assert words in f"{incident.detail['field']} {incident.detail['fault']}"
    assert client.get(NUMBER) == make(NUMBER)
    say(manage(), "menu")
    assert len(manage().incidents(manage.guest(ADA))) == 1


def test_a_key_of_another_type_is_no_record(manage: Manage, client: Any):
    """A key of another type is no record, and stays."""
    client.hset(NUMBER, "a", 1)
    assert stands(say(manage(), "hi").state) == ("dashboard", "menu")
    assert client.hgetall(NUMBER) == {b"a": b"1"}


def test_a_record_of_another_channel_is_left_alone(manage: Manage, client: Any):
    """A record of another channel is not used for a member whose identifier is the same number."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    outcome = say(manage(), "help", channel=Channel("sms", NUMBER))
    assert migrations(manage(), MEMBER) == []
    assert manage().incidents(manage.guest(Channel("sms", NUMBER))) == ()
    assert stands(outcome.state)[0] != "offer"


def test_an_identifier_that_is_no_number_is_not_asked_for(manage: Manage, client: Any):
    """An identifier that is not a telephone number names no key."""
    client.set("session:1", text(offered(NUMBER, MEMBER)))
    assert stands(say(manage(), "hi", channel=Channel("whatsapp", "session:1")).state) == ("prove_number", "number")


def test_old_records_out_of_reach_are_no_reason_to_begin_anew(manage: Manage, tmp_path: Path):
    """If the records cannot be read, the message is not answered and can be handled again."""
    with pytest.raises(StoreUnavailable, match="the legacy records cannot be read"):
        say(manage(legacy=f"unix://{tmp_path}/nobody"), "hi")
    assert manage().state(manage.guest(ADA)) is None


def test_a_member_linked_before_is_asked_for_too(manage: Manage, client: Any):
    """A record is imported if a worker died after it linked the channel and before it stored the document."""
    client.set(NUMBER, text(offered(NUMBER, None)))
    manage().ask(Link(ADA, MEMBER))
    outcome = say(manage(), "help")
    assert outcome.state.member_id == MEMBER
    assert stands(outcome.state) == ("offer", "handle")


# All of them ---------------------------------------------------------------------------------------------------------


def migrate(url: str, *, old: str | None = None, **options: Any) -> Counts:
    """Run one bulk import."""

    async def run() -> Counts:
        async with AsyncAtomicStateManager.from_url(url) as store, AsyncLegacySource(old or url) as records:
            return await BulkImport(bot, options.pop("store", lambda s: s)(store), records, **options).run()

    return asyncio.run(run())


@pytest.fixture
def refusals() -> list[RecordNotImported]:
    """Return an empty list for the records that are not imported."""
    return []


def test_all_good_ones_are_converted_and_all_broken_ones_listed(
    manage: Manage, client: Any, refusals: list[RecordNotImported]
):
    """Valid records of both shapes are converted, invalid ones are reported and stay."""
    good = [f"26377100{n:04}" for n in range(30)]
    for n, number in enumerate(good):
        member_id = f"m-{number}" if n % 3 else None
        client.set(number, text(offered(number, member_id, channel=bool(n % 2))))
    broken = {f"26377200{n:04}": make(f"26377200{n:04}") for n, (make, _) in enumerate(BROKEN.values())}
    for number, data in broken.items():
        client.set(number, data)
    client.hset("263773000000", "a", 1)
    client.rpush("263773000001", "a")
    client.set("cart:1", "x")
    client.set(f"{good[0]}_stage", "x")
    counts = migrate(manage.url, refused=refusals.append)
    assert (counts.converted, counts.refused, counts.seen) == (30, len(broken) + 2, 30 + len(broken) + 2)
    digest = manage.digest
    assert {refusal.digest for refusal in refusals} == {
        digest(number) for number in [*broken, "263773000000", "263773000001"]
    }
    manager = manage()
    for n, number in enumerate(good):
        document = manager.state(f"m-{number}" if n % 3 else manage.guest(Channel("whatsapp", number)))
        assert stands(document) == ("offer", "handle")
    assert {number: client.get(number) for number in broken} == broken
    assert migrate(manage.url).already == 30


def test_a_dry_run_writes_nothing(manage: Manage, client: Any):
    """A dry run writes no key but the two that any store records when it is first used."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    client.set(OTHER, b"{")
    before = {key: client.dump(key) for key in client.keys("*")}
    counts = migrate(manage.url, dry_run=True)
    assert (counts.possible, counts.converted, counts.refused) == (1, 0, 1)
    after = {key: client.dump(key) for key in client.keys("*") if key not in {b"vimbiso:shards", b"vimbiso:index"}}
    assert after == before


def test_a_dry_run_deletes_nothing(manage: Manage):
    """A dry run with a purge is refused."""
    with pytest.raises(ValueError, match="a dry run deletes nothing"):
        migrate(manage.url, dry_run=True, purge=True)


def test_a_live_document_is_not_overwritten(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A live document of the member or of the guest on the channel stays, and the record is reported."""
    members = manage(legacy=None)
    member = say(members, "hi").state
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    client.set(OTHER, text(offered(OTHER, "m-x")))
    manage(legacy=None, services={"credex_core": Down()}).handle(Message(Channel("whatsapp", OTHER), "1", "hi"))
    counts = migrate(manage.url, refused=refusals.append)
    assert (counts.converted, counts.refused) == (0, 2)
    assert {refusal.fault for refusal in refusals} == {
        "comes too late: its member has begun a conversation here, which is not overwritten"
    }
    assert members.state(MEMBER) == member
    assert members.member_of(Channel("whatsapp", OTHER)) is None


def test_a_conversation_with_an_account_is_not_doubled(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A record whose member or guest has begun at an account of the bot is reported, and no second guest begins."""
    say(manage(legacy=None), "hi", channel=ADA.with_account("1001"))
    strangers = manage(legacy=None, services={"credex_core": Down()})
    strangers.handle(Message(Channel("whatsapp", OTHER), "1", "hi", account="2002"))
    for number in (NUMBER, OTHER):
        client.set(number, text(offered(number, None)))
    before = {key: client.dump(key) for key in client.keys("*")}
    counts = migrate(manage.url, refused=refusals.append, accounts=("1001", "2002"))
    assert (counts.converted, counts.refused) == (0, 2)
    assert {refusal.fault for refusal in refusals} == {
        "comes too late: its member has begun a conversation here, which is not overwritten"
    }
    assert {key: client.dump(key) for key in client.keys("*")} == before


def test_a_record_is_imported_once_whatever_the_account(manage: Manage, client: Any):
    """A second run finds the record done after the member went on at an account."""
    for number, member_id in ((NUMBER, MEMBER), (OTHER, None)):
        client.set(number, text(offered(number, member_id)))
    assert migrate(manage.url, accounts=("1001",)).converted == 2
    members = manage(legacy=None)
    for number in (NUMBER, OTHER):
        say(members, "help", channel=Channel("whatsapp", number).with_account("1001"))
    assert migrate(manage.url, accounts=("1001",)).already == 2


class Down(SimulatedCredexCore):
    def __init__(self) -> None:
        super().__init__(faults=[Fault("down")])


def test_a_record_that_changed_since_is_another(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A record that changed after its import is reported, and does not overwrite the document."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    migrate(manage.url)
    client.set(NUMBER, text(offered(NUMBER, MEMBER, step=0)))
    counts = migrate(manage.url, refused=refusals.append, purge=True)
    assert (counts.refused, counts.purged) == (1, 0)
    assert stands(manage().state(MEMBER)) == ("offer", "handle")
    assert client.exists(NUMBER)


def test_a_member_is_not_made_of_two(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """Nothing is written if record, mapping and channel index name different members."""
    numbers = [f"26377100{n:04}" for n in range(3)]
    for number in numbers:
        client.set(number, text(offered(number, f"m-{number}")))
    manage().ask(Link(Channel("whatsapp", numbers[0]), "somebody"))
    mapping = MemberMapping({numbers[1]: "somebody else", numbers[2]: f"m-{numbers[2]}"})
    counts = migrate(manage.url, numbers=mapping, refused=refusals.append)
    assert (counts.converted, counts.refused) == (1, 2)
    assert {refusal.field for refusal in refusals} == {"member_id"}
    said = sorted(refusal.fault for refusal in refusals)
    assert said == [
        f"names another member than {who}; a number alone does not prove that they are one"
        for who in ("the channel index", "the mapping")
    ]
    assert manage().state(f"m-{numbers[0]}") is None
    assert manage().state(f"m-{numbers[1]}") is None


def test_two_records_of_one_member_are_not_mixed(manage: Manage, client: Any):
    """Of two records of one member the first is converted, and the second is reported."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    client.set(OTHER, text(offered(OTHER, MEMBER)))
    counts = migrate(manage.url)
    assert (counts.converted, counts.refused) == (1, 1)


def test_a_mapping_names_the_members(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A mapping must name each member that a record does not, unless the flow has no requirements."""
    for number, record in {
        NUMBER: offered(NUMBER, None),
        OTHER: offered(OTHER, None),
        "263771234569": registering("263771234569"),
        "263771234570": {**offered("263771234570", None), "flow_data": None},
        "263771234571": offered("263771234571", None),
    }.items():
        client.set(number, text(record))
    mapping = MemberMapping({NUMBER: MEMBER}, {"263771234571": (3, 9)})
    counts = migrate(manage.url, numbers=mapping, refused=refusals.append)
    assert (counts.converted, counts.refused) == (2, 3)
    assert manage().member_of(ADA) == MEMBER
    assert [refusal for refusal in refusals if "(lines 3, 9)" in refusal.fault]
    assert {refusal.field for refusal in refusals} == {"member_id"}


def test_a_service_is_asked_for_members_that_are_not_named(
    manage: Manage, client: Any, refusals: list[RecordNotImported]
):
    """A look-up is made only for records without a member; if it fails, the record is reported."""
    asked: list[str] = []
    for number in (NUMBER, OTHER, "263771234569"):
        client.set(number, text(offered(number, None)))
    client.set("263771234570", text(offered("263771234570", "m-70")))

    def look_up(number: str) -> str | None:
        asked.append(number)
        if number == OTHER:
            raise ConnectionError
        return MEMBER if number == NUMBER else None

    counts = migrate(manage.url, look_up=look_up, refused=refusals.append)
    assert (counts.converted, counts.refused) == (2, 2)
    assert sorted(asked) == [NUMBER, OTHER, "263771234569"]
    assert sorted(refusal.fault for refusal in refusals) == [
        "could not be looked up: ConnectionError",
        "is not known: neither the record nor the mapping or look-up names a member",
    ]


def test_a_service_is_asked_for_members_of_a_mapping(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A look-up that contradicts the mapping is reported; a member in the record needs none."""
    third, fourth = "263771234569", "263771234570"
    for number, member_id in {NUMBER: None, OTHER: None, third: None, fourth: "m-70"}.items():
        client.set(number, text(offered(number, member_id)))
    mapping = MemberMapping({NUMBER: MEMBER, OTHER: "m-of-nobody", third: "m-of-another", fourth: "m-70"})
    known = {NUMBER: MEMBER, third: f"m-{third}"}
    counts = migrate(manage.url, numbers=mapping, look_up=known.get, refused=refusals.append)
    assert (counts.converted, counts.refused) == (2, 2)
    assert {(refusal.digest, refusal.field, refusal.fault) for refusal in refusals} == {
        (manage.digest(OTHER), "member_id", "is not known: the mapping names a member whom the look-up does not know"),
        (manage.digest(third), "member_id", "is not known: the mapping names another member than the look-up"),
    }
    assert client.get(OTHER) == text(offered(OTHER, None))


def test_the_bots_own_look_up_asks_credex_core(core: Everybody):
    """The look-up of VimbisoPay tells a known number, an unknown one, and an unreachable service apart."""
    legacy = bot.importer
    assert isinstance(legacy, Legacy)
    assert legacy.member_of is not None
    assert legacy.member_of({"credex_core": core}, NUMBER) == MEMBER
    assert legacy.member_of({"credex_core": SimulatedCredexCore()}, NUMBER) is None
    with pytest.raises(ConnectionError, match=r"core\.down"):
        legacy.member_of({"credex_core": Down()}, NUMBER)


class Killed(Exception):
    pass


@attrs.define
class Dying:
    """A store that cannot be reached after a number of requests."""

    store: Any
    left: int

    async def perform(self, request: Request) -> Any:
        if not self.left:
            raise Killed
        self.left -= 1
        result: Any = await self.store.perform(request)
        return result


@pytest.mark.parametrize("member_id", [MEMBER, None], ids=["named", "guest"])
def test_killed_after_any_step_and_started_again(manage: Manage, client: Any, member_id: str | None):
    """After a crash at any step the next bulk import, or the next message, comes to the same document."""
    client.set(NUMBER, text(offered(NUMBER, member_id)))
    for steps in range(10):
        for key in client.keys("vimbiso:*"):
            client.delete(key)
        try:
            migrate(manage.url, store=lambda store, steps=steps: Dying(store, steps))
        except Killed:
            pass
        else:
            assert steps > 2
            break
        counts = migrate(manage.url)
        assert counts.converted + counts.already == 1
        manager = manage()
        assert len(migrations(manager, member_id or manage.guest(ADA))) == 1
        document = manager.state(member_id or manage.guest(ADA))
        assert stands(document) == ("offer", "handle")
        assert manager.member_of(ADA) == member_id
    else:
        raise AssertionError("it never came to its end")


def test_long_forgotten_tokens_are_found_in_the_audit(manage: Manage, client: Any):
    """An import whose token has expired is recognised by its audit entry."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    migrate(manage.url)
    for key in client.keys("*:tokens"):
        client.delete(key)
    counts = migrate(manage.url, purge=True)
    assert (counts.already, counts.purged) == (1, 1)


def test_long_forgotten_tokens_of_a_guest_too(manage: Manage, client: Any):
    """An import of a guest who was promoted is recognised by the guest's audit."""
    client.set(NUMBER, text(offered(NUMBER, None)))
    migrate(manage.url)
    assert say(manage(), "help").state.member_id == MEMBER
    for key in client.keys("*:tokens"):
        client.delete(key)
    counts = migrate(manage.url, purge=True)
    assert (counts.already, counts.purged) == (1, 1)


def test_purge_removes_converted_records_only(manage: Manage, client: Any):
    """A purge deletes converted records and the keys beside them, and nothing else."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    for name in SIDE_KEYS:
        client.set(NUMBER + name, "x")
    client.set(OTHER, b"{")
    client.set(f"{OTHER}_stage", "x")
    counts = migrate(manage.url, purge=True)
    assert (counts.converted, counts.purged, counts.refused) == (1, 1, 1)
    left = {key for key in client.keys("*") if not key.startswith(b"vimbiso:")}
    assert left == {OTHER.encode(), f"{OTHER}_stage".encode()}
    assert stands(manage().state(MEMBER)) == ("offer", "handle")


def test_a_record_that_changes_while_it_is_purged_stays(manage: Manage, client: Any):
    """A record that changes during the purge stays."""

    async def delete() -> int:
        async with AsyncLegacySource(manage.url) as records:
            client.set(NUMBER, b"new")
            return await records.delete([LegacyRecord(NUMBER, b"old"), LegacyRecord(OTHER, b"gone")])

    assert asyncio.run(delete()) == 0
    assert client.get(NUMBER) == b"new"


def test_two_runners_at_once_share_the_work(manage: Manage, client: Any):
    """Two bulk imports at the same time share the records."""
    numbers = [f"26377100{n:04}" for n in range(200)]
    client.mset({number: text(offered(number, f"m-{number}" if n % 2 else None)) for n, number in enumerate(numbers)})

    async def both() -> list[Counts]:
        async with AsyncAtomicStateManager.from_url(manage.url) as store, AsyncLegacySource(manage.url) as records:
            return list(await asyncio.gather(*(BulkImport(bot, store, records).run() for _ in range(2))))

    one, two = asyncio.run(both())
    assert one.converted + two.converted == 200
    assert one.already + two.already == 200
    assert one.refused + two.refused == 0


def test_the_rate_is_kept(manage: Manage, client: Any, monkeypatch: pytest.MonkeyPatch):
    """At most the given number of conversions begins a second; records converted before do not count."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    client.mset({f"26377100{n:04}": text(offered(f"26377100{n:04}", f"m-{n}")) for n in range(20)})
    monkeypatch.setattr("vimbiso_fsm.legacy.bulk.time.monotonic", lambda: 100.0)
    monkeypatch.setattr("vimbiso_fsm.legacy.bulk._sleep", sleep)
    assert migrate(manage.url, rate=10).converted == 20
    assert slept == pytest.approx([n / 10 for n in range(20)])
    slept.clear()
    assert migrate(manage.url, rate=10).already == 20
    assert slept == []


def test_a_run_can_be_cancelled_at_any_moment(manage: Manage, client: Any):
    """A bulk import can be cancelled at any moment, also where redis-py loses the cancellation."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))

    async def run() -> None:
        async with AsyncAtomicStateManager.from_url(manage.url) as store, AsyncLegacySource(manage.url) as records:
            await records.count()
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await BulkImport(bot, store, records).run()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert manage().state(MEMBER) is None


def test_progress_is_told(manage: Manage, client: Any):
    """The progress is the number of keys scanned, at most the number of keys."""
    client.mset({f"26377{n:07}": b"{" for n in range(2_500)})
    told: list[int] = []
    counts = migrate(manage.url, progress=told.append)
    assert sum(told) == counts.keys == counts.seen == 2_500
    assert len(told) > 1


def test_a_number_that_comes_twice_counts_once(manage: Manage, client: Any):
    """A number that a scan returns twice counts once."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))

    class Twice(AsyncLegacySource):
        async def pages(self):
            for _ in range(2):
                yield 2, [NUMBER, NUMBER]

    async def run() -> Counts:
        async with AsyncAtomicStateManager.from_url(manage.url) as store, Twice(manage.url) as records:
            return await BulkImport(bot, store, records).run()

    assert asyncio.run(run()).seen == 1


def test_a_store_that_goes_away_ends_the_run(manage: Manage, client: Any):
    """A failure of the store ends the run, and refuses no record."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))

    class Gone:
        async def perform(self, request: Request) -> Any:
            raise StoreUnavailable("gone")

    refused: list[RecordNotImported] = []
    with pytest.raises(VimbisoError, match="gone"):
        migrate(manage.url, store=lambda store: Gone(), refused=refused.append)
    assert refused == []


def test_damage_at_the_member_is_left_to_recovery(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A damaged document of the member refuses the record, with the advice to recover the member."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    migrate(manage.url)
    [state] = client.keys("*:state")
    client.delete(state, *client.keys("*:tokens"))
    client.set(state, "x")
    assert migrate(manage.url, refused=refusals.append).refused == 1
    assert "vimbiso recover" in refusals[0].fault


@pytest.mark.parametrize("dry_run", [True, False])
def test_damage_to_the_index_ends_no_run(
    manage: Manage, client: Any, refusals: list[RecordNotImported], *, dry_run: bool
):
    """A damaged entry of the index is put aside and its record imported; a dry run names it and changes nothing."""
    for number in (NUMBER, OTHER):
        client.set(number, text(offered(number, f"m-{number}")))
    manage().ask(Link(ADA, "nobody"))
    (key,) = client.keys("*:channel:*")
    client.set(key, b"\xff\xfe")
    counts = migrate(manage.url, dry_run=dry_run, refused=refusals.append)
    if dry_run:
        assert (counts.possible, counts.refused) == (1, 1)
        assert "index is damaged" in refusals[0].fault
        assert client.get(key) == b"\xff\xfe"
        assert manage().incidents() == ()
    else:
        assert (counts.converted, counts.refused) == (2, 0)
        assert manage().member_of(ADA) == MEMBER
        assert [incident.detail["key"] for incident in manage().incidents()] == ["FindOwner"]


def test_an_unexpected_error_at_one_record_ends_no_run(
    manage: Manage, client: Any, refusals: list[RecordNotImported], monkeypatch: pytest.MonkeyPatch
):
    """An exception that no rule foresees refuses its record, without what it quotes; the others are imported."""
    for number in (NUMBER, OTHER):
        client.set(number, text(offered(number, f"m-{number}")))

    def cursed(bot: Any, old: Any, now: Any, *, member_id: Any = None) -> Any:
        if member_id == MEMBER:
            raise RecursionError("private")
        return convert(bot, old, now, member_id=member_id)

    monkeypatch.setattr("vimbiso_fsm.legacy.convert.convert", cursed)
    counts = migrate(manage.url, refused=refusals.append)
    assert (counts.converted, counts.refused) == (1, 1)
    assert "RecursionError" in refusals[0].fault
    assert "private" not in str(refusals[0])


def test_damage_at_one_member_ends_no_run(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """Damage at one member refuses that record, without what the error quotes, and the others are imported."""
    for number in (NUMBER, OTHER):
        client.set(number, text(offered(number, f"m-{number}")))

    class Cursed:
        def __init__(self, store: AsyncAtomicStateManager) -> None:
            self.store = store

        async def perform(self, request: Request) -> Any:
            if isinstance(request, Commit) and request.member_id == MEMBER:
                raise DamagedDocument(MEMBER, "private")
            return await self.store.perform(request)

    counts = migrate(manage.url, store=Cursed, refused=refusals.append)
    assert (counts.converted, counts.refused) == (1, 1)
    assert "DamagedDocument" in refusals[0].fault
    assert "private" not in str(refusals[0])


def test_a_document_too_large_is_refused(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A record whose document would be too large is refused.

    Escapes that need twelve bytes in the record and three in the document do not count.
    """
    accounts = [{"accountID": "x" * 80, "accountName": "y" * 80} for _ in range(290)]
    record = offered(NUMBER, MEMBER)
    del record["_previous_state"]
    record["profile"] = {"dashboard": {"accounts": accounts}}
    assert len(text(record)) < 65_536
    client.set(NUMBER, text(record))
    assert migrate(manage.url, refused=refusals.append).refused == 1
    assert "65536" in refusals[0].fault
    assert manage().state(MEMBER) is None


# One step after the other --------------------------------------------------------------------------------------------


def importing_of(record: LegacyRecord) -> Held[Imported]:
    """Return the import of a record, up to its first request."""
    return Held(Context(bot, Cache(), 0.0), ImportRecord(bot, record).run)


def import_up_to(manage: Manage, kind: Callable[[Any], bool], record: LegacyRecord) -> Held[Imported]:
    """Return an import whose next request is of this kind."""
    importing = importing_of(record)
    while importing.request is not None and not kind(importing.request):
        importing.take(manage().ask(importing.request))
    assert importing.request is not None
    return importing


def test_the_steps_are_these(manage: Manage):
    """The requests of an import are made in this order."""
    kinds: list[type[object]] = []
    importing = importing_of(LegacyRecord(NUMBER, text(offered(NUMBER, MEMBER))))
    while importing.request is not None:
        kinds.append(type(importing.request))
        importing.take(manage().ask(importing.request))
    assert kinds == [FindOwner, Commit, Load, Link, Commit]
    assert importing.outcome == Imported("converted", manage().state(MEMBER))


def test_the_channel_is_given_away_meanwhile(manage: Manage):
    """A channel that is linked to another member during an import is not taken from them."""
    record = LegacyRecord(NUMBER, text(offered(NUMBER, MEMBER)))
    importing = import_up_to(manage, lambda request: isinstance(request, Link), record)
    manage().ask(Link(ADA, "somebody"))
    with pytest.raises(RecordNotImported, match="names another member than the channel index"):
        importing.take(manage().ask(importing.request))
    assert manage().state(MEMBER) is None


def test_a_late_link_is_taken_back_where_the_channel_has_left(manage: Manage):
    """An import that stopped before its link leads no channel to a member who was imported, and has left it, since."""
    record = LegacyRecord(NUMBER, text(offered(NUMBER, MEMBER)))
    held = import_up_to(manage, lambda request: isinstance(request, Link), record)
    finished = importing_of(record)
    while finished.request is not None:
        finished.take(manage().ask(finished.request))
    manage(legacy=None).unlink(MEMBER, ADA)
    while held.request is not None:
        held.take(manage().ask(held.request))
    assert held.outcome == Imported("already")
    assert manage().ask(FindOwner(ADA)).member_id is None
    stored = manage().state(MEMBER)
    assert stored is not None
    assert stored.channels == ()


def test_the_member_begins_meanwhile(manage: Manage):
    """A document that a member begins during an import is not overwritten."""
    record = LegacyRecord(NUMBER, text(offered(NUMBER, MEMBER)))
    stores = lambda request: isinstance(request, Commit) and request.document is not None  # noqa: E731
    importing = import_up_to(manage, stores, record)
    say(manage(legacy=None), "hi")
    before = manage().state(MEMBER)
    with pytest.raises(RecordNotImported, match="comes too late"):  # noqa: PT012  # after a look at what is stored
        while importing.request is not None:
            importing.take(manage().ask(importing.request))
    assert manage().state(MEMBER) == before
    assert manage().ask(FindOwner(ADA)).member_id == MEMBER


def test_the_audit_names_the_record_by_its_token_and_nothing_else(manage: Manage, client: Any):
    """The audit entry of an import has its token, and no number, login token or answer that is not public."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    migrate(manage.url)
    [entry] = manage().history(MEMBER)
    assert (entry.token, entry.detail) == (
        import_token(LegacyRecord(NUMBER, client.get(NUMBER)), digests_at(manage.url).token_key),
        {"shape": "phone"},
    )
    entries = manage().ask(ReadAudit(MEMBER))
    assert NUMBER.encode() not in b"".join(stored.body for stored in entries).replace(MEMBER.encode(), b"")
    assert FlowAuditLogger.read(entries) == (entry,)


# The mapping, and the report -----------------------------------------------------------------------------------------

MAPPING = f"""\
number,member_id
{NUMBER},m-1
+{OTHER}, m-2

263771234569,m-3
263771234569,m-4
263771234570,m-5
263771234570,m-5
not a number,m-6
0771234567,m-7
263771234571,
263771234572
263771234573,m-8,more
"263771234574,m-9
{{"number": "263771234575", "member_id": "m-10"}}
{{"number": 263771234576, "member_id": "m-11"}}
{{"number": "263771234577"
263771234578,m\x00-12
"""


def test_a_mapping_is_read_line_by_line(tmp_path: Path):
    """Each unused line of a mapping is reported with its fault and a masked number."""
    path = tmp_path / "numbers.csv"
    path.write_bytes(b"\xef\xbb\xbf" + MAPPING.encode() + b"\xff,m-13\n" + b"1" * 5_000 + b"\n")
    found = read_mapping(path)
    assert found.members == {NUMBER: "m-1", OTHER: "m-2", "263771234570": "m-5", "263771234575": "m-10"}
    assert found.ambiguous == {"263771234569": (5, 6)}
    places = [int(fault.split(":")[0].removeprefix("mapping line ")) for fault in found.faults]
    assert places == [6, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20]
    assert found.faults[0] == "mapping line 6: •••569 was given to another member in line 5"
    assert not any("26377" in fault for fault in found.faults)


def test_a_report_is_for_its_owner_and_says_when_it_is_whole(tmp_path: Path):
    """Only its owner can read a report, which ends with the counts and names no number."""
    path = tmp_path / "report.jsonl"
    with Report(path) as report:
        report.mapping("mapping line 2: has 1 cells")
        report.add(not_imported(NUMBER, "flow_data.step", "is missing").with_digest("0123abcd"))
        report.end(Counts(refused=1))
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["mapping", "record", "summary"]
    assert lines[1] == {
        "kind": "record",
        "record": "•••567",
        "digest": "0123abcd",
        "field": "flow_data.step",
        "reason": "is missing",
    }
    assert NUMBER not in path.read_text()


def test_a_record_of_a_report_is_found_again(manage: Manage, client: Any):
    """`find` returns the number of a digest, or of its beginning."""
    client.mset({NUMBER: b"{", OTHER: b"{"})

    async def look(digest: str) -> tuple[str, ...]:
        async with (
            AsyncLegacySource(manage.url) as records,
            AsyncAtomicStateManager.from_url(manage.url) as store,
        ):
            return await find(records, store, digest)

    assert asyncio.run(look(manage.digest(NUMBER))) == (NUMBER,)
    assert asyncio.run(look(manage.digest(NUMBER)[:8])) == (NUMBER,)
    assert asyncio.run(look("0" * 16)) == ()


def test_old_records_are_in_no_cluster():
    """The URL of a cluster is refused for records."""
    for kind in (LegacySource, AsyncLegacySource):
        with pytest.raises(StoreUnavailable, match="not in a cluster"):
            kind("redis+cluster://127.0.0.1:1")


def test_the_clock_is_the_stores(manage: Manage, client: Any):
    """The instant of an import is that of the store's clock."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))

    async def run(hours: int) -> None:
        shift = 3600.0 * hours
        store, records = AsyncAtomicStateManager.from_url(manage.url, shift=shift), AsyncLegacySource(manage.url)
        async with store, records:
            await BulkImport(bot, store, records).run()

    now = manage().ask(Load("nobody")).at
    asyncio.run(run(5))
    stored = manage().ask(Load(MEMBER))
    assert isinstance(stored, Stored)
    assert stored.document is not None
    document = decode(stored.document)
    assert document.deadline is not None
    assert document.last_updated.timestamp() - now == pytest.approx(5 * 3600, abs=600)
    assert document.deadline - document.last_updated == timedelta(seconds=bot.session.idle)


def test_one_record_is_read(manage: Manage, client: Any):
    """A source returns a record, None where there is none, and only the type of another key."""
    client.set(NUMBER, b"x" * 70_000)
    client.hset(OTHER, "a", 1)
    with LegacySource(manage.url) as records:
        found = records.read(NUMBER)
        assert found is not None
        assert len(found.data) == 65_537
        assert records.read(OTHER) == LegacyRecord(OTHER, kind="hash")
        assert records.read("263770000000") is None


# Beside an operator, and beside who writes --------------------------------------------------------------------------


def test_a_wiped_guests_record_does_not_come_back(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """The record of a wiped guest is not imported again, neither for the guest nor for a mapped member."""
    client.set(NUMBER, text(offered(NUMBER, None)))
    migrate(manage.url)
    manage().wipe(manage.guest(ADA))
    counts = migrate(manage.url, numbers=MemberMapping({NUMBER: MEMBER}), refused=refusals.append)
    assert (counts.converted, counts.already, refusals) == (0, 1, [])
    manage().ask(Link(ADA, MEMBER))
    outcome = say(manage(), "hi")
    assert outcome.state.run is None or outcome.state.run.flow != "offer"
    assert migrations(manage(), MEMBER) == []


def test_a_wiped_guest_who_had_begun_by_themselves_gets_no_record(
    manage: Manage, client: Any, refusals: list[RecordNotImported]
):
    """A record that was refused because the guest had begun stays refused after a wipe."""
    say(manage(legacy=None, services={"credex_core": Down()}), "hi")
    client.set(NUMBER, text(offered(NUMBER, None)))
    manage().wipe(manage.guest(ADA))
    counts = migrate(manage.url, numbers=MemberMapping({NUMBER: MEMBER}), refused=refusals.append)
    assert (counts.converted, counts.refused) == (0, 1)
    assert "comes too late" in refusals[0].fault


def test_a_mapping_that_names_a_wiped_member_brings_nothing_back(
    manage: Manage, client: Any, refusals: list[RecordNotImported]
):
    """A record that a mapping gives to a wiped member is refused."""
    client.set(OTHER, text(offered(OTHER, MEMBER)))
    migrate(manage.url)
    client.delete(OTHER)
    manage().wipe(MEMBER)
    client.set(NUMBER, text(offered(NUMBER, None)))
    assert migrate(manage.url, numbers=MemberMapping({NUMBER: MEMBER}), refused=refusals.append).refused == 1
    assert manage().state(MEMBER) is None


def test_a_record_under_no_bare_number_is_listed(manage: Manage, client: Any, refusals: list[RecordNotImported]):
    """A record under a number with other characters is reported, and that of the bare number is converted."""
    for name in (NUMBER, f"+{NUMBER}", "263 77 123 4567", f"+{NUMBER}_stage", "+", "1 2"):
        client.set(name, text(offered(NUMBER, MEMBER)))
    counts = migrate(manage.url, refused=refusals.append, purge=True)
    assert (counts.converted, counts.refused, counts.purged) == (1, 2, 1)
    assert {refusal.fault for refusal in refusals} == {
        "is kept under a number with other characters than digits; the previous release kept none of these"
    }
    assert client.exists(f"+{NUMBER}", "263 77 123 4567", f"+{NUMBER}_stage") == 3


def test_type_and_text_of_a_record_are_read_at_one_moment(manage: Manage, client: Any):
    """The type and the text of a record are read in one transaction."""
    client.set(NUMBER, b"{}")
    client.config_resetstat()
    with LegacySource(manage.url) as records:
        records.read(NUMBER)

    async def read_all() -> None:
        async with AsyncLegacySource(manage.url) as records:
            await records.read_all([NUMBER, OTHER])

    asyncio.run(read_all())
    assert client.info("commandstats")["cmdstat_exec"]["calls"] == 2


def test_the_way_in_comes_before_a_question_that_is_asked_anew(manage: Manage, client: Any):
    """The login comes before a question that a deploy or an operator has put in place of the imported one."""
    client.set(NUMBER, text(offered(NUMBER, MEMBER)))
    migrate(manage.url)

    def moved(document: Document) -> Document:
        assert document.run is not None
        assert document.run.waits == "entry"
        return attrs.evolve(document, run=to_be_asked(document.run))

    manage().update(MEMBER, moved)
    outcome = say(manage(), "alan_turing")
    assert (stands(outcome.state), outcome.state.authenticated) == (("offer", "handle"), True)
    assert outcome.state.run is not None
    assert (outcome.state.run.waits, needs_asking(outcome.state.run)) == ("", False)
    assert stands(say(manage(), "menu").state)[0] == "carry_on"
