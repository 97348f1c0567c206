"""Worker processes. Each has a manager of its own and handles the messages of its members, in threads or in tasks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from tests.digests import token_of
from tests.faults.bot import till_bot
from tests.faults.clock import AsyncClocked, Clock, Clocked, Metronome
from tests.faults.members import Person, deliver, deliver_async
from tests.faults.mutants import mutated
from tests.faults.records import Folder, LedgerTill
from vimbiso_fsm.encryption.keys import KeyFile
from vimbiso_fsm.encryption.settings import Encryption
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager, AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__ = ["Job", "Workers", "crews", "logged", "working"]


Style: TypeAlias = Literal["threads", "tasks"]


@attrs.frozen
class Job:
    """The job of a worker process.

    Attributes:
        options: Options of the store's `from_url`.
        mutant: The name of a broken script; "" for the real one.
        patience: The patience of the manager, also for a call that another worker makes.
        again: Whether an earlier process died at this job.
        keys: The file of the key ring with which the store is encrypted; None for a plain store.
        member_keys: The URL of the store of the members' own keys.
        secrets: The file of the secrets, the current one first, as it is when the process starts; None for one secret.
    """

    url: str
    folder: Path
    people: tuple[Person, ...]
    style: Style
    at_once: int = 16
    mutant: str = ""
    options: dict[str, Any] = attrs.field(factory=dict)
    patience: float = 5.0
    again: bool = False
    keys: Path | None = None
    member_keys: str = ""
    secrets: Path | None = None

    @property
    def secret(self) -> Sequence[str]:
        """The secrets of the store."""
        return (STORE_SECRET,) if self.secrets is None else self.secrets.read_text().split()

    @property
    def encryption(self) -> Encryption | None:
        """The encryption of the store."""
        return None if self.keys is None else Encryption(KeyFile(self.keys), member_keys=self.member_keys)

    def to_say(self, person: Person) -> Sequence[Message]:
        """Return the messages that the person has not sent yet; an earlier process may have died at the first."""
        settled = {line["token"] for line in Folder(self.folder).noted("settled")} if self.again else set()
        return [message for message in person.messages if token_of(message) not in settled]


@contextlib.contextmanager
def logged(folder: Folder) -> Generator[None]:
    """Write all log records, of every level, to the log of the folder."""
    handler = logging.FileHandler(folder.log)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()


def work(job: Job) -> None:
    """Run a worker process from start to end."""
    folder = Folder(job.folder)
    with logged(folder), mutated(job.mutant):
        try:
            if job.style == "threads":
                _threads(job, folder)
            else:
                asyncio.run(_tasks(job, folder))
        except BaseException as error:
            folder.note("wrong", what=f"a worker died of {type(error).__name__}: {error}")
            raise


def _threads(job: Job, folder: Folder) -> None:
    clock = Clock(metronome=Metronome())
    settings: dict[str, Any] = {"patience": job.patience, "deliver": folder.deliverer, "encryption": job.encryption}

    def talk(person: Person) -> None:
        for message in job.to_say(person):
            if deliver(manager, person, message, folder, clock, again=job.again) is None:
                return

    with (
        AtomicStateManager.from_url(job.url, **job.options, secret=job.secret) as store,
        FlowStateManager(till_bot(LedgerTill(folder)), Clocked(store, clock), **settings, rates=None) as manager,
        ThreadPoolExecutor(job.at_once) as pool,
    ):
        for done in [pool.submit(talk, person) for person in job.people]:
            done.result()
    folder.note("answers", slowest=clock.slowest, **clock.answers)


async def _tasks(job: Job, folder: Folder) -> None:
    clock = Clock(metronome=Metronome())
    bot = till_bot(LedgerTill(folder))
    settings: dict[str, Any] = {"patience": job.patience, "deliver": folder.deliverer, "encryption": job.encryption}
    free = asyncio.Semaphore(job.at_once)

    async def talk(person: Person) -> None:
        async with free:
            for message in job.to_say(person):
                if await deliver_async(manager, person, message, folder, clock, again=job.again) is None:
                    return

    async with (
        AsyncAtomicStateManager.from_url(job.url, **job.options, secret=job.secret) as store,
        AsyncFlowStateManager(bot, AsyncClocked(store, clock), **settings, rates=None) as manager,
    ):
        await asyncio.gather(*map(talk, job.people))
    folder.note("answers", slowest=clock.slowest, **clock.answers)


def crews(url: str, folder: Folder, people: Sequence[Person], workers: int, **settings: Any) -> list[Job]:
    """Divide people among workers, alternately of threads and of tasks; `settings` are attributes of the jobs."""
    hands = [tuple(people[place::workers]) for place in range(workers)]
    styles: tuple[Style, ...] = ("threads", "tasks")
    jobs = [Job(url, folder.path, hand, styles[place % 2]) for place, hand in enumerate(hands)]
    return [attrs.evolve(job, **settings) for job in jobs]


class Workers:
    """Running worker processes, in the order of their jobs."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self.processes = [_started(job) for job in jobs]

    def busy(self) -> list[int]:
        """Return the places of the workers that still run."""
        return [place for place, process in enumerate(self.processes) if process.is_alive()]

    def replace(self, place: int) -> None:
        """Kill a worker by SIGKILL, and start another one at its job."""
        self.stop(place)
        self.processes[place] = _started(attrs.evolve(self._jobs[place], again=True))

    def wait(self, seconds: float) -> None:
        """Wait until all have ended, and record what went wrong."""
        deadline = time.monotonic() + seconds
        for process, job in zip(self.processes, self._jobs, strict=True):
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode != 0:
                Folder(job.folder).note("wrong", what=f"a worker came to {process.exitcode}")

    def stop(self, place: int) -> None:
        """Kill a worker by SIGKILL."""
        self.processes[place].kill()
        self.processes[place].join()
        self.processes[place].close()


def _started(job: Job) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=work, args=(job,))
    process.start()
    return process


@contextlib.contextmanager
def working(jobs: Sequence[Job], *, seconds: float = 600.0) -> Generator[Workers]:
    """Run workers at their jobs, and wait for them at the end.

    A worker that has not ended after `seconds` is killed and recorded as wrong.
    """
    workers = Workers(jobs)
    try:
        yield workers
        workers.wait(seconds)
    finally:
        for place in range(len(jobs)):
            workers.stop(place)
