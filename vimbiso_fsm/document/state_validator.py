"""The rule book of the document: the rules that its shape alone cannot state.

Every document is judged here before it is stored and when it is read. `shape.parts_of` judges the shape; the rules look
at the parts that are well shaped:

 1.  `member_id` is not empty, and stands at the top and nowhere else.
 2.  The type of a channel is known; its identifier is not empty.
 3.  `jwt_token` is not empty. `authenticated` is true, and `_token` is there, only with a token.
 4.  `profile.accounts`, when there, is a list; `current_account.account_id`, when there, is text, not empty. A profile
     that is not empty can be read as the class of `StateValidator.profile`, when there is one.
 5.  A run's id begins with its flow's name and a colon. With `flows` given, the flow, its step and those of its trail
     are declared, in the definition of the run's version where that is kept. Its refusals are counted.
 6.  No run is there twice.
 7.  The names of a pending call, of replies that wait and of the member that a guest became are not empty; replies that
     wait can be read.

The validator changes nothing, reads no clock and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.document.document import Document, Fields, Passing, Reminder, Run, Undelivered
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.document.shape import parts_of
from vimbiso_fsm.document.typed_data import is_object, kind_of, structure
from vimbiso_fsm.errors import Fault, InvalidState, Unreadable
from vimbiso_fsm.messages.message import Address, Channel
from vimbiso_fsm.messages.proof import PROOFS
from vimbiso_fsm.messages.value import Value

CHANNEL_TYPES: Final = frozenset(PROOFS)
"""The channel types that are always known. A bot adds its own with `Bot(channels=…)`."""


class _EveryType(frozenset[str]):
    """Contains every channel type."""

    def __contains__(self, _: object) -> bool:
        return True


EVERY_CHANNEL_TYPE: Final = _EveryType()
"""The channel types of a document of another bot, which may have declared any."""

_NOT_EMPTY: Final = "must be text, not empty"


@attrs.frozen(eq=False, repr=False)
class Verdict(Value):
    """The verdict of the rule book on a document.

    Attributes:
        faults: The broken rules; none when the document is valid.
    """

    faults: tuple[Fault, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether no rule is broken."""
        return not self.faults


@attrs.frozen(eq=False, repr=False)
class StateValidator(Value):
    """The rule book.

    Attributes:
        flows: The states of each declared flow; None where no flow is known.
        channel_types: The channel types that are known.
        kept: The states of older definitions, by flow and version.
        profile: The class that profiles are read as; None without one.
    """

    flows: Mapping[str, Collection[str]] | None = None
    channel_types: Collection[str] = CHANNEL_TYPES
    kept: Mapping[tuple[str, int], Collection[str]] = attrs.field(factory=dict)
    profile: type | None = None

    def validate(
        self, document: Document | Fields, written: Collection[str] | None = None, run: Run | None = None
    ) -> Verdict:
        """Judge a document.

        Args:
            document: The document, as attrs objects or as plain data of the wire's shape.
            written: The names of the parts to judge, where this rule book found the others valid; all by default.
            run: The run that the plain data was written from, where it is at hand.

        Returns:
            The verdict, which names every broken rule and quotes no value.
        """
        return Verdict(self.judged(document, written, run)[1])

    def check(
        self, document: Document | Fields, written: Collection[str] | None = None, run: Run | None = None
    ) -> None:
        """Raise an error unless a document is valid. The arguments are those of `validate`.

        Raises:
            InvalidState: The document breaks rules; the error names all of them.
        """
        if faults := self.judged(document, written, run)[1]:
            raise InvalidState(faults)

    def read(self, raw: object) -> Document:
        """Return the document that a store holds as plain data.

        Raises:
            Unreadable: The document breaks rules; the error names all of them.
        """
        parts, faults = self.judged(raw)
        if faults:
            raise Unreadable(map(str, faults))
        return Document(**parts)

    def judged(
        self, raw: object, written: Collection[str] | None = None, run: Run | None = None
    ) -> tuple[dict[str, Any], tuple[Fault, ...]]:
        """Return the parts of a document that were judged, and every fault. The arguments are those of `validate`."""
        if isinstance(raw, Document):
            raw = document_to_raw(raw)
        elif type(raw) is not dict and not is_object(raw):
            return {}, (Fault("document", f"is a {kind_of(raw)}, not an object"),)
        parts, found = parts_of(raw, written, run)
        faults = [*found]
        if raw.get("jwt_token") is None:  # a login stands in several parts
            if raw.get("authenticated") is True:
                faults.append(Fault("authenticated", "is true without a token"))
            if raw.get("_token") is not None:
                faults.append(Fault("_token", "is there without a token"))
        for name, part in parts.items():
            if part is not None and name in _RULES:
                faults += _RULES[name](self, part)
        if not faults and "_suspended" in raw and parts.keys() & {"run", "suspended"}:
            faults += _twice(raw)
        return parts, tuple(faults)

    def _profile(self, profile: Fields) -> Iterator[Fault]:
        if not isinstance(profile.get("accounts", []), list):
            yield Fault("profile", "has accounts that are no list")
        if self.profile is None or not profile:
            return
        try:
            structure(profile, self.profile)
        except Unreadable as error:
            yield Fault("profile", f"is no {self.profile.__name__}: {error}")

    def _account(self, account: Fields) -> Iterator[Fault]:
        account_id = account.get("account_id", _NOT_EMPTY)
        if not (isinstance(account_id, str) and account_id):
            yield Fault("current_account", "has an account_id that is not text")

    def _address(self, channel: Channel | Address, path: str = "channel") -> Iterator[Fault]:
        if channel.type not in self.channel_types:
            yield Fault(f"{path}.type", "is no known channel type; name it in Bot(channels=…)")
        if not channel.identifier:
            yield Fault(f"{path}.identifier", _NOT_EMPTY)

    def _run(self, run: Run, path: str = "flow_data") -> Iterator[Fault]:
        if not run.id.startswith(f"{run.flow}:"):
            yield Fault(f"{path}.id", "must be text that begins with the flow's name and a colon")
        attempts = run.context.get("attempts", 0)
        if type(attempts) is not int or attempts < 0:
            yield Fault(f"{path}.data._validation_context.attempts", "must be a whole number, not negative")
        if "member_id" in run.fields:
            yield Fault(f"{path}.data.member_id", "must stand at the top level only")
        if run.channel.type not in self.channel_types or not run.channel.identifier:
            yield from self._address(run.channel, f"{path}.data.channel")
        if self.flows is None:
            return
        if run.flow not in self.flows:
            yield Fault(f"{path}.data.flow_type", "names no declared flow")
            return
        steps = self.kept.get((run.flow, run.version), self.flows[run.flow])
        if run.step not in steps:
            yield Fault(f"{path}.step", f"names no state of flow {run.flow!r}")
        elif not all(map(steps.__contains__, run.trail)):
            yield Fault(path, f"has a trail with a step that is not a state of flow {run.flow!r}")


def _twice(raw: Fields) -> Iterator[Fault]:
    """Yield a fault for each run that a well-shaped document contains a second time."""
    seen = {raw["flow_data"].get("id")}
    for place, run in enumerate(raw.get("_suspended", ())):
        if run["flow_data"]["id"] in seen:
            yield Fault(f"_suspended.{place}.flow_data.id", "is there twice")
        seen.add(run["flow_data"]["id"])


def _empty(path: str, part: object, names: tuple[str, ...]) -> Iterator[Fault]:
    for name in names:
        if not getattr(part, name):
            yield Fault(f"{path}.{name}", _NOT_EMPTY)


def _waiting(path: str, waiting: Sequence[Undelivered | Reminder], names: tuple[str, ...]) -> Iterator[Fault]:
    """Yield the faults of replies that wait."""
    for place, each in enumerate(waiting):
        yield from _empty(f"{path}.{place}", each, names)
        try:
            replies_from_raw(each.replies)
        except Unreadable:
            yield Fault(f"{path}.{place}.replies", "must be a list of replies")


def _outbox(_: StateValidator, outbox: Sequence[Undelivered]) -> Iterable[Fault]:
    if len(outbox) == 1 and outbox[0].id and not outbox[0].replies:  # as each turn with a sender stores it
        return ()
    return _waiting("_outbox", outbox, ("id",))


def _passing(_: StateValidator, passing: Sequence[Passing]) -> Iterator[Fault]:
    for place, item in enumerate(passing):
        yield from _empty(f"_passing.{place}", item, ("id", "inbox"))


def _suspended(rules: StateValidator, suspended: Sequence[Run]) -> Iterator[Fault]:
    for place, run in enumerate(suspended):
        yield from rules._run(run, f"_suspended.{place}.flow_data")


def _text(name: str) -> Callable[[StateValidator, str], Sequence[Fault]]:
    return lambda _, text: () if text else (Fault(name, _NOT_EMPTY),)


_RULES: Final[Mapping[str, Callable[[StateValidator, Any], Iterable[Fault]]]] = {
    "member_id": _text("member_id"),
    "jwt_token": _text("jwt_token"),
    "profile": StateValidator._profile,
    "current_account": StateValidator._account,
    "channel": StateValidator._address,
    "run": StateValidator._run,
    "suspended": _suspended,
    "call": lambda _, call: _empty("_call", call, ("key", "service", "method", "root")),
    "moved": lambda _, moved: _empty("_moved", moved, ("to",)),
    "outbox": _outbox,
    "handed": lambda _, handed: _empty("_handed", handed, ("inbox",)),
    "passing": _passing,
    "reminders": lambda _, reminders: _waiting("_reminders", reminders, ("key", "id")),
}
"""The rules of each part that has any, by the name of the document's attribute."""
