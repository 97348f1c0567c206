"""Explanations of commits: the candidate transitions, the verdicts of their guards, and what was committed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, AuditStep, unseal
from vimbiso_fsm.audit.folding import FOLDED, first_instant, first_of, first_version
from vimbiso_fsm.audit.trail import Trail
from vimbiso_fsm.document.document import Fields
from vimbiso_fsm.errors import EntryNotFound
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.flow.state import Transition
from vimbiso_fsm.messages.value import Value


@attrs.frozen(eq=False, repr=False)
class Candidate(Value):
    """A transition that the trigger could have fired.

    Attributes:
        dest: The state that it leads to.
        verdicts: The names and verdicts of its guards, in order, up to the first that held it back.
        outcome: "fired", "held back", or "not asked" when another one had fired before.
    """

    dest: str
    verdicts: tuple[tuple[str, str], ...]
    outcome: Literal["fired", "held back", "not asked"]


@attrs.frozen(eq=False, repr=False)
class Explained(Value):
    """A step of an entry, and the transitions that were candidates.

    Attributes:
        step: The step.
        candidates: The candidates, in the order of the declaration that decided if the bot still contains it, and
            otherwise of the current one. None when the declaration does not fit the step.
        changed: How the declaration differs from the step; "" when it fits.
        decided: The declaration that decided, when the current one is another; "" otherwise.
        kept: Whether the candidates are those of the declaration that decided.
    """

    step: AuditStep
    candidates: tuple[Candidate, ...] = ()
    changed: str = ""
    decided: str = ""
    kept: bool = False


@attrs.frozen(eq=False, repr=False)
class Explanation(Value):
    """The explanation of one commit.

    Attributes:
        entry: Its entry.
        digest: The digest of the entry.
        steps: The steps of the entry, explained.
    """

    entry: AuditEntry
    digest: str
    steps: tuple[Explained, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The explanation as lines of text."""
        return tuple(_lines(self))


def explain(bot: Bot, trail: Trail, version: int) -> Explanation:
    """Explain the commit of a version of a member.

    An entry names the guards and their verdicts, and the version and fingerprint of the flow's declaration. Which guard
    belongs to which transition is read from that declaration, if the bot still contains it, and otherwise from the
    current one. A difference between the two is named. Where the declaration does not fit the verdicts, they stand
    alone.

    Args:
        bot: The bot.
        trail: The trail of the member.
        version: The version of the document that the commit made.

    Returns:
        The explanation; that of the fold, if the entry was folded with others.

    Raises:
        EntryNotFound: No entry of this version is kept.
        Unreadable: The entry cannot be read.
    """
    entry = next((entry for entry in trail.entries if entry.version >= version >= first_of(entry)), None)
    if entry is None:
        raise EntryNotFound(trail.name, version, _why_not(trail, version))
    read = unseal(entry)
    steps = (attrs.evolve(_matched(bot, step), decided=_decided(bot, step)) for step in read.steps)
    return Explanation(read, entry.digest, tuple(steps))


def _why_not(trail: Trail, version: int) -> str:
    if not trail.entries:
        return "no entry is kept"
    first, last = trail.entries[0].version, trail.entries[-1].version
    if version < 1:
        return "versions count 1, 2, 3 …"
    if version > last:
        return f"the latest is {last}"
    return f"it is not kept any more, the first is {first}" if version < first else "it is missing from the audit"


def _matched(bot: Bot, step: AuditStep) -> Explained:
    """Explain a step by the declaration that decided it if the bot contains it, and otherwise by the current one."""
    if not step.source:
        return Explained(step)  # a run that starts
    flow = next((flow for flow in bot.definitions(step.flow) if _declares(flow, step)), None)
    kept = flow is not None
    if flow is None and step.flow not in bot.machines:
        return Explained(step, changed=f"the bot has no flow {step.flow!r} any more")
    flow = flow or bot.flow(step.flow)
    if step.source not in flow.by_name:
        return Explained(step, changed=f"the flow has no state {step.source!r} any more")
    candidates = _candidates(flow, step)
    if candidates is None:
        return Explained(step, changed="its transitions and guards there are not those that were tried")
    return Explained(step, candidates, kept=kept)


def _declares(flow: Flow[Any], step: AuditStep) -> bool:
    return (flow.version, flow.fingerprint) == (step.version, step.fingerprint)


def _decided(bot: Bot, step: AuditStep) -> str:
    """Name the declaration that decided a step; "" when it is the current one, or not known."""
    if not step.version:
        return ""
    current = "it is not declared any more"
    if step.flow in bot.machines:
        flow = bot.flow(step.flow)
        if _declares(flow, step):
            return ""
        current = f"the current one is version {flow.version} (fingerprint {flow.fingerprint})"
    return f"decided by {step.flow} version {step.version} (fingerprint {step.fingerprint}), {current}"


def _candidates(flow: Flow[Any], step: AuditStep) -> tuple[Candidate, ...] | None:
    """Match the transitions of a flow with the verdicts of a step; None when they do not fit."""
    verdicts = list(step.guards)
    found: list[Candidate] = []
    for transition in flow.ways(step.source, step.trigger):
        if any(candidate.outcome == "fired" for candidate in found):
            found.append(Candidate(transition.dest, (), "not asked"))
            continue
        candidate = _matched_transition(transition, verdicts)
        if candidate is None:
            return None
        found.append(candidate)
    fired = next((candidate.dest for candidate in found if candidate.outcome == "fired"), None)
    return None if verdicts or fired != step.dest else tuple(found)


def _matched_transition(transition: Transition[Any], verdicts: list[tuple[str, str]]) -> Candidate | None:
    """Remove the verdicts of a transition's guards from the front of a list; None when they are not there."""
    own: list[tuple[str, str]] = []
    conditions = len(cast("Sequence[object]", transition.conditions))
    for place, guard in enumerate(transition.guards):
        if not verdicts or verdicts[0][0] != name_of(guard):
            return None
        own.append(verdicts.pop(0))
        if own[-1][1] != ("accepted" if place < conditions else "declined"):
            return Candidate(transition.dest, tuple(own), "held back")
    return Candidate(transition.dest, tuple(own), "fired")


def _lines(explanation: Explanation) -> Iterator[str]:
    entry = explanation.entry
    if entry.kind == FOLDED:
        yield from _fold_lines(entry)
    else:
        yield f"entry {entry.version} of member {entry.member_id}: {entry.kind}, {entry.status}"
    yield f"at {entry.at.isoformat()}, on {entry.channel[0] or 'no channel'} {entry.channel[1]}".rstrip()
    for explained in explanation.steps:
        yield from _step_lines(explained)
    if not explanation.steps and entry.kind != FOLDED:
        yield "no trigger was tried"
    for name in sorted({*entry.changed, *entry.before, *entry.after}):
        if name in entry.changed:
            yield f"changed {name}: {_shown(entry.before, name)} -> {_shown(entry.after, name)}"
    if entry.codes and entry.kind != FOLDED:
        yield f"said: {', '.join(entry.codes)}"
    if entry.detail and entry.kind != FOLDED:
        yield f"detail: {json.dumps(entry.detail, ensure_ascii=False)}"
    yield f"committed: document {entry.document}"
    yield f"           as entry {explanation.digest}"
    yield f"           after {entry.previous or 'none, it is the first'}"


def _fold_lines(entry: AuditEntry) -> Iterator[str]:
    place = f"{entry.dest} of run {entry.run}"
    yield f"entries {first_version(entry)} to {entry.version} of member {entry.member_id}, folded into one"
    since = first_instant(entry).isoformat()
    yield f"{entry.detail.get('count')} messages left the member at {place}, the first at {since}"
    codes: Fields = entry.detail.get("codes", {})
    if codes:
        yield "said: " + ", ".join(f"{code} ({times})" for code, times in codes.items())
    yield "the latest"


def _step_lines(explained: Explained) -> Iterator[str]:
    step = explained.step
    result = f"to {step.dest}" if step.dest is not None else "nothing accepted it"
    result += ", a call with an effect" if step.effect else ""
    began = f"run {step.run} began in {step.dest}"
    yield f"{step.trigger} in {step.source} of run {step.run}: {result}" if step.source else began
    if explained.decided:
        yield f"  {explained.decided}"
    if not step.source:
        return
    if explained.changed:
        yield f"  the flow has changed since: {explained.changed}"
        yield from (f"  {guard}: {verdict}" for guard, verdict in step.guards)
    elif not explained.candidates:
        yield "  no transition was a candidate"
    elif explained.decided and not explained.kept:
        yield "  which fits the current declaration:"
    for place, candidate in enumerate(explained.candidates, 1):
        yield f"  {place}. to {candidate.dest}: {candidate.outcome}"
        yield from (f"     {guard}: {verdict}" for guard, verdict in candidate.verdicts)


def _shown(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if value == MASK else json.dumps(value, ensure_ascii=False)
