"""The rule book of the document. There is no other: every document is judged here before it is stored and when it is
read, and what one component built is judged the same by all.

The rules, in the order they are checked

 1.  Top level: the seed's fields, all of them; beyond them only the bookkeeping listed in `BOOKKEEPING`.
 2.  `member_id` is text, not empty, and stands at the top and nowhere else.
 3.  `channel` is an object of `type` (one of the known), `identifier` (text, not empty) and `metadata` (an object).
 4.  `authenticated` is true or false; true only with a token. `jwt_token` is null or text, not empty. `_token`, when
     there, has the instants `issued` and `expires`, and is there only with a token.
 5.  `profile` and `current_account` are objects; `profile.accounts`, when there, is a list;
     `current_account.account_id`, when there, is text, not empty. A profile that is not empty can be read as the class
     that `profile` names, if it names one.
 6.  `flow_data` is `{}` or an object of `id`, `step` and `data`; `_run`, an object, is there only with it. `data`
     has `flow_type`, `channel`, `_validation_context`, `_validation_state`; no field of it is called `member_id`.
 7.  `id` begins with the flow's name and a colon; with `flows` given, the flow, its step and those of its trail
     are declared, in the definition of the run's version where that is kept.
 8.  Suspended runs obey 6 and 7; no run is there twice.
 9.  The framework's own notes of a run, of a call on its way, of linked channels and of a move have all their fields,
     of their types, and no other.
 10. `_version` is a whole number, not negative; `_last_updated`, `_deadline`, `_session_since` and `_warn_at` are
     instants with a time zone.

The validator only looks: it changes nothing, knows no clock and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeGuard

import attrs

from vimbiso_fsm.document.codec import RESERVED, Unreadable, document_to_raw, structure
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.errors import InvalidState

SEED: Final = frozenset(
    {
        "member_id",
        "channel",
        "jwt_token",
        "authenticated",
        "profile",
        "current_account",
        "flow_data",
        "_version",
        "_last_updated",
    }
)
"""The fields of the seed's document."""

BOOKKEEPING: Final = frozenset(
    {
        "_run",
        "_suspended",
        "_call",
        "_outbox",
        "_token",
        "_deadline",
        "_session_since",
        "_warn_at",
        "_channels",
        "_moved",
        "_guest",
    }
)
"""What the framework adds."""

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


@attrs.frozen
class Fault:
    """One broken rule: where, and what is wrong. The value itself is not quoted."""

    path: str
    fault: str

    def __str__(self) -> str:
        return f"{self.path} {self.fault}"


@attrs.frozen
class Verdict:
    """What the rule book says of a document."""

    faults: tuple[Fault, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether no rule is broken."""
        return not self.faults


@attrs.frozen
class StateValidator:
    """The rule book.

    `flows`: the steps of each declared flow; None judges the shape alone. `channel_types`: the types that are known.
    `kept`: the steps of older definitions, by flow and version. `profile`: the class that the flows read a profile as.
    """

    flows: Mapping[str, Collection[str]] | None = None
    channel_types: Collection[str] = CHANNEL_TYPES
    kept: Mapping[tuple[str, int], Collection[str]] = attrs.field(factory=dict)
    profile: type | None = None

    def validate(self, document: Document | Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Verdict:
        """The verdict on a document, as attrs objects or as plain data of the wire's shape.

        Args:
            document: What is judged.
            known: Plain data that this validator found valid. Fields that are the same object in both are not judged
                again, so no value in it may have been changed in place.
        """
        raw: object = document_to_raw(document) if isinstance(document, Document) else document
        if not _is_object(raw):
            return Verdict((Fault("document", f"is a {_kind(raw)}, not an object"),))
        return Verdict(tuple(self._faults(raw, known or {})))

    def check(self, document: Document | Mapping[str, Any]) -> None:
        """Raises: InvalidState naming every broken rule."""
        verdict = self.validate(document)
        if verdict.faults:
            raise InvalidState(verdict.faults)

    def _faults(self, raw: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Fault]:
        if raw.keys() != known.keys():
            for name in SEED - raw.keys():
                yield Fault(name, "is missing")
            for name in raw.keys() - SEED - BOOKKEEPING:
                yield Fault(str(name)[:40], "is no field of a document")
        new = {name for name, value in raw.items() if value is not known.get(name, _NOT_THERE)}
        for name, rule in _RULES:
            if name in new and (fault := rule(raw[name])):
                yield Fault(name, fault)
        if "profile" in new:
            yield from self._profile(raw["profile"])
        if raw.get("authenticated") is True and raw.get("jwt_token") is None:
            yield Fault("authenticated", "is true without a token")
        if "channel" in new or "channel" not in raw:
            yield from self._channel("channel", raw.get("channel"), metadata=True)
        if new & _RUNS or "flow_data" not in raw or not raw.keys() >= known.keys():
            yield from self._runs(raw, new)
        if raw.get("_token") is not None and raw.get("jwt_token") is None:
            yield Fault("_token", "is there without a token")
        for name, rules in _NOTES:
            if name in new and raw[name] is not None:
                yield from _notes(name, raw[name], rules)
        outbox = raw.get("_outbox", ())
        if not isinstance(outbox, list | tuple):
            yield Fault("_outbox", "must be a list")
            return
        for place, waiting in enumerate(outbox if "_outbox" in new else ()):
            yield from _notes(f"_outbox.{place}", waiting, _UNDELIVERED)

    def _profile(self, profile: Any) -> Iterator[Fault]:
        if self.profile is None or not profile or not _is_object(profile):
            return
        try:
            structure(profile, self.profile)
        except Unreadable as error:
            yield Fault("profile", f"is no {self.profile.__name__}: {error}")

    def _channel(self, path: str, channel: Any, *, metadata: bool) -> Iterator[Fault]:
        if not _is_object(channel):
            yield Fault(path, f"is a {_kind(channel)}, not an object")
            return
        kind = channel.get("type")
        if not isinstance(kind, str) or kind not in self.channel_types:
            yield Fault(f"{path}.type", "is no known channel type; name it in Bot(channels=…)")
        if fault := _text(channel.get("identifier")):
            yield Fault(f"{path}.identifier", fault)
        if metadata and not _is_object(channel.get("metadata")):
            yield Fault(f"{path}.metadata", "must be an object")
        if channel.keys() - {"type", "identifier", "metadata"}:
            yield Fault(path, "has fields besides type, identifier and metadata")

    def _runs(self, raw: Mapping[str, Any], new: Collection[str]) -> Iterator[Fault]:
        flow_data = raw.get("flow_data")
        if not _is_object(flow_data):
            yield Fault("flow_data", f"is a {_kind(flow_data)}, not an object")
        elif "_run" in raw and not (flow_data and _is_object(raw["_run"])):
            yield Fault("_run", "must be an object, and there only with flow_data")
        elif flow_data and ("flow_data" in new or "_run" in new):
            yield from self._run("flow_data", flow_data, raw.get("_run"))
            yield from _notes("_run", raw.get("_run", {}), _RUN)
        seen = [flow_data.get("id")] if _is_object(flow_data) and flow_data else []
        suspended = raw.get("_suspended", ())
        if not isinstance(suspended, list | tuple):
            yield Fault("_suspended", "must be a list")
            return
        for place, run in enumerate(suspended):
            path = f"_suspended.{place}.flow_data"
            notes = {name: run[name] for name in run if name != "flow_data"} if _is_object(run) else {}
            inner = run.get("flow_data") if _is_object(run) else None
            if not _is_object(inner):
                yield Fault(path, "must be an object")
                continue
            if "_suspended" in new:
                yield from self._run(path, inner, notes)
                yield from _notes(f"_suspended.{place}", notes, _RUN)
            if inner.get("id") in seen:
                yield Fault(f"{path}.id", "is there twice")
            seen.append(inner.get("id"))

    def _run(self, path: str, flow_data: Mapping[str, Any], notes: Any) -> Iterator[Fault]:
        if flow_data.keys() != {"id", "step", "data"}:
            yield Fault(path, "must have exactly id, step and data")
        data = flow_data.get("data")
        if not _is_object(data):
            yield Fault(f"{path}.data", f"is a {_kind(data)}, not an object")
            return
        for name in RESERVED - data.keys():
            yield Fault(f"{path}.data.{name}", "is missing")
        for name in ("_validation_context", "_validation_state"):
            if name in data and not _is_object(data[name]):
                yield Fault(f"{path}.data.{name}", "must be an object")
        context = data.get("_validation_context")
        if _is_object(context) and _count(context.get("attempts", 0)):
            yield Fault(f"{path}.data._validation_context.attempts", "must be a whole number, not negative")
        if "member_id" in data:
            yield Fault(f"{path}.data.member_id", "must stand at the top level only")
        yield from self._channel(f"{path}.data.channel", data.get("channel"), metadata=False)
        yield from self._place(path, flow_data, data.get("flow_type"), notes if _is_object(notes) else {})

    def _place(self, path: str, flow_data: Mapping[str, Any], flow: Any, notes: Mapping[str, Any]) -> Iterator[Fault]:
        run, step = flow_data.get("id"), flow_data.get("step")
        if not isinstance(flow, str) or not isinstance(run, str) or not run.startswith(f"{flow}:"):
            yield Fault(f"{path}.id", "must be text that begins with the flow's name and a colon")
        if not isinstance(step, str):
            yield Fault(f"{path}.step", f"is a {_kind(step)}, not the name of a state")
        elif self.flows is not None and isinstance(flow, str):
            if flow not in self.flows:
                yield Fault(f"{path}.data.flow_type", "names no declared flow")
            elif step not in self._steps(flow, notes):
                yield Fault(f"{path}.step", f"names no state of flow {flow!r}")
            elif not _strings(notes.get("trail", ())) <= self._steps(flow, notes):
                yield Fault(path, f"has a trail with a step that is no state of flow {flow!r}")

    def _steps(self, flow: str, notes: Mapping[str, Any]) -> frozenset[str]:
        """The steps of a declared flow, as the run knows them."""
        assert self.flows is not None
        version = notes.get("version", 1)
        kept = self.kept.get((flow, version)) if self.kept and type(version) is int else None
        return frozenset(self.flows[flow] if kept is None else kept)


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    # `isinstance` of an abstract class costs more than most rules, and nearly all objects are dictionaries.
    return type(value) is dict or isinstance(value, Mapping)


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _strings(value: Any) -> set[str]:
    return {one for one in value if isinstance(one, str)} if isinstance(value, list | tuple) else set()


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value else "must be text, not empty"


def _token(value: Any) -> str:
    return "" if value is None else _text(value)


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _account(value: Any) -> str:
    if not _is_object(value):
        return "must be an object"
    return _text(value["account_id"]) and "has an account_id that is no text" if "account_id" in value else ""


def _profile(value: Any) -> str:
    if not _is_object(value):
        return "must be an object"
    return "" if isinstance(value.get("accounts", []), list) else "has accounts that are no list"


def _count(value: Any) -> str:
    return "" if type(value) is int and value >= 0 else "must be a whole number, not negative"


def _instant(value: Any) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return "is no instant"
    aware = isinstance(value, datetime) and value.tzinfo is not None
    return "" if aware else "must be an instant with a time zone"


def _some_instant(value: Any) -> str:
    return "" if value is None else _instant(value)


def _words(value: Any) -> str:
    return "" if isinstance(value, str) else "must be text"


def _object(value: Any) -> str:
    return "" if _is_object(value) else "must be an object"


def _list_of(one: Callable[[Any], str], what: str) -> Callable[[Any], str]:
    return lambda value: (
        "" if isinstance(value, list | tuple) and not any(map(one, value)) else f"must be a list of {what}"
    )


def _texts_called(*names: str) -> Callable[[Any], str]:
    """A rule for an object of exactly these fields, each a text."""
    return lambda value: (
        ""
        if _is_object(value) and value.keys() == {*names} and not any(map(_words, value.values()))
        else "must have exactly " + " and ".join(names)
    )


def _replies(value: Any) -> str:
    try:
        replies_from_raw(value if isinstance(value, list | tuple) else [None])
    except Unreadable:
        return "must be a list of replies"
    return ""


def _reason(value: Any) -> str:
    return "" if isinstance(value, str) and value in ("", "sub", "under", "asked", "entry") else "is no reason to wait"


_Rules: TypeAlias = Mapping[str, tuple[Callable[[Any], str], bool]]
"""Field -> its rule, and whether it must be there."""

_RUN: Final[_Rules] = {
    "version": (_count, False),
    "fingerprint": (_words, False),
    "entered": (_count, False),
    "trail": (_list_of(_words, "names of states"), False),
    "made": (_flag, False),
    "page": (_count, False),
    "shown": (_list_of(_texts_called("choice", "title"), "what was shown"), False),
    "since": (_some_instant, False),
    "due": (_some_instant, False),
    "waits": (_reason, False),
}
_CALL: Final[_Rules] = {
    "key": (_text, True),
    "service": (_text, True),
    "method": (_text, True),
    "arguments": (_object, True),
    "root": (_text, True),
    "leased_until": (_instant, True),
    "again_at": (_some_instant, False),
    "tries": (_count, False),
    "renewed": (_flag, False),
    "again": (_count, False),
}
_TOKEN: Final[_Rules] = {"issued": (_instant, True), "expires": (_instant, True)}
_UNDELIVERED: Final[_Rules] = {
    "id": (_text, True),
    "replies": (_replies, True),
    "leased_until": (_some_instant, False),
    "tries": (_count, False),
}
_MOVED: Final[_Rules] = {"to": (_text, True), "version": (_count, True)}

_NOTES: Final[tuple[tuple[str, _Rules], ...]] = (("_call", _CALL), ("_moved", _MOVED), ("_token", _TOKEN))
_RUNS: Final = frozenset({"flow_data", "_run", "_suspended"})
_NOT_THERE: Final = object()


def _notes(path: str, notes: Any, rules: _Rules) -> Iterator[Fault]:
    if not _is_object(notes):
        yield Fault(path, f"is a {_kind(notes)}, not an object")
        return
    for name, (rule, needed) in rules.items():
        if name not in notes:
            if needed:
                yield Fault(f"{path}.{name}", "is missing")
        elif fault := rule(notes[name]):
            yield Fault(f"{path}.{name}", fault)
    if notes.keys() - rules.keys():
        yield Fault(path, "has a field that is not known")


_RULES: Final[tuple[tuple[str, Callable[[Any], str]], ...]] = (
    ("member_id", _text),
    ("jwt_token", _token),
    ("authenticated", _flag),
    ("_guest", _flag),
    ("profile", _profile),
    ("current_account", _account),
    ("_version", _count),
    ("_last_updated", _instant),
    ("_deadline", _some_instant),
    ("_session_since", _some_instant),
    ("_warn_at", _some_instant),
    ("_channels", _list_of(_texts_called("type", "identifier"), "channels")),
)
