"""What both shells have on their desk: the bot, the clock, the cache, the log; and whether a manager may start."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from vimbiso_fsm.audit.flow_audit import CommitEvent, FlowAuditLogger, Observer
from vimbiso_fsm.audit.redaction import error_record
from vimbiso_fsm.document.ids import guest_id
from vimbiso_fsm.engine.events import CallReturned, turn_token
from vimbiso_fsm.errors import InvalidMessage, NotAnswered, VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.operations.cache import Cache
from vimbiso_fsm.operations.handle import Exchange
from vimbiso_fsm.operations.turn import Turns
from vimbiso_fsm.operations.wake import Waking
from vimbiso_fsm.operations.work import Done
from vimbiso_fsm.runtime.clock import Clock

_log = logging.getLogger("vimbiso_fsm")
R = TypeVar("R")


def resolve_bot(flows: Bot | str) -> Bot:
    """The bot itself, or the one a package exports as `bot`.

    Raises: TypeError when there is none.
    """
    found: object = getattr(import_module(flows), "bot", None) if isinstance(flows, str) else flows
    if isinstance(found, ModuleType):  # a package whose module `bot` hides the value of that name
        found = getattr(found, "bot", None)
    if not isinstance(found, Bot):
        raise TypeError("flows= takes a Bot, or the name of a package that exports one as 'bot'")
    return found


def delay(attempt: int) -> float:
    """Seconds to wait before a further attempt."""
    return random.uniform(0, min(0.1, 0.002 * 2 ** min(attempt, 10)))  # noqa: S311  # jitter is no secret


class BaseManager:
    """What both shells share: the bot, the clock, the cache, the log."""

    def __init__(
        self,
        flows: Bot | str,
        services: Mapping[str, object] | None,
        observers: Sequence[Observer],
        cache: int,
        patience: float,
        call_wait: float,
        deliver: Callable[..., Any] | None,
        legacy: bool,
    ) -> None:
        self.bot = resolve_bot(flows).with_services(services or {})
        self.clock = Clock()
        self.cache = Cache(cache)
        self.patience = patience
        self.call_wait = call_wait
        self.deliver = deliver
        self.legacy = legacy
        self.audit = FlowAuditLogger(observers, _observer_failed)

    def check(self, message: Message) -> None:
        """Raises: InvalidMessage when it is none, or its channel's type is not known to the bot."""
        if not isinstance(message, Message):
            raise InvalidMessage("", f"handle() takes a Message, not a {type(message).__name__}")
        if message.channel.type not in self.bot.validator.channel_types:
            raise InvalidMessage("channel type", f"{message.channel.type!r} is not known; name it in Bot(channels=…)")

    def begin(self, message: Message, waited: float) -> Exchange:
        """The exchange of a message that came so many seconds ago."""
        now = self.clock.now()
        return Exchange(self.bot, self.cache, message, now, patience=self.patience, waited=waited, legacy=self.legacy)

    def queue(self, message: Message) -> tuple[str, str] | str:
        """Who must wait for whom: the member, as far as is known before anything is asked."""
        address = message.channel.address
        return self.cache.member(address) or address

    def wake(self, member_id: str, answer: CallReturned | None = None) -> Waking:
        """All that is due at a member; with `answer`, first that of a call that took long."""
        return Waking(
            self.bot,
            self.cache,
            member_id,
            self.clock.now(),
            delivers=self.deliver is not None,
            answer=answer,
            patience=self.patience,
        )

    def tell(self, turns: Turns) -> None:
        """Tell observers and the log what has been stored, also when it ended in an error."""
        for reference, error in turns.errors:
            _log.error("a callback or call failed: %s", error_record(error, reference))
        self._tell(turns.told)

    def not_answered(self, message: Message, error: NotAnswered) -> None:
        """Put into the error what to tell the member, with the reference by which the log, and once the message has
        been handled again the audit, name it."""
        error.reference = turn_token(message)[:10]
        channel = message.channel
        known = self.cache.document(self.cache.member(channel.address) or guest_id(channel))
        language = self.bot.language(known.document.profile if known else {}, channel)
        error.reply = self.bot.catalogue.say(Text(error.reply_key, reference=error.reference), language).text
        _log.error("a message was not answered: %s", error_record(error, error.reference))

    def done(self, done: Done[R]) -> R:
        """Tell observers of what an operator did -> what that was."""
        self._tell(done.told)
        return done.result

    def _tell(self, told: Iterable[CommitEvent]) -> None:
        for details in told:
            entry = details.entry
            if entry.kind == "recovery":
                facts = {"reference": entry.token[:10], "version": entry.version, **entry.detail}
                _log.warning("a member was recovered: %s", facts)
            self.audit.tell(details)

    def lost(self, error: VimbisoError) -> None:
        """The answer of a call that took long could not be stored: when its lease ends it is asked for again."""
        _log.error("the answer of a call was not stored, it is asked for again later: %s", error_record(error, ""))


def _observer_failed(observer: str, error: BaseException) -> None:
    _log.error("observer %s failed: %s", observer, error_record(error, ""))
