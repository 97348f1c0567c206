"""The rule book of the document.

There is no other: every document is judged here before it is stored and when it is read, and what one component built
is judged the same by all.

`codec.parts_of` judges the shape: the fields of the seed, all of them, and of the framework's bookkeeping, each of its
type, and no other; numbers that count are not negative, instants have a time zone, `_run` is there only with
`flow_data`. The rules below say what shape alone cannot. They look at the parts that are well shaped.

 1.  `member_id` is not empty, and stands at the top and nowhere else.
 2.  The type of a channel is known; its identifier is not empty.
 3.  `jwt_token` is not empty. `authenticated` is true, and `_token` is there, only with a token.
 4.  `profile.accounts`, when there, is a list; `current_account.account_id`, when there, is text, not empty. A profile
     that is not empty can be read as the class that `profile` names, if it names one.
 5.  A run's id begins with its flow's name and a colon. With `flows` given, the flow, its step and those of its trail
     are declared, in the definition of the run's version where that is kept. Its refusals are counted.
 6.  No run is there twice.
 7.  The names of a call on its way, of replies that wait and of the member that a guest became are not empty; replies
     that wait can be read.

The validator only looks: it changes nothing, knows no clock and writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import attrs

from vimbiso_fsm.document.codec import Fault, Unreadable, document_to_raw, kind_of, parts_of, structure
from vimbiso_fsm.document.document import Document, Run
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.errors import InvalidState

CHANNEL_TYPES: Final = frozenset(
    {
        "whatsapp",
        "telegram",
        "sms",
        "ussd",
        "terminal",
        "web",
        "messenger",
        "signal",
        "viber",
        "matrix",
        "slack",
        "discord",
        "email",
        "voice",
    }
)
"""Channel types known without being named; a bot adds its own with `Bot(channels=…)`."""

_NOT_EMPTY: Final = "must be text, not empty"


@attrs.frozen
class Verdict:
    """What the rule book says of a document.

    Attributes:
        faults: The broken rules, none when the document is valid.
    """

    faults: tuple[Fault, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether no rule is broken."""
        return not self.faults


@attrs.frozen
class StateValidator:
    """The rule book.

    Attributes:
        flows: The steps of each declared flow; None where no flow is known.
        channel_types: The channel types that are known.
        kept: The steps of older definitions, by flow and version.
        profile: The class that the flows read a profile as.
    """

    flows: Mapping[str, Collection[str]] | None = None
    channel_types: Collection[str] = CHANNEL_TYPES
    kept: Mapping[tuple[str, int], Collection[str]] = attrs.field(factory=dict)
    profile: type | None = None

    def validate(self, document: Document | Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Verdict:
        """Judge a document.

        Args:
            document: The document, as attrs objects or as plain data of the wire's shape.
            known: Plain data that was found valid by this rule book. What is the very same object in both is not
                looked at again.

        Returns:
            The verdict. It names every broken rule and quotes no value.
        """
        raw: object = document_to_raw(document) if isinstance(document, Document) else document
        return Verdict(self._judged(raw, known or {})[1])

    def check(self, document: Document | Mapping[str, Any]) -> None:
        """Raise an error unless a document is valid.

        Raises:
            InvalidState: The document breaks rules; all of them are named.
        """
        verdict = self.validate(document)
        if verdict.faults:
            raise InvalidState(verdict.faults)

    def read(self, raw: object) -> Document:
        """Return the document in plain data that was loaded from a store.

        Raises:
            Unreadable: The document breaks rules; all of them are named.
        """
        parts, faults = self._judged(raw, {})
        if faults:
            raise Unreadable(map(str, faults))
        return Document(**parts)

    def _judged(self, raw: object, known: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Fault, ...]]:
        """The parts of a document that differ from `known`, and every fault."""
        if type(raw) is not dict and not isinstance(raw, Mapping):
            return {}, (Fault("document", f"is a {kind_of(raw)}, not an object"),)
        parts, faults = parts_of(raw, known)
        faults = (*faults, *self._faults(raw, parts))
        if not faults and parts.keys() & {"run", "suspended"}:
            faults = tuple(_twice(raw))
        return parts, faults

    def _faults(self, raw: Mapping[str, Any], parts: Mapping[str, Any]) -> Iterator[Fault]:
        for name in ("member_id", "jwt_token"):
            if parts.get(name) == "":
                yield Fault(name, _NOT_EMPTY)
        if raw.get("jwt_token") is None:
            if raw.get("authenticated") is True:
                yield Fault("authenticated", "is true without a token")
            if raw.get("_token") is not None:
                yield Fault("_token", "is there without a token")
        if "profile" in parts:
            yield from self._profile(parts["profile"])
        if "current_account" in parts:
            account = parts["current_account"].get("account_id", _NOT_EMPTY)
            if not (isinstance(account, str) and account):
                yield Fault("current_account", "has an account_id that is no text")
        if "channel" in parts:
            yield from self._address("channel", parts["channel"])
        if parts.get("run") is not None:
            yield from self._run("flow_data", parts["run"])
        for place, run in enumerate(parts.get("suspended", ())):
            yield from self._run(f"_suspended.{place}.flow_data", run)
        for name, texts in _TEXTS:
            if (part := parts.get(name)) is not None:
                yield from _empty(f"_{name}", part, texts)
        for place, waiting in enumerate(parts.get("outbox", ())):
            yield from _empty(f"_outbox.{place}", waiting, ("id",))
            try:
                replies_from_raw(waiting.replies)
            except Unreadable:
                yield Fault(f"_outbox.{place}.replies", "must be a list of replies")

    def _profile(self, profile: Mapping[str, Any]) -> Iterator[Fault]:
        if not isinstance(profile.get("accounts", []), list):
            yield Fault("profile", "has accounts that are no list")
        if self.profile is None or not profile:
            return
        try:
            structure(profile, self.profile)
        except Unreadable as error:
            yield Fault("profile", f"is no {self.profile.__name__}: {error}")

    def _address(self, path: str, channel: Any) -> Iterator[Fault]:
        if channel.type not in self.channel_types:
            yield Fault(f"{path}.type", "is no known channel type; name it in Bot(channels=…)")
        if not channel.identifier:
            yield Fault(f"{path}.identifier", _NOT_EMPTY)

    def _run(self, path: str, run: Run) -> Iterator[Fault]:
        data = run.flow_data.data
        if not run.id.startswith(f"{run.flow}:"):
            yield Fault(f"{path}.id", "must be text that begins with the flow's name and a colon")
        attempts = data.context.get("attempts", 0)
        if type(attempts) is not int or attempts < 0:
            yield Fault(f"{path}.data._validation_context.attempts", "must be a whole number, not negative")
        if "member_id" in data.fields:
            yield Fault(f"{path}.data.member_id", "must stand at the top level only")
        yield from self._address(f"{path}.data.channel", data.channel)
        if self.flows is None:
            return
        if run.flow not in self.flows:
            yield Fault(f"{path}.data.flow_type", "names no declared flow")
            return
        steps = self.kept.get((run.flow, run.version), self.flows[run.flow])
        if run.step not in steps:
            yield Fault(f"{path}.step", f"names no state of flow {run.flow!r}")
        elif not all(step in steps for step in run.trail):
            yield Fault(path, f"has a trail with a step that is no state of flow {run.flow!r}")


_TEXTS: Final = (("call", ("key", "service", "method", "root")), ("moved", ("to",)))
"""Parts of a document, and which of their texts must not be empty."""


def _twice(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """The runs of a well-shaped document that are there twice."""
    seen = {raw["flow_data"].get("id")}
    for place, run in enumerate(raw.get("_suspended", ())):
        if run["flow_data"]["id"] in seen:
            yield Fault(f"_suspended.{place}.flow_data.id", "is there twice")
        seen.add(run["flow_data"]["id"])


def _empty(path: str, part: object, names: tuple[str, ...]) -> Iterator[Fault]:
    for name in names:
        if not getattr(part, name):
            yield Fault(f"{path}.{name}", _NOT_EMPTY)
