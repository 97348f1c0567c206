"""Faults of the server: killed, restarted, stopped, its scripts forgotten, its memory or its disk full.

A server whose disk is full behaves by `appendfsync`. With `everysec` it refuses writes until there is space, and goes
on by itself. With `always` it ends rather than acknowledge what it cannot keep, and must be started again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from tests.engines import valkey_program
from tests.faults.checker import check
from tests.faults.records import Folder
from tests.faults.replies import people_for
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import DURABLE, OwnServer, own_server
from tests.faults.worker import crews, working

__all__ = ["killed_server"]

LASTING = ("--appendonly", "yes", "--appendfsync", "everysec")
TYPED = {"StoreUnavailable", "CommitUnknown", "Contended"}


def _harassed(
    confirmations: int,
    report: Report,
    server: OwnServer,
    acts: Sequence[Callable[[Folder], None]],
) -> None:
    """Let members confirm at two workers, and run each act when its share of the sales is done."""
    people = people_for(confirmations, 5)
    turns = sum(len(person.messages) for person in people)
    with folder() as records:
        with working(
            crews(server.url, records, people, 2, at_once=8, patience=1.0, options={"timeout": 1.0})
        ) as workers:
            for place, act in enumerate(acts, 1):
                while records.count("answered") < turns * place / (len(acts) + 1):
                    if not workers.busy():
                        break
                    time.sleep(0.02)
                act(records)
        check(server.url, records, people, report)
        errors = {line["error"] for line in records.noted("unanswered")}
        report.demand(errors <= TYPED, f"raised: {errors - TYPED}")


@row("server-killed", "server kill −9 with fsync always", "0 acknowledged lost")
def server_killed(profile: Profile, seed: int) -> Report:
    """Kill the server at any moment, and start it again a moment later."""
    return killed_server(profile.of(200, 1_000), profile.of(5, 20), seed, *DURABLE)


def killed_server(confirmations: int, times: int, seed: int, *options: str) -> Report:
    """Make confirmations on a server with options that is killed a number of times."""
    report, chance = Report(), random.Random(seed)
    with own_server(valkey_program(), *options) as server:

        def kill(_: Folder) -> None:
            time.sleep(chance.uniform(0, 0.05))
            server.kill()
            time.sleep(chance.choice((0, 0.1, 1.5)))
            server.start()
            report.count(kills=1)

        _harassed(confirmations, report, server, [kill] * times)
    return report


@row("restless", "SCRIPT FLUSH, clients thrown out, restarts, SIGSTOP of the server", "0 lost, 0 duplicate")
def restless(profile: Profile, seed: int) -> Report:
    """Run all faults one after the other, in an order drawn from the seed."""
    report, chance = Report(), random.Random(seed)
    with own_server(valkey_program(), *DURABLE) as server:

        def flush_scripts(_: Folder) -> None:
            with server.client() as client:
                client.script_flush()

        def throw_out(_: Folder) -> None:
            with server.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        def restart(_: Folder) -> None:
            with server.client() as client:
                client.shutdown()
            while not server.ended():
                time.sleep(0.01)
            server.start()

        def stand_still(_: Folder) -> None:
            with server.stopped(chance.uniform(0.1, 1.5)):
                pass

        acts = [flush_scripts, throw_out, restart, stand_still] * profile.of(2, 10)
        chance.shuffle(acts)
        _harassed(profile.of(200, 1_000), report, server, acts)
        report.count(acts=len(acts))
    return report


@row("memory", "memory full", "all or nothing, a typed error, service back when there is room")
def memory_full(profile: Profile, seed: int) -> Report:
    """Set the limit a little above the memory in use, so that it is met somewhere in what follows."""
    report, chance = Report(), random.Random(seed)
    with own_server(valkey_program(), *DURABLE) as server, server.client() as client:

        def fill(records: Folder) -> None:
            refused = records.count("unanswered")
            used = client.info("memory")["used_memory"]
            client.config_set("maxmemory", used + chance.randrange(20_000))
            _until(lambda: records.count("unanswered") > refused, report, "the full memory was not met")
            time.sleep(chance.uniform(0, 0.2))
            client.config_set("maxmemory", 0)
            report.count(full=1)

        _harassed(profile.of(200, 1_000), report, server, [fill] * profile.of(5, 20))
    return report


@row("disk", "disk full (file size limit), fsync everysec", "all or nothing, a typed error, service back with room")
def disk_full(profile: Profile, seed: int) -> Report:
    """The server refuses writes, and accepts them without a restart when its files may grow again."""
    report, chance = Report(), random.Random(seed)
    with own_server(valkey_program(), *LASTING) as server, server.client() as client:

        def fill(records: Folder) -> None:
            refused = records.count("unanswered")
            size = client.info("persistence")["aof_current_size"]
            server.limit_files(size + chance.randrange(5_000))
            _until(lambda: records.count("unanswered") > refused, report, "the full disk was not met")
            time.sleep(chance.uniform(0, 0.2))
            server.limit_files(None)
            report.count(full=1)

        _harassed(profile.of(200, 1_000), report, server, [fill] * profile.of(3, 10))
    return report


@row("disk-always", "disk full, fsync always", "0 acknowledged lost, service back after a start with room")
def disk_full_always(profile: Profile, seed: int) -> Report:
    """The server ends; it is started again with space for more."""
    report, chance = Report(), random.Random(seed)
    with own_server(valkey_program(), *DURABLE) as server:

        def fill(_: Folder) -> None:
            with server.client() as client:
                size = client.info("persistence")["aof_current_size"]
            server.limit_files(size + chance.randrange(5_000))
            _until(server.ended, report, "the full disk was not met")
            time.sleep(chance.uniform(0, 0.2))
            if server.process is None:
                server.start()
            report.count(full=1)

        _harassed(profile.of(200, 1_000), report, server, [fill] * profile.of(3, 10))
    return report


def _until(done: Callable[[], bool], report: Report, otherwise: str, *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            report.wrong.append(otherwise)
            return
        time.sleep(0.01)
