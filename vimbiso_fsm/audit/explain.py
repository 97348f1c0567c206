"""One commit explained: which transitions were candidates, what each guard said, what was committed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import attrs

from vimbiso_fsm.audit.entries import AuditEntry, AuditStep, unseal
from vimbiso_fsm.audit.trail import Trail
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.machine import name_of
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.flow.state import Transition


class NotKept(VimbisoError, LookupError):
    """There is no entry of this version. Attributes: `member_id`, `version`, `fault`."""

    member_id: str
    version: int
    fault: str

    def __init__(self, member_id: str, version: int, fault: str) -> None:
        self.member_id, self.version, self.fault = member_id, version, fault
        super().__init__(f"entry {version} of member {member_id!r} is not there: {fault}")


@attrs.frozen
class Candidate:
    """One transition of the trigger from where the run stood. `verdicts`: what its guards said, in order; those after
    the first that held it back were not asked. `outcome`: "fired", "held back", or "not asked" after one had fired.
    """

    dest: str
    verdicts: tuple[tuple[str, str], ...]
    outcome: Literal["fired", "held back", "not asked"]


@attrs.frozen
class Explained:
    """A step, and the transitions that were candidates, in the order of the declaration that decided it, where the bot
    still keeps it, or else of today's. `changed`: in which way that is not what was stepped; then there are no
    candidates. `decided`: by which declaration it was decided, when today's is another; `kept`: whether the candidates
    are of that very one.
    """

    step: AuditStep
    candidates: tuple[Candidate, ...] = ()
    changed: str = ""
    decided: str = ""
    kept: bool = False


@attrs.frozen
class Explanation:
    """What one commit came to be by. `digest`: of the entry."""

    entry: AuditEntry
    digest: str
    steps: tuple[Explained, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words, a line each."""
        return tuple(_words(self))


def explain(bot: Bot, trail: Trail, version: int) -> Explanation:
    """Which transitions were candidates, what each guard said, and what was committed, at a version of a member.

    An entry names guards and their verdicts, and of the declaration the version and the fingerprint; which guard stood
    at which transition is read from that declaration, where the bot keeps it (runs finish on it), or else from today's.
    Where today's is another, it is said; where it does not fit what was said, the verdicts alone are there.

    Raises: NotKept; codec.Unreadable.
    """
    entry = next((entry for entry in trail.entries if entry.version == version), None)
    if entry is None:
        raise NotKept(trail.name, version, _why_not(trail, version))
    read = unseal(entry)
    return Explanation(read, entry.digest, tuple(_explained(bot, step) for step in read.steps))


def _why_not(trail: Trail, version: int) -> str:
    if not trail.entries:
        return "no entry is kept"
    first, last = trail.entries[0].version, trail.entries[-1].version
    if version < 1:
        return "versions count 1, 2, 3 …"
    if version > last:
        return f"the latest is {last}"
    return f"it is not kept any more, the first is {first}" if version < first else "it is missing from the audit"


def _explained(bot: Bot, step: AuditStep) -> Explained:
    return attrs.evolve(_matched(bot, step), decided=_decided(bot, step))


def _matched(bot: Bot, step: AuditStep) -> Explained:
    """The step beside the declaration that decided it, where the bot still has it, or else today's."""
    if not step.source:
        return Explained(step)  # a run that begins: nothing was tried
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
    """By which declaration a step was decided; "" when it is today's, or not known."""
    if not step.version:
        return ""
    today = "there is none today"
    if step.flow in bot.machines:
        flow = bot.flow(step.flow)
        if _declares(flow, step):
            return ""
        today = f"today's is version {flow.version} (fingerprint {flow.fingerprint})"
    return f"decided by {step.flow} version {step.version} (fingerprint {step.fingerprint}), {today}"


def _candidates(flow: Flow[Any], step: AuditStep) -> tuple[Candidate, ...] | None:
    """The transitions with what their guards said; None when they are not those that were tried."""
    said = list(step.guards)
    found: list[Candidate] = []
    for transition in flow.ways(step.source, step.trigger):
        if any(candidate.outcome == "fired" for candidate in found):
            found.append(Candidate(transition.dest, (), "not asked"))
            continue
        candidate = _replayed(transition, said)
        if candidate is None:
            return None
        found.append(candidate)
    fired = next((candidate.dest for candidate in found if candidate.outcome == "fired"), None)
    return None if said or fired != step.dest else tuple(found)


def _replayed(transition: Transition[Any], said: list[tuple[str, str]]) -> Candidate | None:
    """Take what the transition's guards said off the list; None when the next words are not theirs."""
    verdicts: list[tuple[str, str]] = []
    conditions = len(cast(Any, transition.conditions))
    for place, guard in enumerate(transition.guards):
        if not said or said[0][0] != name_of(guard):
            return None
        verdicts.append(said.pop(0))
        if verdicts[-1][1] != ("accepted" if place < conditions else "declined"):
            return Candidate(transition.dest, tuple(verdicts), "held back")
    return Candidate(transition.dest, tuple(verdicts), "fired")


def _words(explanation: Explanation) -> Iterator[str]:
    entry = explanation.entry
    yield f"entry {entry.version} of member {entry.member_id}: {entry.kind}, {entry.status}"
    yield f"at {entry.at.isoformat()}, on {entry.channel[0] or 'no channel'} {entry.channel[1]}".rstrip()
    for explained in explanation.steps:
        yield from _step_words(explained)
    if not explanation.steps:
        yield "no trigger was tried"
    for name in sorted({*entry.changed, *entry.before, *entry.after}):
        if name in entry.changed:
            yield f"changed {name}: {_shown(entry.before, name)} -> {_shown(entry.after, name)}"
    if entry.codes:
        yield f"said: {', '.join(entry.codes)}"
    if entry.detail:
        yield f"detail: {json.dumps(entry.detail, ensure_ascii=False)}"
    yield f"committed: document {entry.document}"
    yield f"           as entry {explanation.digest}"
    yield f"           after {entry.previous or 'none, it is the first'}"


def _step_words(explained: Explained) -> Iterator[str]:
    step = explained.step
    went = f"to {step.dest}" if step.dest is not None else "nothing accepted it"
    went += ", a call with an effect" if step.effect else ""
    began = f"run {step.run} began in {step.dest}"
    yield f"{step.trigger} in {step.source} of run {step.run}: {went}" if step.source else began
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
        yield "  which fits what is declared today:"
    for place, candidate in enumerate(explained.candidates, 1):
        yield f"  {place}. to {candidate.dest}: {candidate.outcome}"
        yield from (f"     {guard}: {verdict}" for guard, verdict in candidate.verdicts)


def _shown(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if value == MASK else json.dumps(value, ensure_ascii=False)
