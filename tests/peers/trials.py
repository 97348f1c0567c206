"""Three faults for the same small bot: a message that comes twice, two workers at once, and a worker that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import redis

ROOT: Final = Path(__file__).resolve().parents[2]


@attrs.frozen
class Peer:
    """A bot of a library.

    Attributes:
        title: The library and its storage.
        module: The module of the bot in this package.
        needs: The module without which it does not run.
        settings: Variables of the environment.
        workers: The number of processes that can serve one bot at a time.
    """

    title: str
    module: str
    needs: str
    settings: Mapping[str, str] = attrs.field(factory=dict[str, str])
    workers: int = 2


PEERS: Final = {
    "vimbiso": Peer("vimbiso_fsm, Redis", "vimbiso_bot", "vimbiso_fsm"),
    "aiogram": Peer("aiogram, RedisStorage", "aiogram_bot", "aiogram"),
    "aiogram-isolated": Peer(
        "aiogram, RedisStorage and RedisEventIsolation", "aiogram_bot", "aiogram", {"ISOLATION": "1"}
    ),
    "ptb": Peer("python-telegram-bot, PicklePersistence", "ptb_bot", "telegram", workers=1),
    "ptb-flushed": Peer(
        "python-telegram-bot, PicklePersistence, written after each message", "ptb_bot", "telegram", {"FLUSH": "1"}, 1
    ),
    "botframework": Peer("Bot Framework, a storage with ETags", "botframework_bot", "botbuilder.dialogs"),
    "langgraph": Peer("LangGraph, AsyncSqliteSaver", "langgraph_bot", "langgraph.checkpoint.sqlite"),
}


@attrs.frozen
class Seen:
    """What a trial has shown.

    Attributes:
        payments: The payments that the bank has taken; one is right.
        replies: What the member reads last. In a race, what each of the two messages is answered with.
        next: What the bot says to "hello" after it.
    """

    payments: int
    replies: tuple[str, ...]
    next: str = ""


class Process:
    """A worker process."""

    def __init__(self, peer: Peer, python: str, url: str, folder: Path, fault: str = "") -> None:
        environment = {**os.environ, **peer.settings, "FAULT": fault, "PYTHONPATH": str(ROOT)}
        environment |= {"TRIAL_URL": url, "TRIAL_FOLDER": str(folder), "PYTHONWARNINGS": "ignore"}
        with (folder / "errors").open("ab") as errors:
            self._process = subprocess.Popen(
                [python, "-m", f"tests.peers.{peer.module}"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        if self.read() is None:
            self.end()
            raise RuntimeError((folder / "errors").read_text()[-1500:])

    def write(self, id_: int, text: str) -> None:
        """Send a message."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": id_, "text": text}) + "\n")
        self._process.stdin.flush()

    def read(self) -> list[str] | None:
        """Return the replies to a message; None when the worker has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {}
        return found.get("replies", []) if found else None

    def say(self, id_: int, text: str) -> list[str] | None:
        """Send a message, and return the replies."""
        self.write(id_, text)
        return self.read()

    def end(self) -> None:
        """End the worker as its library ends it, unless it has been killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Trial:
    """The trials of one bot. `url` is an empty Redis server."""

    def __init__(self, peer: Peer, url: str, folder: Path, python: str = sys.executable) -> None:
        self._peer, self._url, self._folder, self._python = peer, url, folder, python

    def _start(self, fault: str = "") -> Process:
        return Process(self._peer, self._python, self._url, self._folder, fault)

    def _bank(self) -> int:
        with redis.Redis.from_url(self._url, protocol=2) as client:
            return int(client.llen("bank:payments"))

    def clean(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self._url, protocol=2) as client:
            client.flushall()
        for file in self._folder.iterdir():
            file.unlink()

    def duplicate(self) -> Seen:
        """The message that confirms the payment is delivered again, after it was answered."""
        self.clean()
        worker = self._start()
        for id_, text in enumerate(("hi", "5", "yes"), start=1):
            worker.say(id_, text)
        again = worker.say(3, "yes")
        seen = Seen(self._bank(), tuple(again or ()))
        worker.end()
        return seen

    def race(self) -> Seen:
        """The member says "yes" twice; two workers handle both at once, where a bot can have two."""
        self.clean()
        first = self._start("race")
        for id_, text in enumerate(("hi", "5"), start=1):
            first.say(id_, text)
        second = self._start("race") if self._peer.workers > 1 else first
        first.write(3, "yes")
        second.write(4, "yes")
        replies = [reply for each in (first, second) for reply in each.read() or ()]
        seen = Seen(self._bank(), tuple(sorted(replies)))
        first.end()
        if second is not first:
            second.end()
        return seen

    def kill(self, patience: float = 30.0) -> Seen:
        """The worker is killed after the bank has taken the payment; the message is delivered again, to a new one.

        Args:
            patience: Seconds for which the member goes on writing while the bot answers that it is at work.
        """
        self.clean()
        worker = self._start("kill")
        for id_, text in enumerate(("hi", "5"), start=1):
            worker.say(id_, text)
        assert worker.say(3, "yes") is None
        worker.end()
        worker = self._start()
        again = worker.say(3, "yes")
        following, id_, limit = worker.say(4, "hello"), 5, time.monotonic() + patience
        while following == ["One moment."] and time.monotonic() < limit:  # the lease of the killed worker goes on
            time.sleep(0.5)
            following, id_ = worker.say(id_, "hello"), id_ + 1
        seen = Seen(self._bank(), tuple(again or ()), " ".join(following or ()))
        worker.end()
        return seen

    def run(self) -> dict[str, Seen]:
        """Run the three trials."""
        return {"duplicate": self.duplicate(), "race": self.race(), "kill": self.kill()}
