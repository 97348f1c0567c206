"""Rows that try the suite itself: run on something broken, it must fail. These rows hold when it does."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs

from tests.digests import token_of
from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.broken_entries import broken_due_sets
from tests.faults.checker import check
from tests.faults.clock import Clock, Clocked
from tests.faults.flips import FIRST, Errand, Flip, flipped_bits
from tests.faults.given import given_at_each_step
from tests.faults.handovers import handed_to_failing_inboxes
from tests.faults.identities import identities_under_load
from tests.faults.members import deliver
from tests.faults.mutants import counted_fences, counted_keys, mutated
from tests.faults.neighbours import neighbours
from tests.faults.proxy import Plan
from tests.faults.records import LedgerTill
from tests.faults.repeats import restored_store
from tests.faults.replies import lost_replies, people_for
from tests.faults.restores import sold_around_a_restore
from tests.faults.rotations import keys_rotate
from tests.faults.row import Profile, Report, folder, row
from tests.faults.senders import hostile_senders
from tests.faults.sendings import numbers_said
from tests.faults.server import own_server
from tests.faults.servers import killed_server
from tests.faults.services import misbehaving
from vimbiso_fsm.document import marks
from vimbiso_fsm.document.document import Member
from vimbiso_fsm.engine import schedule
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.flow import bot as bot_module
from vimbiso_fsm.messages.proof import PROOFS
from vimbiso_fsm.operations import handle, sending, wake
from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.runtime import worker
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.runtime.services import Places
from vimbiso_fsm.store import script
from vimbiso_fsm.store.packing import unpack
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.store.requests import ReadDue
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__: list[str] = []


def _bitten(broken: Callable[[], Report], proof: str) -> Report:
    """Return the report of the suite on something broken; it holds when `proof` is among what was found wrong."""
    found = broken()
    proofs = [wrong for wrong in found.wrong if re.search(proof, wrong)]
    report = Report(counts=dict(found.counts))
    report.count(found=len(proofs))
    report.demand(proofs, f"it went unnoticed; found were {found.wrong[:3]}")
    return report


@row("teeth-no-token", "30 % of commit replies lost, a commit without the token", "found out")
def no_token(profile: Profile, seed: int) -> Report:
    """Repeated commits meet their own work and take it for the work of another worker."""
    plan = Plan(seed, drop=0.2, reset=0.1)
    return _bitten(
        lambda: lost_replies(profile.of(50, 200), plan, workers=2, mutant="no token"),
        "conflicts without another writer",
    )


@row("teeth-key-without-token", "words that another system gives again, a commit without the token", "found out")
def key_without_token(profile: Profile, seed: int) -> Report:
    """Words under one key are said as often as they are given."""
    return _bitten(lambda: given_at_each_step(profile, seed, "no token"), "tell killed at .* taken in 3 times")


@row("teeth-no-append-only", "server kill −9 without an append-only file", "found out")
def no_append_only(profile: Profile, seed: int) -> Report:
    """Everything that was acknowledged is lost."""
    return _bitten(lambda: killed_server(profile.of(50, 200), 2, seed, "--appendonly", "no"), "is stored 0 times")


@row("teeth-no-digest", "an older copy of the store, a head without its digest", "found out")
def no_digest(profile: Profile, seed: int) -> Report:
    """The version of the stale worker has the number of the stored one."""

    def broken() -> Report:
        with mutated("no digest"):
            return restored_store(profile.of(50, 200), seed)

    return _bitten(broken, "does not continue|were counted of")


async def _unmended(_: Context, request: ReadDue) -> tuple[str, ...]:
    """Read the due members of a shard, as a worker does that puts no damage aside."""
    return await request


@row("teeth-no-isolation", "a broken entry in due sets, a worker that puts none aside", "found out")
def no_isolation(profile: Profile, seed: int) -> Report:
    """The members of a shard with a broken entry are not woken."""

    def broken() -> Report:
        with mock.patch.object(worker, "due_members", _unmended):
            return broken_due_sets(profile.of(20, 100), seed, limit=2.0)

    return _bitten(broken, "the timer went off 0 times")


@row("teeth-no-secret-inside", "secrets that are looked for in the fields of the data, not inside", "found out")
def no_secret_inside(profile: Profile, seed: int) -> Report:
    """The PIN that a class in the data holds stands in the turn records."""

    def broken() -> Report:
        with mock.patch.object(marks, "_within", return_value=()):
            return _sales(profile.of(5, 20))

    return _bitten(broken, "the PIN is in the audit or in a turn record")


def _sales(count: int) -> Report:
    """Let members confirm one sale each, without any fault."""
    report, people = Report(), people_for(count, 1)
    with (
        folder() as records,
        own_server(valkey_program()) as server,
        AtomicStateManager.from_url(server.url, secret=STORE_SECRET) as store,
    ):
        clock = Clock()
        manager = FlowStateManager(till_bot(LedgerTill(records)), Clocked(store, clock), rates=None)
        for person in people:
            for message in person.messages:
                deliver(manager, person, message, records, clock)
        check(server.url, records, people, report)
    return report


@row("teeth-one-namespace", "two bots under one name in one namespace", "found out")
def one_namespace(profile: Profile, seed: int) -> Report:
    """The bots share each member, and each replies with what the member told the other."""
    return _bitten(lambda: neighbours(profile.of(4, 20), seed, namespaces=("", "")), "has words of another")


@row("teeth-no-check", "flipped bits in an amount, a document that is not compared with its check", "found out")
def no_check(profile: Profile, seed: int) -> Report:
    """Another amount is shown, or paid by the confirmation of the one that was shown."""

    def of_the_amount(errand: Errand, flips: list[Flip]) -> list[Flip]:
        stored = b'"amount":%d' % errand.wanted[0]
        found = [flip for flip in flips if flip.where == "state.d" and stored not in flip.commands[0][-1]]
        return random.Random(seed).sample(found, profile.of(8, len(found)))

    def unread(_: str, kept: list[Any]) -> Any:
        return kept[2] and unpack(kept[2])

    def broken() -> Report:
        with mock.patch.object(script, "_document", unread):
            return flipped_bits([FIRST], of_the_amount)

    return _bitten(broken, r"paid: .*'m-263700000001', (?!10,|20,)\d+, 'bea'")


@row("teeth-one-set-of-tokens", "flipped bits in a token that is kept once", "found out")
def one_set_of_tokens(profile: Profile, seed: int) -> Report:
    """A confirmation that is delivered again confirms the next payment."""
    again = token_of(FIRST.message("4", "yes")).encode()

    def of_the_token(_: Errand, flips: list[Flip]) -> list[Flip]:
        return [flip for flip in flips if flip.where == "state.t" and again not in flip.commands[0][-1]][:8]

    def broken() -> Report:
        with mutated("tokens once"):
            return flipped_bits([FIRST], of_the_token)

    return _bitten(broken, "paid: by a message that was delivered again")


@row("teeth-one-token-key", "keys rotate, a commit that looks for the tokens of the current key alone", "found out")
def one_token_key(profile: Profile, seed: int) -> Report:
    """Messages of before a rotation are new ones after it."""
    count = profile.of(10, 100)
    return _bitten(lambda: keys_rotate(seed, count, 1, workers=1, mutant="one key"), "again came to '(?!duplicate)")


@row("teeth-shared-accounts", "two accounts of a bot that count as one", "found out")
def shared_accounts(profile: Profile, seed: int) -> Report:
    """A confirmation at one account is taken for the question of the other."""
    return _bitten(lambda: neighbours(profile.of(4, 20), seed, accounts="shared"), "has words of another")


@row("teeth-unproven-number", "ids that look like numbers, a table in which Telegram proves numbers", "found out")
def unproven_number(profile: Profile, seed: int) -> Report:
    """An account of Telegram gets into the account of the number that its id looks like."""

    def broken() -> Report:
        with mock.patch.object(bot_module, "PROOFS", {**PROOFS, "telegram": "phone"}):
            return identities_under_load(profile.of(4, 40), seed)

    return _bitten(broken, "an id of ten digits was answered")


@row("teeth-one-owner", "numbers that change hands, a login that names another member and is not heeded", "found out")
def one_owner(profile: Profile, seed: int) -> Report:
    """The new owner of a number goes on in the account of the former one."""

    def take(draft: Draft, member: Member[Any]) -> None:
        same = draft.before.guest or member.id == draft.before.person
        draft.member = member if same else attrs.evolve(member, id=draft.before.person)

    def broken() -> Report:
        with mock.patch.object(Draft, "take_member", take):
            return identities_under_load(profile.of(4, 40), seed)

    return _bitten(broken, r"b\d+ was told of|paid: ")


@row("teeth-no-bound", "a service that hangs, and places that are left while their threads go on", "found out")
def no_bound(profile: Profile, seed: int) -> Report:
    """Each attempt that is left behind gives its place to the next one, and the threads add up."""

    def leave(places: Places, attempt: object, *, taken: bool) -> None:
        if taken:
            places.leave()

    def broken() -> Report:
        with mock.patch.object(Places, "leave_behind", leave):
            return misbehaving("sync", profile.of(100, 300), 2, seed, lets_go=False)

    return _bitten(broken, "threads were in calls")


@row("teeth-not-struck-off", "senders that fail; what was sent is not struck off the outbox", "found out")
def not_struck_off(profile: Profile, seed: int) -> Report:
    """What was sent is sent again by a worker."""

    def broken() -> Report:
        with mock.patch.object(sending, "note_sent"), mock.patch.object(handle, "note_sent"):
            return numbers_said(profile.of(5, 12), 4, seed)

    return _bitten(broken, r"came \d+ times")


@row("teeth-left-unsaid", "senders that fail; what a process has left is taken for said", "found out")
def left_unsaid(profile: Profile, seed: int) -> Report:
    """What was not sent at once is never sent."""

    def broken() -> Report:
        with (
            mock.patch.object(sending, "is_left", return_value=False),
            mock.patch.object(sending, "is_over", return_value=False),
        ):
            return numbers_said(profile.of(5, 12), 4, seed)

    return _bitten(broken, "were lost|was never taken|something is left")


@row("teeth-no-door", "a flood of unknown senders, a manager without rates", "found out")
def no_door(profile: Profile, seed: int) -> Report:
    """Each sender of the flood is taken, and stored."""
    del seed  # nothing is drawn
    return _bitten(lambda: hostile_senders(profile.of(1, 5), None), "new guests were taken")


@row("teeth-counted-keys", "an older copy of the store, keys of calls made of a version", "found out")
def keys_by_version(profile: Profile, seed: int) -> Report:
    """The next sale has the key of a sale that the copy has forgotten."""

    def broken() -> Report:
        with counted_keys():
            return sold_around_a_restore(profile.of(16, 50), 10, seed)

    return _bitten(broken, "one key stands for 2 sales|by a receipt of another sale")


@row("teeth-counted-buttons", "an older copy of the store, buttons fenced by a version", "found out")
def buttons_by_version(profile: Profile, seed: int) -> Report:
    """A button of a question that the copy has forgotten is taken for one of the question that is asked now."""

    def broken() -> Report:
        with counted_fences():
            return sold_around_a_restore(profile.of(16, 50), 10, seed)

    return _bitten(broken, "one choice stands for two questions|a button of .* has sold")


@row("teeth-overtaking", "an inbox that fails, and words that do not wait for those before them", "found out")
def overtaking(profile: Profile, seed: int) -> Report:
    """Everything that waits is on its way at once, and passes before what the inbox has not taken yet."""

    def broken() -> Report:
        with (
            mock.patch.object(schedule, "first_passing", list),
            mock.patch.object(wake, "first_passing", list),
        ):
            return handed_to_failing_inboxes(profile.of(3, 10), 12, seed)

    return _bitten(broken, "passed: out of order")
