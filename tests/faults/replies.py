"""Faults between worker and server: replies that are lost, late or never arrive; cancellation; a pool too small."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from tests.engines import valkey_program
from tests.faults.bot import till_bot
from tests.faults.checker import check
from tests.faults.clock import AsyncClocked, Clock
from tests.faults.members import Person, deliver_async, judge
from tests.faults.proxy import Plan, proxied
from tests.faults.records import Folder, LedgerTill
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import crews, logged, working
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
from vimbiso_fsm.store.requests import AsyncStore, Commit, Request
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["lost_replies", "people_for"]


def people_for(confirmations: int, each: int) -> list[Person]:
    """Return as many people as needed for a number of sales."""
    return [Person(1 + place, each) for place in range(-(-confirmations // each))]


@row("lost", "30 % of commit replies lost, some requests too", "0 duplicate, 0 missing, 0 false conflict")
def lost(profile: Profile, seed: int) -> Report:
    """Close and reset connections, and delay replies."""
    plan = Plan(seed, drop=0.2, reset=0.1, refuse=0.03, delay=0.03, longest=0.02)
    return lost_replies(profile.of(200, 2_000), plan, workers=profile.of(2, 4))


def lost_replies(confirmations: int, plan: Plan, *, workers: int, mutant: str = "") -> Report:
    """Make confirmations through the proxy."""
    report = Report()
    people = people_for(confirmations, 5)
    with folder() as records, own_server(valkey_program()) as server:
        with proxied(server.socket, plan) as proxy, working(crews(proxy.url, records, people, workers, mutant=mutant)):
            pass
        check(server.url, records, people, report)
        conflicts = sum(line.get("Conflict", 0) for line in records.noted("answers"))
        report.count(conflicts=conflicts, commits=proxy.counts["commits"], lost=proxy.lost)
        report.demand(not conflicts, f"{conflicts} conflicts without another writer")
        report.demand(proxy.lost >= confirmations / 2, f"only {proxy.lost} replies were lost")
    return report


@row("hang", "replies hang; the server stands still", "answered or CommitUnknown within 3 timeouts")
def hang(profile: Profile, seed: int) -> Report:
    """A quarter of the replies never arrive on connections that stay open, and the server is stopped now and then."""
    report, chance, timeout = Report(), random.Random(seed), 1.0
    people = people_for(profile.of(200, 1_000), 2)
    with folder() as records, own_server(valkey_program()) as server:
        plan = Plan(seed, hang=0.1)
        with (
            proxied(server.socket, plan) as proxy,
            working(
                crews(
                    proxy.url,
                    records,
                    people,
                    2,
                    at_once=50,
                    options={"timeout": timeout, "connections": 64},
                    patience=1.0,
                )
            ),
        ):
            for _ in range(profile.of(1, 5)):
                time.sleep(chance.uniform(0.5, 2))
                with server.stopped(chance.uniform(1, 3.5) * timeout):
                    report.count(stops=1)
        check(server.url, records, people, report)
        slowest = max((line["slowest"] for line in records.noted("answers")), default=0.0)
        report.count(hung=proxy.counts["hang"], slowest_in_timeouts=round(slowest / timeout, 2))
        report.demand(slowest <= 3 * timeout, f"a commit took {slowest / timeout:.2f} timeouts")
        report.demand(proxy.counts["hang"] >= 30, f"only {proxy.counts['hang']} replies hung")
    return report


@row("misplaced", "a reply goes missing between others", "no member gets another's reply")
def misplaced(profile: Profile, seed: int) -> Report:
    """One reply of a pipeline never arrives, so the next ones stand in wrong places."""
    report = Report()
    people = people_for(profile.of(200, 1_000), 5)
    with folder() as records, own_server(valkey_program()) as server:
        settings = {"style": "tasks", "at_once": 32, "options": {"timeout": 0.5}, "patience": 1.0}
        with (
            proxied(server.socket, Plan(seed, skip=0.04)) as proxy,
            working(crews(proxy.url, records, people, 2, **settings)),
        ):
            pass
        check(server.url, records, people, report)
        report.count(missing_replies=proxy.counts["skip"])
        report.demand(proxy.counts["skip"] >= 5, f"only {proxy.counts['skip']} replies went missing")
    return report


@row("senseless", "replies that no request can have", "as if they were lost: 0 duplicate, 0 missing, no other error")
def senseless(profile: Profile, seed: int) -> Report:
    """A fifth of the replies to commits is shortened, of another type, or has a spoilt word or number."""
    report = senseless_replies(profile.of(200, 2_000), seed)
    report.demand(
        not report.counts["other_errors"], f"{report.counts['other_errors']:g} errors that are not documented"
    )
    return report


def senseless_replies(confirmations: int, seed: int) -> Report:
    """Make confirmations through a proxy that spoils replies, and count the errors that are not documented."""
    report = Report()
    people = people_for(confirmations, 5)
    with folder() as records, own_server(valkey_program()) as server:
        settings = {"style": "tasks", "at_once": 32, "options": {"timeout": 0.5}, "patience": 1.0}
        with (
            proxied(server.socket, Plan(seed, spoil=0.2)) as proxy,
            working(crews(proxy.url, records, people, 2, **settings)),
        ):
            pass
        check(server.url, records, people, report)
    errors = Counter(line["error"] for line in records.noted("unanswered"))
    documented = {"StoreUnavailable", "CommitUnknown", "Contended", "unconfirmed"}
    report.count(spoilt=proxy.counts["spoil"], other_errors=sum(errors[name] for name in errors.keys() - documented))
    report.demand(proxy.counts["spoil"] >= confirmations / 5, f"only {proxy.counts['spoil']} replies were spoilt")
    return report


# Cancellation ------------------------------------------------------------------------------------------------------


@attrs.define
class _Watched:
    """A store that counts the commits that were begun, and whose they are."""

    store: AsyncStore
    inside: set[str] = attrs.field(factory=set)
    commits: Counter[str] = attrs.field(factory=Counter)

    def begun(self, members: Iterable[str]) -> int:
        """Count the commits begun for members."""
        return sum(self.commits[member] for member in members)

    async def perform(self, request: Request) -> Any:
        if not isinstance(request, Commit):
            return await self.store.perform(request)
        self.commits[request.member_id] += 1
        self.inside.add(request.member_id)
        try:
            return await self.store.perform(request)
        finally:
            self.inside.discard(request.member_id)


@row("cancelled", "cancelled inside the commit", "0 wrong replies, every unknown one resolved")
def cancelled(profile: Profile, seed: int) -> Report:
    """Cancel tasks that share pipelines while their commits are under way."""
    report = Report()
    wanted = profile.of(200, 1_000)
    people = people_for(wanted, 5)
    with folder() as records, own_server(valkey_program()) as server, logged(records):
        asyncio.run(_cancel(server.url, records, people, random.Random(seed), report))
        check(server.url, records, people, report)
    found = report.counts["cancelled"]
    report.demand(found >= wanted, f"only {found} commits were cancelled")
    return report


async def _cancel(url: str, records: Folder, people: Sequence[Person], chance: random.Random, report: Report) -> None:
    clock = Clock()
    free = asyncio.Semaphore(40)
    async with AsyncAtomicStateManager.from_url(url, secret=STORE_SECRET) as store:
        watched = _Watched(AsyncClocked(store, clock))
        bot = till_bot(LedgerTill(records))

        async def talk(person: Person, manager: AsyncFlowStateManager, chance: random.Random) -> None:
            async with free:
                for message in person.messages:
                    again = False
                    for commits in (1, 2):
                        if chance.random() < 0.6:
                            await cancel(person, manager, message, commits, chance)
                            again = True
                    await deliver_async(manager, person, message, records, clock, again=again)

        async def cancel(
            person: Person, manager: AsyncFlowStateManager, message: Message, commits: int, chance: random.Random
        ) -> None:
            """Handle the message, and cancel that once so many commits were begun."""
            members = (person.guest_id, person.member_id)
            turn = asyncio.create_task(manager.handle(message))
            before = watched.begun(members)
            while watched.begun(members) < before + commits and not turn.done():  # noqa: ASYNC110  # looked at each step
                await asyncio.sleep(0)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            inside = not watched.inside.isdisjoint(members)
            if turn.cancel() and inside:
                report.count(cancelled=1)
            try:
                judge(person, message, await turn, records, again=True)
            except asyncio.CancelledError:
                records.note("unanswered", who=person.number, error="CancelledError")

        async with (
            AsyncFlowStateManager(bot, watched, patience=1.0, deliver=records.deliverer, rates=None) as one,
            AsyncFlowStateManager(bot, watched, patience=1.0, deliver=records.deliverer, rates=None) as two,
        ):
            talks = [
                talk(person, (one, two)[place % 2], random.Random(chance.random()))
                for place, person in enumerate(people)
            ]
            await asyncio.gather(*talks)


# At once ----------------------------------------------------------------------------------------------------------


@row("pool", "400 turns at once over a pool of 20", "0 errors")
def pool(profile: Profile, seed: int) -> Report:
    """Handle the first half by 400 threads and the second by 400 tasks, each turn begun by all at one moment."""
    report = Report()
    people = [Person(place, profile.of(1, 5)) for place in range(1, 401)]
    half = len(people[0].messages) // 2
    with folder() as records, own_server(valkey_program()) as server, logged(records):
        bot = till_bot(LedgerTill(records))
        barrier = threading.Barrier(len(people))

        def came_to(person: Person, message: Message, outcome: Outcome | BaseException) -> None:
            if isinstance(outcome, BaseException):
                records.note("wrong", what=f"{person.number}: {type(outcome).__name__}: {outcome}")
            else:
                judge(person, message, outcome, records, again=False)

        def talk(manager: FlowStateManager, person: Person) -> None:
            for message in person.messages[:half]:
                barrier.wait()
                try:
                    outcome: Outcome | BaseException = manager.handle(message)
                except Exception as error:
                    outcome = error
                came_to(person, message, outcome)

        async def talk_together() -> None:
            async with AsyncFlowStateManager.from_url(server.url, bot, rates=None, secret=STORE_SECRET) as manager:
                for messages in zip(*(person.messages[half:] for person in people), strict=True):
                    outcomes = await asyncio.gather(*map(manager.handle, messages), return_exceptions=True)
                    for found in zip(people, messages, outcomes, strict=True):
                        came_to(*found)

        with (
            FlowStateManager.from_url(server.url, bot, rates=None, secret=STORE_SECRET) as manager,
            ThreadPoolExecutor(len(people)) as threads,
        ):
            for done in [threads.submit(talk, manager, person) for person in people]:
                done.result()
        asyncio.run(talk_together())
        check(server.url, records, people, report)
    return report
