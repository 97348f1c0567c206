"""Many writers on one member: in threads, in tasks and in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from concurrent.futures import ThreadPoolExecutor

from tests.digests import token_of
from tests.engines import valkey_program
from tests.faults.bot import TALLY
from tests.faults.checker import check_tally
from tests.faults.members import Person
from tests.faults.records import Folder
from tests.faults.row import Profile, Report, folder, row
from tests.faults.server import own_server
from tests.faults.worker import logged
from vimbiso_fsm.errors import NotAnswered
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

__all__: list[str] = []

PERSON = Person(1)
THREADS, TASKS, PROCESSES = 6, 6, 4


def _said(writer: int, turns: int, seed: int) -> list[Message]:
    """Return the numbers that a writer sends."""
    chance = random.Random(f"{seed} {writer}")
    return [PERSON.message(f"{writer}.{place}", str(chance.randint(1, 999))) for place in range(turns)]


def _note(records: Folder, message: Message, status: str) -> None:
    records.note(status)
    if status != "advanced":
        records.note("wrong", what=f"{message.id} came to {status}")


def _write(manager: FlowStateManager, records: Folder, messages: list[Message]) -> None:
    for message in messages:
        try:
            status = manager.handle(message).status
        except NotAnswered as error:
            status = type(error).__name__
        _note(records, message, status)


async def _write_async(manager: AsyncFlowStateManager, records: Folder, messages: list[Message]) -> None:
    for message in messages:
        try:
            status = (await manager.handle(message)).status
        except NotAnswered as error:
            status = type(error).__name__
        _note(records, message, status)


def _threads(url: str, records: Folder, writers: range, turns: int, seed: int) -> None:
    with (
        logged(records),
        FlowStateManager.from_url(url, TALLY, rates=None, secret=STORE_SECRET) as manager,
        ThreadPoolExecutor(len(writers)) as pool,
    ):
        for done in [pool.submit(_write, manager, records, _said(writer, turns, seed)) for writer in writers]:
            done.result()


def _tasks(url: str, records: Folder, writers: range, turns: int, seed: int) -> None:
    async def write() -> None:
        async with AsyncFlowStateManager.from_url(url, TALLY, rates=None, secret=STORE_SECRET) as manager:
            await asyncio.gather(*(_write_async(manager, records, _said(writer, turns, seed)) for writer in writers))

    with logged(records):
        asyncio.run(write())


@row("writers", "16 writers on one member: threads, tasks, processes", "0 lost, 0 raised to the member")
def sixteen(profile: Profile, seed: int) -> Report:
    """Six threads of one worker, six tasks of another and four single workers, each with a patience of 5 s."""
    report = Report()
    turns = profile.of(25, 625)
    count = THREADS + TASKS + PROCESSES
    parts = [
        (_threads, range(THREADS)),
        (_tasks, range(THREADS, THREADS + TASKS)),
        *((_threads, range(writer, writer + 1)) for writer in range(THREADS + TASKS, count)),
    ]
    context = multiprocessing.get_context("spawn")
    with folder() as records, own_server(valkey_program()) as server, logged(records):
        with FlowStateManager.from_url(server.url, TALLY, rates=None, secret=STORE_SECRET) as manager:
            manager.handle(PERSON.message("hi", "hi"))
        processes = [
            context.Process(target=work, args=(server.url, records, writers, turns, seed)) for work, writers in parts
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            report.demand(process.exitcode == 0, f"a worker came to {process.exitcode}")
            process.close()
        said = [message for writer in range(count) for message in _said(writer, turns, seed)]
        check_tally(server.url, PERSON, report, said={token_of(m): int(m.text or "") for m in said})
        report.wrong += [line["what"] for line in records.noted("wrong")]
        report.count(
            turns=len(said), advanced=len(records.noted("advanced")), contended=len(records.noted("Contended"))
        )
    return report
