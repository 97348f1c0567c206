"""Findings in the declaration of a bot: what its flows, states and transitions show without any code of a callback."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.parts import at, flows_of
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.late_texts import late_texts
from vimbiso_fsm.flow.privacy import PUBLIC
from vimbiso_fsm.flow.source import sources
from vimbiso_fsm.flow.state import AnyState, AnyTransition, sequence
from vimbiso_fsm.made import Made, made_of_field

_SECRETS: Final = frozenset({"password", "passcode", "passphrase", "pin", "secret", "otp", "cvv", "cvc", "token"})
"""The last words of the names of fields that hold secrets."""


def declaration_findings(bot: Bot) -> Iterator[Finding]:
    """Yield what is found in the declaration of a bot."""
    for flow in flows_of(bot):
        yield from _ways(flow)
        yield from _auto_loops(flow)
        yield from _without_exit(bot, flow)
        yield from _skipped_confirms(flow)
        yield from _fields(flow)
        yield from _versions(flow)
        yield from _choices(bot, flow)
    yield from _home_ends(bot)
    yield from _unasked_effects(bot)
    yield from _unreachable_flows(bot)
    yield from _late(bot)


def _ways(flow: AnyFlow) -> Iterator[Finding]:
    """Yield transitions that never fire, because an earlier one takes all that they take, or they contradict."""
    shadowed: set[int] = set()
    for (source, trigger), ways in flow.by_trigger.items():
        for earlier, later in itertools.combinations(ways, 2):
            if id(later) not in shadowed and earlier.prepare is later.prepare and _takes_all_of(earlier, later):
                shadowed.add(id(later))
                fault = (
                    f"it never fires at {source!r}, because the transition to {earlier.dest!r} takes all that it takes"
                )
                remedy = "place it first, or give the earlier one a guard of its own"
                yield at(flow, later.made, f"transition {trigger!r}", "shadowed-transition", fault, remedy)
    for way in flow.transitions:
        for guard in set(sequence(way.conditions)) & set(sequence(way.unless)):
            fault = f"guard {getattr(guard, '__name__', guard)!r} is among conditions and unless, so it never fires"
            yield at(flow, way.made, _place(way), "transition-contradicts", fault, "remove it from one of the two")


def _takes_all_of(earlier: AnyTransition, later: AnyTransition) -> bool:
    asks, refuses = set(sequence(earlier.conditions)), set(sequence(earlier.unless))
    same = asks <= set(sequence(later.conditions)) and refuses <= set(sequence(later.unless))
    return same and not asks & refuses


def _auto_loops(flow: AnyFlow) -> Iterator[Finding]:
    """Yield states with nothing to do that lead round to themselves, with nothing on the way that changes the data.

    Guards of the same data answer the same each time, so that a round that was made once has no end.
    """
    named: set[str] = set()
    for state in flow.states:
        round_trip = _round(flow, state)
        if round_trip and not named & set(round_trip):
            named.update(round_trip)
            fault = f"it goes on by 'auto' and comes back to itself, by {', '.join(map(repr, round_trip))}"
            remedy = "let one of these states ask, or a transition change what its guards see"
            yield at(flow, state.made, f"state {state.name!r}", "auto-loop", fault, remedy)


def _round(flow: AnyFlow, start: AnyState) -> list[str]:
    """Return the states of a round from a state to itself by `auto` without a `prepare`; empty if there is none."""
    waiting: list[list[str]] = [[start.name]]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        for way in flow.ways(path[-1], "auto"):
            if way.prepare is None and way.dest == start.name:
                return path
            if way.prepare is None and way.dest not in seen:
                seen.add(way.dest)
                waiting.append([*path, way.dest])
    return []


def _without_exit(bot: Bot, flow: AnyFlow) -> Iterator[Finding]:
    """Yield the first state of a sub-flow or entry flow from which no final state can be reached."""
    waited_for = {id(state.flow) for other in bot.flows for state in other.states if state.flow is not None}
    if flow is bot.home or (id(flow) not in waited_for and flow is not bot.entry):
        return
    leads: dict[str, set[str]] = {state.name: set() for state in flow.states}
    for (source, _), ways in flow.by_trigger.items():
        leads[source].update(way.dest for way in ways)
    exits = {state.name for state in flow.states if state.final}
    while more := {name for name, targets in leads.items() if targets & exits} - exits:
        exits |= more
    for state in flow.states:
        if state.name not in exits:
            fault = "no way leads from it to the end of the flow, and another flow waits for the end"
            remedy = "add a transition that leads to a final state"
            yield at(flow, state.made, f"state {state.name!r}", "loop-without-exit", fault, remedy)
            return


def _skipped_confirms(flow: AnyFlow) -> Iterator[Finding]:
    """Yield answers that lead to an effect at once, where other ways to it ask for a confirmation."""
    for state in flow.states:
        if state.call is None or not state.call_policy.effect:
            continue
        leading = list(_leading(flow, state.name))
        if not any(_confirms(flow, way, source) for way, source in leading):
            continue
        for way, source in leading:
            if "answer" in way.triggers and flow.by_name[source].is_question and not _confirms(flow, way, source):
                fault = (
                    f"an answer at {source!r} leads to the call of {state.name!r} without the question that confirms it"
                )
                yield at(flow, way.made, _place(way), "confirm-skipped", fault, "lead it to that question")


def _leading(flow: AnyFlow, name: str) -> Iterator[tuple[AnyTransition, str]]:
    """Yield the transitions that lead to a state, also by way of states with nothing to do, with their sources."""
    seen, waiting = {name}, [name]
    while waiting:
        dest = waiting.pop()
        for way in flow.transitions:
            for source in way.sources if way.dest == dest else ():
                if flow.by_name[source].idle:
                    waiting += [source] if source not in seen else []
                    seen.add(source)
                else:
                    yield way, source


def _confirms(flow: AnyFlow, way: AnyTransition, source: str) -> bool:
    buttons = flow.buttons.get(source, ())
    return "yes" in way.triggers and "yes" in buttons and "no" in buttons


def _fields(flow: AnyFlow) -> Iterator[Finding]:
    for field in flow.fields.values():
        default: object = field.default
        if isinstance(default, list | dict | set | bytearray):
            fault = f"field {field.name!r} has a default that can be changed in place, and all runs share it"
            yield at(flow, _line(flow, field.name), "data", "default-mutable", fault, "give it a factory, or a tuple")
        secret = field.name.rpartition("_")[2] in _SECRETS and field.type in (str, "str")
        if secret and field.name not in flow.secrets:
            shown = "is marked PUBLIC" if field.metadata.get("vimbiso") == PUBLIC["vimbiso"] else "is not marked SECRET"
            fault = f"field {field.name!r} {shown}, and its name is that of a secret"
            yield at(
                flow,
                _line(flow, field.name),
                "data",
                "secret-is-public",
                fault,
                "mark it: attrs.field(metadata=SECRET)",
            )


def _line(flow: AnyFlow, name: str) -> Made:
    made = made_of_field(flow.data, name)
    return made if made.file else flow.made


def _versions(flow: AnyFlow) -> Iterator[Finding]:
    if flow.version > 1 and not flow.migrations:
        fault = f"version is {flow.version} and there is no migration, so that open runs of older versions end"
        remedy = f"declare Migration({flow.version - 1}, …), or silence it if no run of an older version is open"
        yield at(flow, flow.made, "migrations", "migration-missing", fault, remedy)


def _choices(bot: Bot, flow: AnyFlow) -> Iterator[Finding]:
    for name, buttons in flow.buttons.items():
        if len(buttons) > bot.limits.rows:
            fault = f"it has {len(buttons)} buttons, and {bot.limits.rows} choices are shown at once"
            state = flow.by_name[name]
            yield at(
                flow, state.made, f"state {name!r}", "too-many-choices", fault, "split it, or accept that it has pages"
            )
    for way in flow.transitions:
        names = {trigger for trigger in way.triggers if any(trigger in flow.buttons.get(s, ()) for s in way.sources)}
        for word in sorted({*names, *(way.words if names else ())}):
            if command := bot.commands.command(word.strip().lower()):
                fault = f"{word!r} is a global word ({command}), so that a member who types it presses no button"
                yield at(flow, way.made, _place(way), "trigger-is-global-word", fault, "name it otherwise")


def _home_ends(bot: Bot) -> Iterator[Finding]:
    """Yield silent ends of home that follow a question at once, so that a message of the member has no answer."""
    flow = bot.home
    if flow not in flows_of(bot):
        return
    for state in flow.states:
        if not state.final or state.say is not None:
            continue
        for source in _silent_sources(flow, state.name):
            if flow.by_name[source].is_question:
                fault = f"home ends after {source!r} without a word, and the message of the member has no answer"
                yield at(flow, state.made, f"state {state.name!r}", "home-ends", fault, "give it say=Text(…)")
                break


def _silent_sources(flow: AnyFlow, name: str) -> Iterator[str]:
    """Yield the states that lead to a state, also by way of states that do and say nothing."""
    seen, waiting = {name}, [name]
    while waiting:
        dest = waiting.pop()
        for way in flow.transitions:
            for source in way.sources if way.dest == dest else ():
                state = flow.by_name[source]
                if not state.idle:
                    yield source
                elif state.say is None and source not in seen:
                    seen.add(source)
                    waiting.append(source)


def _unasked_effects(bot: Bot) -> Iterator[Finding]:
    """Yield calls with an effect that a flow makes as soon as it is opened, before it has asked anything."""
    opened = [bot.home, bot.entry, *(each.flow for each in (*bot.shortcuts, *bot.linked.values()))]
    named: set[int] = set()
    for flow in dict.fromkeys(flow for flow in opened if flow is not None and flow in flows_of(bot)):
        for within, state in _at_once(flow):
            if state.call is not None and state.call_policy.effect and id(state) not in named:
                named.add(id(state))
                fault = f"its call is made as soon as flow {flow.name!r} is opened, and the member was not asked"
                remedy = "ask before it, or give a call that only reads policy=READ_ONLY"
                yield at(within, state.made, f"state {state.name!r}", "effect-unasked", fault, remedy)


def _at_once(flow: AnyFlow) -> Iterator[tuple[AnyFlow, AnyState]]:
    """Yield the states that a run enters before its first question, also those of sub-flows."""
    seen: set[tuple[str, str]] = set()
    waiting: list[tuple[Any, str]] = [(flow, flow.initial)]
    while waiting:
        within, name = waiting.pop()
        if (within.name, name) in seen:
            continue
        seen.add((within.name, name))
        state = within.by_name[name]
        yield within, state
        if state.flow is not None:
            waiting.append((state.flow, state.flow.initial))
        if state.idle or (state.call is not None and not state.call_policy.effect):
            for trigger in ("auto", "done", "failed"):
                waiting += [(within, way.dest) for way in within.ways(name, trigger)]


def _unreachable_flows(bot: Bot) -> Iterator[Finding]:
    linked = [each.flow for each in (*bot.shortcuts, *bot.linked.values())]
    reached = _reached([bot.home, bot.entry, *linked])
    own = [flow for flow in flows_of(bot) if flow.opens != "now"]
    if any(flow not in reached for flow in own):  # else no code has to be read
        reached = _reached([*reached, *_named_in_code(bot)])
    for flow in own:
        if flow not in reached:
            fault = "no flow, shortcut, link or reminder starts it; only manager.open can"
            yield at(flow, flow.made, "", "unreachable-flow", fault, "start it, or take it out of the bot")


def _reached(begun: Sequence[Any]) -> list[AnyFlow]:
    """Return flows with those that they run, and so on."""
    reached: list[AnyFlow] = []
    waiting = [*begun]
    while waiting:
        flow = waiting.pop()
        if flow is not None and flow not in reached:
            reached.append(flow)
            waiting += [state.flow for state in flow.states]
    return reached


def _named_in_code(bot: Bot) -> Iterator[AnyFlow]:
    """Yield the flows that the code of reminders and reactions names."""
    reminding: list[object] = [state.reminds for flow in flows_of(bot) for state in flow.states]
    reminding += [way.prepare for flow in flows_of(bot) for way in flow.transitions]
    reminding += [*bot.on.values(), *(trigger.does for trigger in bot.triggers)]
    flows = {id(flow): flow for flow in flows_of(bot)}
    names = {flow.name: flow for flow in flows.values()}
    for source in sources([each for each in reminding if each is not None], classes=False):
        yield from (flows[id(value)] for value in source.values if id(value) in flows)
        constants = (node.value for node in source.of(ast.Constant) if isinstance(node.value, str))
        yield from (names[value] for value in constants if value in names)


def _late(bot: Bot) -> Iterator[Finding]:
    for late in late_texts(bot):
        flow = bot.flow(late.flow)
        if flow in flows_of(bot):
            fault = f"{late.key!r} may come after the window of {late.channel}"
            remedy = "name a template, Text(…, templates=…), or it waits for the member's message"
            yield at(flow, flow.by_name[late.state].made, f"state {late.state!r}", "late-text", fault, remedy)


def _place(way: AnyTransition) -> str:
    return f"transition {way.trigger!r}"
