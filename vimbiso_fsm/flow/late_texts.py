"""Find the texts that may be said when the window of a channel is over, and that name no template for it.

They are those that a state says or asks after its timeout has led to it, and those of reminders. This is advice and no
fault: such a text is held until the member writes (`engine/windows.py`). A text that is built at run time is not seen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.source import Source, sources
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.flow.text_check import texts_of, words_in
from vimbiso_fsm.flow.timeouts import span_of
from vimbiso_fsm.messages.replies import Template, Text

EARLY: Final = 3_600.0
"""Seconds by which a window can end early, because what is noted of a message is its hour."""


@attrs.frozen(order=True)
class LateText:
    """A text that may be said when the window of a channel is over.

    Attributes:
        flow: The name of the flow.
        state: The name of the state that says it, or that sets the reminder.
        key: The key of the text.
        channel: The type of the channel for which it names no template.
    """

    flow: str
    state: str
    key: str
    channel: str


def late_texts(bot: Bot) -> tuple[LateText, ...]:
    """Return the texts of a bot's timers and reminders that name no template for a channel with a window."""
    found: set[LateText] = set()
    for channel, seconds in bot.windows.items():
        for flow in bot.flows:
            found |= {LateText(flow.name, *each, channel) for each in _of_timers(flow, channel, seconds)}
            found |= {LateText(flow.name, *each, channel) for each in _of_reminders(flow, channel)}
    return tuple(sorted(found))


def _of_timers(flow: AnyFlow, channel: str, seconds: float) -> Iterator[tuple[str, str]]:
    """Yield the states and keys of what is said after a timeout that can outlast a window."""
    for (source, trigger), ways in flow.by_trigger.items():
        span = span_of(flow.by_name[source].timeout)
        if trigger == "timeout" and (span is None or span.total_seconds() >= seconds - EARLY):
            for state in _after(flow, [way.dest for way in ways]):
                for reply in (state.say, state.ask):
                    if not isinstance(reply, Template):
                        yield from ((state.name, text.key) for text in texts_of(reply) if channel not in text.templates)


def _after(flow: AnyFlow, names: list[str]) -> Iterator[AnyState]:
    """Yield states, and those that they lead to without a word of the member."""
    seen: set[str] = set()
    while names:
        state = flow.by_name[names.pop()]
        if state.name not in seen:
            seen.add(state.name)
            yield state
            names += [way.dest for way in flow.by_trigger.get((state.name, "auto"), ())]


def _of_reminders(flow: AnyFlow, channel: str) -> Iterator[tuple[str, str]]:
    """Yield the states and keys of what reminders say."""
    for state in flow.states:
        for source in sources([state.reminds], classes=False) if state.reminds is not None else ():
            for call in source.calls("remind"):
                given = [*call.args[2:3], *(word.value for word in call.keywords if word.arg == "say")]
                for words in given:
                    yield from ((state.name, key) for key in _keys(source, words, channel))


def _keys(source: Source, words: ast.expr, channel: str) -> Iterator[str]:
    """Yield the keys of texts without a template, in the expression of what a reminder says."""
    value = source.resolve(words)
    if isinstance(value, Text) and channel not in value.templates:
        yield value.key
    for node in ast.walk(words):
        if isinstance(node, ast.Call) and _is_text_without_template(node):
            yield from words_in(node.args[0])


def _is_text_without_template(node: ast.Call) -> bool:
    """Return whether a call makes a text that names no template, as far as its source shows."""
    names = {word.arg for word in node.keywords}
    is_text = isinstance(node.func, ast.Name) and node.func.id == "Text"
    return is_text and bool(node.args) and names.isdisjoint({"templates", None})
