"""All the conversations that a machine can find: `walk(bot, who=[…], turns=…) -> Walk`.

A walk tries each move (`moves.py`) at each place (`places.py`) that it reaches. It begins where it was least, and goes
breadth first, so that what it finds has a short conversation. It is exhaustive within its bound: when the turns are
used up, it names the places at which moves were left over. It names the guards that no typed answer has passed, too. It
has no chance in it: two machines take the same walk.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import attrs

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.flow import AnyFlow, Flow
from vimbiso_fsm.flow.state import sequence
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.runtime.base import resolve_bot
from vimbiso_fsm.testing.approved import approved
from vimbiso_fsm.testing.conversation import MEMBER, channel_of
from vimbiso_fsm.testing.moments import Moment, Move, World
from vimbiso_fsm.testing.moves import answers_of, moves_at, rows_cut, texts_at
from vimbiso_fsm.testing.places import place_key, spot
from vimbiso_fsm.testing.walk_findings import findings_of, is_faulty
from vimbiso_fsm.testing.ways import Way, flows_of, transitions_of

K = TypeVar("K", bound=Hashable)

TURNS: Final = 6_000
"""Moves of a walk, unless the caller names another bound."""
_FAULTS: Final = 2
"""Calls of one move that are refused."""


@attrs.frozen
class Verdicts:
    """What a guard has said on a walk.

    Attributes:
        yes: How often it accepted.
        no: How often it declined without a reason.
        why: How often it refused, by the code of the reason.
    """

    yes: int = 0
    no: int = 0
    why: Mapping[str, int] = attrs.field(factory=dict[str, int])

    @property
    def is_covered(self) -> bool:
        """Whether it has both accepted and not accepted."""
        return self.yes > 0 and (self.no > 0 or bool(self.why))


@attrs.frozen(eq=False)
class Walk:
    """What a walk has found.

    Attributes:
        bot: The bot.
        turns: The moves that were made.
        bound: The moves that it was bound to.
        places: The number of places that were reached.
        cut: The number of moves that were left over, by place; empty if the walk is exhaustive.
        fired: How often each transition fired.
        conversations: The shortest conversation to each transition that fired, as its last moment.
        refusals: The shortest conversation to each reason of a guard, by flow and code.
        guards: What each guard has said, by flow and name.
        findings: What is wrong with the flows, each with the shortest conversation that shows it.
    """

    bot: Bot
    turns: int
    bound: int
    places: int
    cut: Mapping[str, int]
    fired: Mapping[Way, int]
    conversations: Mapping[Way, Moment]
    refusals: Mapping[tuple[str, str], Moment]
    guards: Mapping[tuple[str, str], Verdicts]
    findings: tuple[Finding, ...] = ()

    @property
    def exhausted(self) -> bool:
        """Whether each move was made at each place, and each guard of a typed answer has accepted one."""
        return not self.cut and not self.declined

    @cached_property
    def declined(self) -> tuple[tuple[str, str], ...]:
        """The guards that no typed answer has passed, by flow and name: what is behind them was not tried."""
        found: dict[tuple[str, str], None] = {}
        for flow in flows_of(self.bot):
            for way in (way for state in flow.states if state.reads for way in flow.ways(state.name, "answer")):
                for guard in way.guards:
                    said = self.guards.get((flow.name, name_of(guard)))
                    passed = said is None or (said.yes if guard in sequence(way.conditions) else said.no or said.why)
                    if not passed:
                        found[flow.name, name_of(guard)] = None
        return tuple(found)

    @cached_property
    def transitions(self) -> Mapping[Way, int]:
        """How often each transition of an author's flow fired; 0 for one that never did."""
        return {way: self.fired.get(way, 0) for way in transitions_of(self.bot)}

    @property
    def never(self) -> tuple[Way, ...]:
        """The transitions that never fired."""
        return tuple(way for way, times in self.transitions.items() if not times)

    def approved(self, flow: str) -> str:
        """Return the approved walk of a flow: the shortest conversation to each transition and each reason of a guard.

        Args:
            flow: The name of the flow.
        """
        ends = [at for way, at in self.conversations.items() if way.flow == flow]
        return approved(self.bot, flow, [*ends, *(at for (of, _), at in self.refusals.items() if of == flow)])

    def approve(self, folder: str | Path) -> list[Path]:
        """Write the approved walk of each flow into a folder, as `pytest --approve-walks` does; return the files."""
        files = {Path(folder, f"{flow.name}.txt"): self.approved(flow.name) for flow in flows_of(self.bot)}
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return list(files)

    def __str__(self) -> str:
        """Return the bound, the places that were cut, and the coverage of each flow."""
        bound = "exhausted" if self.exhausted else f"cut at {self.bound} turns" if self.cut else "not exhausted"
        lines = [f"{self.turns} turns, {self.places} places, {bound}"]
        for flow in flows_of(self.bot):
            ways = [(way, times) for way, times in self.transitions.items() if way.flow == flow.name]
            never = ", ".join(str(way) for way, times in ways if not times)
            fired = f"{flow.name:<16} transitions {sum(times > 0 for _, times in ways)}/{len(ways)}"
            lines += [fired + (f"  never: {never}" if never else "")] if ways else []
        lines += (
            f"declined: {guard} of {flow} accepts no answer that was typed; name one in State(examples=…)"
            for flow, guard in self.declined
        )
        lines += (f"cut: {moves} moves at {place}" for place, moves in sorted(self.cut.items()))
        return "\n".join(lines)


def walk(
    bot: Bot | AnyFlow | str,
    who: str | Channel | Iterable[str | Channel] = MEMBER,
    *,
    turns: int = TURNS,
    each: Callable[[Moment], object] | None = None,
) -> Walk:
    """Try all conversations of a bot, as far as they differ.

    Args:
        bot: The bot, a flow that is to be its only one, or the name of a package that exports `bot`.
        who: The channels of members of different kinds, as "type:identifier": one who holds much, one who holds
            nothing, one who is unknown. Each conversation is that of one of them.
        turns: The moves at most.
        each: Is called with the moment to which each move has led, in order.
    """
    resolved = Bot([bot]) if isinstance(bot, Flow) else resolve_bot(bot)
    channels = [channel_of(each) for each in ([who] if isinstance(who, str | Channel) else who)]
    return _Search(resolved, turns, each).go(channels)


class _Search:
    """The search, place by place."""

    def __init__(self, bot: Bot, bound: int, each: Callable[[Moment], object] | None = None) -> None:
        self._bot, self._bound, self._world, self._each = bot, bound, World(bot), each
        self._words: set[str] = set()
        self._known: dict[Hashable, Moment] = {}
        self._visits: Counter[tuple[str, str]] = Counter()
        self._queue: list[tuple[int, int, int, Moment, Move, Hashable]] = []
        self._order = count()
        self._varied: set[tuple[str, str, str]] = set()
        self._fired: Counter[Way] = Counter()
        self._shortest: dict[Way, Moment] = {}
        self._refusals: dict[tuple[str, str], Moment] = {}
        self._yes: Counter[tuple[str, str]] = Counter()
        self._no: Counter[tuple[str, str]] = Counter()
        self._why: dict[tuple[str, str], Counter[str]] = {}
        self._faulty: list[Moment] = []
        self._moved: set[Hashable] = set()
        self._rows_cut: Counter[str] = Counter()

    def go(self, channels: Sequence[Channel]) -> Walk:
        for channel in channels:
            self._reach(self._world.beginning(channel))
        turns = 0
        while self._queue and turns < self._bound:
            visits, depth, order, moment, move, key = heapq.heappop(self._queue)
            if self._known[key] is not moment:  # a shorter way to this place was found
                continue
            seen = self._visits[spot(moment), move.label]
            if seen > visits:
                heapq.heappush(self._queue, (seen, depth, order, moment, move, key))
                continue
            self._visits[spot(moment), move.label] += 1
            after = self._world.after(moment, move)
            if after is not None:
                turns += 1
                self._note(moment, key, after)
        return self._walk(turns)

    def _reach(self, moment: Moment) -> None:
        """Note a place, and queue its moves, unless it is known by a conversation that is as short."""
        self._words.update(texts_at(self._bot, moment))
        key = place_key(moment, self._words)
        known = self._known.get(key)
        if known is not None and known.depth <= moment.depth:
            return
        self._known[key] = moment
        if cut := rows_cut(moment):
            self._rows_cut[moment.place] = max(self._rows_cut[moment.place], cut)
        for move in moves_at(self._bot, moment):
            self._queue_move(moment, move, key)

    def _queue_move(self, moment: Moment, move: Move, key: Hashable) -> None:
        visits = self._visits[spot(moment), move.label]
        heapq.heappush(self._queue, (visits, moment.depth, next(self._order), moment, move, key))

    def _note(self, moment: Moment, key: Hashable, after: Moment) -> None:
        """Note what a move has done, and go on from where it has led."""
        assert after.move is not None
        if self._each is not None:
            self._each(after)
        for step in after.steps:
            self._note_guards(step.flow, step.guards, after)
            if step.dest is not None and step.source:
                way = Way(step.flow, step.source, step.trigger, step.dest)
                self._fired[way] += 1
                _keep_shortest(self._shortest, way, after)
        if after.error is not None or (not after.move.is_global and _leads_out(moment, after)):
            self._moved.add(key)
        if is_faulty(after):
            self._faulty.append(after)
        self._vary(moment, key, after)
        if after.error is None and not after.fault:
            self._reach(after)

    def _note_guards(self, flow: str, guards: Iterable[tuple[str, str]], after: Moment) -> None:
        for name, verdict in guards:
            guard = flow, name
            if verdict == "accepted":
                self._yes[guard] += 1
            elif verdict == "declined":
                self._no[guard] += 1
            else:
                code = verdict.removeprefix("refused ")
                self._why.setdefault(guard, Counter())[code] += 1
                _keep_shortest(self._refusals, (flow, code), after)

    def _vary(self, moment: Moment, key: Hashable, after: Moment) -> None:
        """Queue the same move with other answers of its calls."""
        move = after.move
        assert move is not None
        if len(move.answers) >= _FAULTS:
            return
        first = move.answers[-1][0] + 1 if move.answers else 0
        for place, call in enumerate(after.calls[first:], first):
            for code in dict.fromkeys(answers_of(self._bot, call)):
                varied = (spot(moment), call.place, f"{move.answers} {code}")
                if varied not in self._varied:
                    self._varied.add(varied)
                    answers = (*move.answers, (place, code))
                    self._queue_move(moment, attrs.evolve(move, answers=answers, content=move.content), key)

    def _walk(self, turns: int) -> Walk:
        cut: Counter[str] = Counter()
        for *_, moment, _, key in self._queue:
            if self._known[key] is moment:
                cut[moment.place] += 1
        guards = sorted({*self._yes, *self._no, *self._why})
        left = {key for *_, _, key in self._queue}
        stuck = [moment for key, moment in self._known.items() if key not in self._moved and key not in left]
        never = [way for way in transitions_of(self._bot) if not self._fired[way]]
        return Walk(
            self._bot, turns, self._bound, len(self._known), dict(cut + self._rows_cut if cut else cut),
            dict(self._fired), dict(self._shortest), dict(self._refusals),
            {guard: Verdicts(self._yes[guard], self._no[guard], dict(self._why.get(guard, {}))) for guard in guards},
            findings_of(self._bot, turns, self._faulty, stuck, never),
        )  # fmt: skip


def _leads_out(moment: Moment, after: Moment) -> bool:
    """Whether a move has led out of the state in which the member stood."""
    run = moment.document.run if moment.document is not None else None
    steps = [step for step in after.steps if run is not None and (step.run, step.source) == (run.id, run.step)]
    return any(step.dest is not None for step in steps)


def _keep_shortest(kept: dict[K, Moment], key: K, moment: Moment) -> None:
    known = kept.get(key)
    if known is None or moment.depth < known.depth:
        kept[key] = moment
