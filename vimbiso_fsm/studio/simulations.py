"""The simulations of a studio: one that begins empty, and forks of live members.

None of them touches a live store or a live service. The services are those that the package of the bot exports with it,
which `vimbiso chat` uses too, and each simulation has copies of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import attrs

from vimbiso_fsm.document.document import Document
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.base import resolve_bot
from vimbiso_fsm.studio.simulation import Simulation
from vimbiso_fsm.testing.reloading import Reloading

OWN: Final = "own"
"""The name of the simulation that begins empty."""
FORKS: Final = 8
"""Forks that are kept; the oldest beyond it are dropped."""


class Simulations:
    """The simulations by name, and the package whose flows are loaded anew when they change.

    They may be shared between threads: `using` lets one thread at a time use them.
    """

    def __init__(self, bot: Bot, package: str = "", *, is_live: bool = False) -> None:
        """Begin with one simulation, which is empty.

        Args:
            bot: The bot.
            package: The package that exports it; empty for none.
            is_live: Whether the services of `bot` may be live ones. Those of the package are used then; without a
                package no service is called.
        """
        bot = resolve_bot(package) if package else attrs.evolve(bot, services={}) if is_live else bot
        self._bot = bot
        self._reloading = Reloading(package) if package else None
        self._lock = threading.Lock()
        self._made = 0
        self._held: dict[str, Simulation] = {}

    @contextmanager
    def using(self, name: str) -> Generator[Simulation]:
        """Use a simulation, while no other thread does.

        Raises:
            KeyError: There is no such simulation, or no longer.
        """
        with self._lock:
            if name == OWN and name not in self._held:
                self._held[name] = Simulation(self._bot)
            yield self._held[name]

    def fork(self, document: Document, *, at: datetime | None = None) -> str:
        """Begin a simulation in which a live member goes on from a document, and return its address in the studio.

        The live store and the live services are not touched by it: the document is copied into a store in memory, its
        login token and its unsent replies are left out, and calls are answered by copies of simulated services.

        Args:
            document: The document, of any retained version.
            at: The instant at which it begins; that of the document without it.

        Raises:
            DocumentTooLarge: The document cannot be stored.
        """
        with self._lock:
            self._made += 1
            name = f"fork-{self._made}"
            self._held[name] = Simulation(self._bot, fork=document, at=at)
            for old in [each for each in self._held if each != OWN][:-FORKS]:
                del self._held[old]
        return f"/simulator/{name}"

    def restart(self, name: str) -> None:
        """Begin the empty simulation anew, or drop a fork."""
        with self._lock:
            self._held.pop(name, None)

    @property
    def forks(self) -> Mapping[str, str]:
        """The forks: the member and the version by the name of the simulation."""
        return {
            name: f"{each.fork.member_id}, version {each.fork.version}"
            for name, each in [*self._held.items()]
            if each.fork is not None
        }

    def reload(self) -> str:
        """Go on with a changed bot in all simulations, if a file of its package has changed.

        Returns:
            What has happened, in words; empty if no file has changed.
        """
        with self._lock:
            if self._reloading is None or not self._reloading.changed():
                return ""
            before = self._bot
            try:
                self._bot = self._reloading.reload(before)
            except Exception as error:  # noqa: BLE001  # a package being imported may raise anything
                return f"{type(error).__name__}: {error}. The flows of before go on."
            same = {name for name, each in self._bot.services.items() if before.services.get(name) is each}
            fresh = {name: each for name, each in self._bot.services.items() if name not in same}
            moved = [each.deploy(self._bot, fresh) for each in self._held.values()]
            return "; ".join(filter(None, ["The flows were loaded anew", *moved]))
