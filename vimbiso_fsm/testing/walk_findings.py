"""The findings of a walk, each with the conversation that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import name_of
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.raised_in import callback_place
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.made import UNKNOWN, Made
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Text
from vimbiso_fsm.testing.moments import Call, Moment
from vimbiso_fsm.testing.moves import accepts_known, rows_cut
from vimbiso_fsm.testing.ways import Way


def findings_of(
    bot: Bot, turns: int, faulty: Iterable[Moment], stuck: Iterable[Moment], never: Iterable[Way]
) -> tuple[Finding, ...]:
    """Return what a walk shows to be wrong, one finding for each code and place, sorted.

    Args:
        bot: The bot.
        turns: The moves of the walk.
        faulty: The moments whose moves show that something is wrong.
        stuck: A moment of each place out of which no transition has led, though each move was made.
        never: The transitions that never fired.
    """
    found: dict[tuple[str, str, str], Finding] = {}
    for finding in (*_of_moves(bot, faulty), *_traps(bot, stuck), *_never(bot, turns, never)):
        key = finding.code, finding.flow, finding.place
        shorter = found.get(key)
        if shorter is None or len(finding.conversation) < len(shorter.conversation):
            found[key] = finding
    return tuple(sorted(found.values()))


def is_faulty(moment: Moment) -> bool:
    """Return whether something is wrong with the move that has led to a moment."""
    return (
        moment.error is not None
        or bool(moment.fault)
        or _is_unanswered(moment)
        or any(_blank(moment))
        or any(_twice(moment))
    )


def conversation(moment: Moment) -> tuple[str, ...]:
    """Return what a member says until a moment, line by line, with the reasons for which an answer was refused."""
    lines: list[str] = []
    for at in moment.way[1:]:
        assert at.move is not None
        shown = f"[{at.move.what}]" if at.move.kind == "press" else at.move.what
        shown = {
            "wait": "(time passes)",
            "content": f"({shown})",
            "pull": f"({shown} is pulled)",
            "tell": f"(the channel tells {shown})",
        }.get(at.move.kind, shown)
        refused = "".join(f"  ✗ {code}" for code in at.codes)
        answers = "".join(f"  ! {at.calls[place].method}: {code}" for place, code in at.move.answers)
        lines.append(f"> {shown}{answers}{refused}")
    return tuple(lines)


def _of_moves(bot: Bot, faulty: Iterable[Moment]) -> Iterator[Finding]:
    """Yield what single moves show."""
    for moment in faulty:
        flow, state = _standing(bot, moment.before)
        if moment.error is not None:
            yield _raised(bot, moment, flow, state)
        if moment.fault == "loop":
            fault = f"one message leads from call to call, {len(moment.calls)} times, without a question"
            yield _finding(bot, moment, "loop", fault, "let a question, or an end, stand between them", flow, state)
        if _is_unanswered(moment):
            fault = "a message gets no reply"
            remedy = "say something in the states that it leads through, or ask a question at the end"
            yield _finding(bot, moment, "sent-empty", fault, remedy, *_standing(bot, moment))
        for reply in _blank(moment):
            fault = f"what is said here is empty{_key(reply)}"
            yield _finding(bot, moment, "said-empty", fault, "let it say something", *_standing(bot, moment))
        for call in _twice(moment):
            fault = f"one message leads to {call.method} twice, with the same arguments and another key each"
            remedy = "let a question stand between the two, or make the call once"
            called, _, at = call.place.partition(".")
            made_by = bot.machines[called].flow
            yield _finding(bot, moment, "effect-twice", fault, remedy, made_by, made_by[at])


def _raised(bot: Bot, moment: Moment, flow: AnyFlow | None, state: AnyState | None) -> Finding:
    error = moment.error
    place = callback_place(error) if error is not None else ""
    slot, _, rest = place.partition(" ")
    name = rest.partition("'")[2].partition("'")[0]
    code = "guard-raises" if slot == "guard" else "callback-raises"
    fault = f"{slot or 'a callback'} {name!r} raises {type(error).__name__}: {error}"
    made = state.made if state is not None else UNKNOWN
    if flow is not None and slot in ("guard", "prepare"):
        made = next((way.made for way in flow.transitions if name in _callbacks(way)), made)
    remedy = "return a value for each turn that can come here"
    return _finding(bot, moment, code, fault, remedy, flow, state, made)


def _callbacks(way: object) -> list[str]:
    guards = getattr(way, "guards", ())
    prepare = getattr(way, "prepare", None)
    return [name_of(each) for each in (*guards, *([prepare] if prepare is not None else []))]


def _traps(bot: Bot, stuck: Iterable[Moment]) -> Iterator[Finding]:
    """Yield the questions out of which only a global word, or the end of the session, leads."""
    for moment in stuck:
        flow, state = _standing(bot, moment)
        if flow is None or state is None or not state.is_question or not accepts_known(state) or rows_cut(moment):
            continue
        typed = state.reads is not None and not state.examples
        remedy = "let an answer lead on, or do not lead here"
        if typed:
            remedy += "; if one does lead on, name it in State(examples=…)"
        yield _finding(
            bot, moment, "trap", "only a global word leads out", remedy, flow, state, advice=typed
        )  # fmt: skip


def _never(bot: Bot, turns: int, never: Iterable[Way]) -> Iterator[Finding]:
    """Yield the transitions that never fired. It is advice: a walk knows neither all texts nor all answers."""
    for way in never:
        flow = bot.machines[way.flow].flow
        fault = f"it did not fire in {turns} turns"
        remedy = "name answers that lead to it in State(examples=…), or remove it"
        yield Finding.at(_made(flow, way), "never-fired", fault, remedy, flow=way.flow, place=str(way), advice=True)


def _made(flow: AnyFlow, way: Way) -> Made:
    ways = flow.ways(way.source, way.trigger)
    return next((each.made for each in ways if each.dest == way.dest), UNKNOWN)


def _standing(bot: Bot, moment: Moment | None) -> tuple[AnyFlow | None, AnyState | None]:
    run = moment.document.run if moment is not None and moment.document is not None else None
    if run is None:
        return None, None
    flow = bot.definition(run)
    return flow, flow[run.step]


def _finding(
    bot: Bot,
    moment: Moment,
    code: str,
    fault: str,
    remedy: str,
    flow: AnyFlow | None,
    state: AnyState | None,
    made: Made | None = None,
    *,
    advice: bool = False,
) -> Finding:
    flow = flow or bot.home
    made = made or (state.made if state is not None else flow.made)
    place = f"state {state.name!r}" if state is not None else ""
    return Finding(
        made.file, made.line, code, fault, remedy, flow=flow.name, place=place, advice=advice,
        conversation=conversation(moment),
    )  # fmt: skip


def _is_unanswered(moment: Moment) -> bool:
    document, move = moment.document, moment.move
    said = move is not None and move.kind in ("say", "press", "content", "link")
    waits = document is None or document.call is not None or document.handed is not None or not document.is_reachable
    return said and not moment.replies and not waits and moment.error is None


def _blank(moment: Moment) -> Iterator[Reply]:
    return (reply for reply in moment.replies if isinstance(reply, Text | Buttons | Menu) and not reply.text.strip())


def _key(reply: Reply) -> str:
    body = getattr(reply, "body", reply)
    return f": {body.key!r}" if isinstance(body, Text) and body.key.strip() else ""


def _twice(moment: Moment) -> Iterator[Call]:
    """Yield the calls with an effect that one message has led to before, in the same way."""
    if moment.move is None or moment.move.answers or moment.move.kind == "wait":
        return
    seen: dict[tuple[str, str], str] = {}
    for call in moment.calls:
        if call.effect and not call.code and seen.setdefault((call.method, call.arguments), call.key) != call.key:
            yield call
