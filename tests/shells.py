"""A sync or an async manager behind one interface, and a store whose requests a test can hold up."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import time
from collections.abc import Callable
from typing import Any, Literal, Self

from vimbiso_fsm.audit.entries import AuditEntry
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager, FlowStateManager
from vimbiso_fsm.store.memory import AsyncMemoryStore, MemoryStore
from vimbiso_fsm.store.redis_atomic import AsyncAtomicStateManager
from vimbiso_fsm.store.requests import Request
from vimbiso_fsm.testing.chat import CHANNEL


class Shell:
    """A sync or an async manager. It has no cache unless told so, because cached documents hide a moved clock."""

    def __init__(self, kind: Literal["sync", "async"], bot: Bot, store: Any, **options: Any) -> None:
        self.kind = kind
        self._runner = asyncio.Runner() if kind == "async" else None
        self._ids = itertools.count(1)
        options = {"cache": 0, "rates": None, **options}
        if kind == "sync":
            self.manager: Any = FlowStateManager(bot, store, **options)
        else:
            self.manager = AsyncFlowStateManager(bot, store if _is_async(store) else AsyncMemoryStore(store), **options)

    def do(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the manager."""
        return self.run(getattr(self.manager, name)(*arguments, **named))

    def run(self, result: Any) -> Any:
        """Return the result of a method, awaited if it is a coroutine."""
        return self._runner.run(result) if self._runner and inspect.iscoroutine(result) else result

    def pause(self) -> None:
        """Let other threads, and tasks of the manager's loop, run for a moment."""
        if self._runner is not None:
            self._runner.run(asyncio.sleep(0.005))
        else:
            time.sleep(0.005)

    def until(self, holds: Callable[[], Any], seconds: float = 30.0) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"the condition did not hold within {seconds} seconds"
            self.pause()

    def message(self, text: str | None = None, *, channel: Channel = CHANNEL, **more: Any) -> Message:
        """Make a message with an id of its own, unless one is given."""
        return Message(channel, more.pop("id", f"{id(self)}-{next(self._ids)}"), text, **more)

    def handle(self, message: Message) -> Outcome:
        """Handle a message."""
        outcome: Outcome = self.do("handle", message)
        return outcome

    def say(self, *texts: str) -> Outcome:
        """Type one or more messages, and return the outcome of the last."""
        return [self.handle(self.message(text)) for text in texts][-1]

    def wake(self, member_id: str = "m-1") -> tuple[AuditEntry, ...]:
        """Wake a member, and return the audit entries of the turns."""
        done: tuple[AuditEntry, ...] = self.do("wake", member_id)
        return done

    def state(self, member_id: str = "m-1") -> Document:
        """Return the document of a member."""
        document: Document = self.do("state", member_id)
        assert document is not None
        return document

    def close(self) -> None:
        """Close the manager and its loop."""
        self.do("close")
        if self._runner is not None:
            self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_async(store: Any) -> bool:
    return inspect.iscoroutinefunction(store.perform) or isinstance(store, AsyncAtomicStateManager)


class Watched:
    """A store whose requests a test can hold up or fail.

    Attributes:
        before: Called with each request before it is performed; it may wait or raise.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.before: Callable[[Request], None] = lambda request: None

    def perform(self, request: Request) -> Any:
        """Perform a request."""
        self.before(request)
        return self.store.perform(request)
