"""The short form of an audit entry, as it is stored, and its long form, which has every field by its name.

A value that follows from another one is left out of the short form; the table in `docs/how-to/read-the-audit.md` lists
these rules. Each entry can be read alone. Entries of earlier releases are stored in the long form.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import is_
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Fields
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.messages.value import Value


@attrs.frozen(eq=False, repr=False)
class AuditStep(Value):
    """A trigger that was tried. A run that starts is a step from "" by "start".

    Attributes:
        flow: The name of the flow.
        run: The id of the run.
        source: The state in which the run stood.
        dest: The state that it entered; None when no transition accepted the trigger.
        trigger: The trigger.
        guards: The name and the verdict of each guard that was asked, in order.
        version: The version of the flow's declaration that decided; 0 in an entry of a release that did not store it.
        fingerprint: The fingerprint of this declaration; "" in an entry of a release that did not store it.
        effect: Whether `dest` was a call with an effect by this declaration. It is known where the version is.
    """

    flow: str
    run: str
    source: str
    dest: str | None
    trigger: str
    guards: tuple[tuple[str, str], ...] = ()
    version: int = 0
    fingerprint: str = ""
    effect: bool = False


@attrs.frozen(eq=False, repr=False)
class AuditEntry(Value):
    """The record of one commit.

    Attributes:
        version: The version of the document that the commit made.
        at: The instant of the commit.
        member_id: The member.
        channel: The type of the channel, and a digest of its identifier.
        kind: "transition", "refusal", "command", "page", "start", "call", "timer", "session", "delivery", "recovery",
            "move", "link", "unlink", "merge", "update", "migration", "reset", "wipe", "erase", "clock", "event",
            "tell", "open", "trigger", "reminder", "handed", "person", "passing", "consent", "folded" or "error".
        status: The status of the outcome.
        token: The token of the commit.
        root: The token of the message that led to it.
        source: The state in which the member stood before; "" without a run.
        dest: The state in which the member stands after it; "" without a run.
        flow: The flow of the run after it.
        run: The id of this run.
        trigger: The trigger that was fired first.
        steps: The triggers that were tried, in order.
        codes: The codes of the refusals that were given to the member.
        before: The redacted data of the run before the commit, by field.
        after: The redacted data of the run after it, by field.
        changed: The fields whose values differ.
        verdict: The latest verdict on an answer.
        detail: Further facts about the commit. They quote no data of the member.
        document: The digest of the stored document.
        previous: The digest of the previous entry; "" in the first.
    """

    version: int
    at: datetime
    member_id: str
    channel: tuple[str, str]
    kind: str
    status: str
    token: str
    root: str
    source: str = ""
    dest: str = ""
    flow: str = ""
    run: str = ""
    trigger: str = ""
    steps: tuple[AuditStep, ...] = ()
    codes: tuple[str, ...] = ()
    before: Fields = attrs.field(factory=dict)
    after: Fields = attrs.field(factory=dict)
    changed: tuple[str, ...] = ()
    verdict: Fields = attrs.field(factory=dict)
    detail: Fields = attrs.field(factory=dict)
    document: str = ""
    previous: str = ""

    @property
    def guards(self) -> tuple[tuple[str, str], ...]:
        """The names and verdicts of all guards, in the order in which they were asked."""
        return tuple(verdict for step in self.steps for verdict in step.guards)


_NO_STEP: Final = AuditStep("", "", "", None, "")
_UTC: Final = "+00:00"
_PLAIN: Final = ("codes", "changed", "detail")
"""The fields that are in both forms alike."""


def shorten(entry: AuditEntry, document: str, previous: str) -> dict[str, Any]:
    """Return the short form of an entry with its digests.

    It is made with each commit, so it is written without calls where that reads as well.
    """
    at, run, flow, steps, source = entry.at.isoformat(), entry.run, entry.flow, entry.steps, entry.source
    short: dict[str, Any] = {
        "v": entry.version,
        "at": f"{at[:-6]}Z" if at.endswith(_UTC) else at,
        "member": entry.member_id,
        "channel": entry.channel,
        "token": entry.token,
    }
    first, dest = (steps[0], steps[-1].dest) if steps else (_NO_STEP, None)
    if entry.kind != "transition":
        short["kind"] = entry.kind
    if entry.status != "advanced":
        short["status"] = entry.status
    if entry.root != entry.token:
        short["root"] = entry.root
    if run:
        short["run"] = run
    if flow != run.rpartition(":")[0]:
        short["flow"] = flow
    if source != first.source:
        short["source"] = source
    if entry.dest != (source if dest is None else dest):
        short["dest"] = entry.dest
    if entry.trigger != first.trigger:
        short["trigger"] = entry.trigger
    if steps:
        short["steps"] = listed = []
        for step in steps:
            listed.append(_short_step(step, run, flow, first))  # noqa: PERF401  # a comprehension is one call more
        if first.version or first.fingerprint:
            short["by"] = (first.version, first.fingerprint)
    _add_data(short, entry.before, entry.after)
    if entry.changed:
        short["changed"] = entry.changed
    if entry.codes:
        short["codes"] = entry.codes
    verdict = entry.verdict
    is_implied = first.trigger == "answer" and first.dest is not None
    if verdict and verdict == {"step": source, "ok": True, "code": ""} and verdict["ok"] is True:
        if not is_implied:
            short["verdict"] = True
    elif verdict or is_implied:
        short["verdict"] = verdict
    if entry.detail:
        short["detail"] = entry.detail
    short["document"], short["previous"] = document, previous
    return short


def _add_data(short: dict[str, Any], before: Fields, after: Fields) -> None:
    """Add the data before and after a commit. What has not changed stands once."""
    if not before or [*before] != [*after]:
        if before:
            short["before"] = _names(before)
        if after:
            short["after"] = _names(after)
        return
    short["data"] = _names(before)
    if not all(map(is_, before.values(), after.values())):
        for name, value in after.items():  # 1, 1.0 and True are equal, and not the same
            old = before[name]
            if not (value is old or (type(value) is type(old) is str and value == old)):
                short.setdefault("becomes", {})[name] = value


def lengthen(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the long form of an entry, which is stored in one of the two forms.

    Raises:
        Unreadable: It has neither form.
    """
    if "v" not in stored:
        return stored
    try:
        return _long(stored)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Unreadable([f"a part of the audit entry has a wrong form: {type(error).__name__}"]) from None


def _long(short: Mapping[str, Any]) -> dict[str, Any]:
    at, run = short["at"], short.get("run", "")
    flow = short.get("flow", run.rpartition(":")[0])
    by = short.get("by", [0, ""])
    entry = {"version": short["v"], "at": at[:-1] + _UTC if at.endswith("Z") else at, "member_id": short["member"]}
    entry["channel"] = short["channel"]
    entry["steps"] = steps = [_long_step(step, run, flow, by) for step in short.get("steps", ())]
    first, dest = (steps[0], steps[-1]["dest"]) if steps else ({}, None)
    token, source = short["token"], short.get("source", first.get("source", ""))
    implied = {
        "kind": "transition",
        "status": "advanced",
        "token": token,
        "root": token,
        "run": run,
        "flow": flow,
        "source": source,
        "dest": source if dest is None else dest,
        "trigger": first.get("trigger", ""),
    }
    entry |= {name: short.get(name, value) for name, value in implied.items()}
    entry |= {name: short[name] for name in (*_PLAIN, "check") if name in short}
    if "data" in short:
        entry["before"] = before = _fields(short["data"])
        entry["after"] = {**before, **_fields(short.get("becomes", {}))}
    entry |= {name: _fields(short[name]) for name in ("before", "after") if name in short}
    is_accepted = first.get("trigger") == "answer" and first["dest"] is not None
    verdict = short.get("verdict", True if is_accepted else {})
    entry["verdict"] = {"step": source, "ok": True, "code": ""} if verdict is True else verdict
    return entry | {"document": short["document"], "previous": short["previous"]}


def _short_step(step: AuditStep, run: str, flow: str, first: AuditStep) -> list[Any]:
    """Return a step as `[source, trigger, dest, guards, more]`, without the last ones while they are empty."""
    short: list[Any] = [step.source, step.trigger, step.dest]
    if guards := step.guards:
        short.append(asked := [])
        for name, verdict in guards:
            asked.append(name if verdict == "accepted" else (name, verdict))  # as in `shorten`
    is_alike = step.version == first.version and step.fingerprint == first.fingerprint and not step.effect
    if is_alike and step.run == run and step.flow == flow:
        return short
    more = {"version": step.version, "fingerprint": step.fingerprint, "effect": step.effect}
    return [*short, {"run": step.run, "flow": step.flow} | {name: value for name, value in more.items() if value}]


def _long_step(short: list[Any], run: str, flow: str, by: list[Any]) -> dict[str, Any]:
    source, trigger, dest, *rest = short
    more = rest.pop() if rest and isinstance(rest[-1], dict) else {"version": by[0], "fingerprint": by[1]}
    guards = [[each, "accepted"] if isinstance(each, str) else each for each in (rest.pop() if rest else ())]
    step = {"flow": flow, "run": run, "source": source, "dest": dest, "trigger": trigger, "guards": guards}
    if rest:
        raise ValueError
    return step | more


def _names(fields: Mapping[str, Any]) -> Mapping[str, Any] | list[str]:
    """Return the names alone, if all values are hidden."""
    return list(fields) if list(fields.values()).count(MASK) == len(fields) else fields


def _fields(short: Any) -> dict[str, Any]:
    return dict.fromkeys(short, MASK) if isinstance(short, list) else dict(short)
