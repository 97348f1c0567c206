"""A package of flows that is imported anew when one of its files has changed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.base import resolve_bot


class Reloading:
    """The modules of a package, and the times at which their files were changed.

    Attributes:
        package: The name of the package.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self._seen = self._imported = self._times()

    def changed(self) -> bool:
        """Return whether a file has changed since this was asked last."""
        before, self._seen = self._seen, self._times()
        return before != self._seen

    def reload(self, before: Bot) -> Bot:
        """Import the package anew, and return its bot with the services of the bot before.

        A service keeps what it holds, such as the bookings of a diary, unless the file of its class has changed.

        Args:
            before: The bot before the change.

        Raises:
            Exception: The package cannot be imported, or exports no bot. The modules are those of before.
        """
        old, now = self._modules(), self._times()
        for name in old:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            importlib.import_module(self.package)
            bot = resolve_bot(self.package)
        except BaseException:
            for name in self._modules():
                del sys.modules[name]
            sys.modules.update(old)
            raise
        same = {name for name, service in before.services.items() if self._is_same(type(service).__module__, now)}
        self._seen = self._imported = self._times()
        return bot.with_services({name: before.services[name] for name in bot.services if name in same})

    def _is_same(self, module: str, now: dict[str, int]) -> bool:
        return self._imported.get(module) == now.get(module)

    def _modules(self) -> dict[str, ModuleType]:
        inside = f"{self.package}."
        return {name: each for name, each in sys.modules.items() if name == self.package or name.startswith(inside)}

    def _times(self) -> dict[str, int]:
        return {name: _changed_at(module) for name, module in self._modules().items()}


def _changed_at(module: ModuleType) -> int:
    """Return the time at which the file of a module was changed, in nanoseconds; 0 without a file."""
    try:
        return Path(getattr(module, "__file__", None) or "").stat().st_mtime_ns
    except OSError:
        return 0
