"""Faults of several servers: a primary that dies under its Sentinels, and a cluster whose slots move.

A member at durability "replicated" counts an answer that no replica has confirmed as none: the message is sent again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from redis.crc import key_slot

from tests.deployments import Handover, Nodes, Pair, cluster, on_a_port, watched
from tests.engines import valkey_program
from tests.faults.checker import check
from tests.faults.members import Person
from tests.faults.records import Folder
from tests.faults.replies import people_for
from tests.faults.row import Profile, Report, folder, row
from tests.faults.worker import crews, working
from vimbiso_fsm.store.requests import shard_of

__all__: list[str] = []


def _while_confirming(
    url: str, records: Folder, people: Sequence[Person], acts: Sequence[Callable[[], None]], **options: object
) -> None:
    """Let members confirm at two workers, and run each act when its share of the sales is done."""
    turns = sum(len(person.messages) for person in people)
    with working(crews(url, records, people, 2, at_once=4, patience=1.0, options=options)) as workers:
        for place, act in enumerate(acts, 1):
            while records.count("answered") < turns * place / (len(acts) + 1):
                if not workers.busy():
                    break
                time.sleep(0.02)
            act()


@row("failover", "Sentinel failover at level replicated", "0 confirmed lost")
def failover(profile: Profile, seed: int) -> Report:
    """Kill the primary under load, several times: its replica takes over, and a new replica joins."""
    report, chance = Report(), random.Random(seed)
    program = valkey_program()
    people = people_for(profile.of(200, 1_000), 5)
    with folder() as records, watched(program) as sentinels, ExitStack() as stack:
        pair = sentinels.pair

        def fail_over() -> None:
            nonlocal pair
            time.sleep(chance.uniform(0, 0.1))
            pair.first.process.kill()
            sentinels.agree_on(pair.second)
            settings = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
            fresh = on_a_port(stack, program, *settings, "--replicaof", f"127.0.0.1 {pair.second.port}")
            pair = Pair(pair.second, fresh)
            pair.in_step()
            sentinels.complete()
            report.count(failovers=1)

        acts = [fail_over] * profile.of(1, 10)
        options = {"durability": "replicated", "confirm_timeout": 0.5}
        _while_confirming(sentinels.url, records, people, acts, **options)
        check(sentinels.url, records, people, report)
        unconfirmed = [line for line in records.noted("unanswered") if line["error"] == "unconfirmed"]
        report.count(unconfirmed=len(unconfirmed))
    return report


@row("cluster", "a three-node cluster: slots move, scripts are forgotten", "0 lost, 0 duplicate")
def three_nodes(profile: Profile, seed: int) -> Report:
    """Move the slots of members to another node and back in the middle of their conversations."""
    report, chance = Report(), random.Random(seed)
    people = people_for(profile.of(200, 1_000), 5)
    with folder() as records, cluster(valkey_program()) as nodes:

        def flush_scripts() -> None:
            with chance.choice(nodes.nodes).client() as client:
                client.script_flush()

        acts: list[Callable[[], None]] = [
            *(_moving(nodes, chance.choice(people)) for _ in range(profile.of(2, 10))),
            *[flush_scripts] * profile.of(2, 10),
        ]
        chance.shuffle(acts)
        _while_confirming(nodes.url, records, people, acts)
        check(nodes.url, records, people, report)
        report.count(acts=len(acts))
    return report


def _moving(nodes: Nodes, person: Person) -> Callable[[], None]:
    """Move a member's slot to the next node and back, slowly enough to meet requests on the way."""

    def move() -> None:
        handover = Handover.of(nodes, key_slot(b"{%d}" % shard_of(person.member_id)))
        for one in (handover, handover.turned()):
            one.begin()
            while one.move(1):
                time.sleep(0.02)
            one.end()

    return move
