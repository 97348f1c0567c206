"""What can happen at a moment of a conversation: the moves that a walk tries there.

The texts of a question are the examples of its state and of its reader, texts that the reader refuses by little, and
one that few readers take. Beside them are the choices that are shown, the global words, the shortcuts and links of the
bot, the triggers of other systems, what the channel tells, contents, and the passing of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import AnyFlow
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.flow.turn import FailedWith
from vimbiso_fsm.messages.content_readers import ContentReader
from vimbiso_fsm.messages.contents import Attachment, Contact, Contacts, Content, Form, Location, Order, OrderItem
from vimbiso_fsm.messages.examples import examples_of, near_of
from vimbiso_fsm.messages.readers import TurnReader
from vimbiso_fsm.testing.moments import DONE, LATE, LOST, Call, Moment, Move, plain_answers

ROWS: Final = 4
"""Rows of one question that are pressed; more of them are cut, and the walk says so."""
ODD: Final = "?!"
"""A text that few readers take."""
GREETING: Final = "hi"
REFUSED: Final = "call.refused"
"""The code of a refusal of which no transition knows."""
_GLOBAL: Final = ("menu", "cancel", "back", "help")

CONTENTS: Final[tuple[Content, ...]] = (
    Location(-17.83, 31.05),
    Attachment("image", "media-1", mime_type="image/jpeg", size=1000),
    Attachment("document", "media-2", mime_type="application/pdf", size=1000),
    Attachment("audio", "media-3", mime_type="audio/ogg", size=1000),
    Attachment("video", "media-4", mime_type="video/mp4", size=1000),
    Contacts((Contact("Ada Lovelace", ("+263771234567",)),)),
    Form({"field": "value"}),
    Order((OrderItem("product-1", 1),)),
)
"""One content of each kind."""


def moves_at(bot: Bot, moment: Moment) -> Iterator[Move]:
    """Yield the moves at a moment, the plainest first."""
    document = moment.document
    if document is None:
        yield Move("say", GREETING)
        yield from _everywhere(bot)
        return
    run = document.run
    if run is None or document.call is not None:
        yield Move("say", GREETING)
        yield Move("wait")
        yield from _told(bot, None)
        return
    state = bot.definition(run)[run.step]
    yield from _presses(run)
    for text in texts_at(bot, moment):
        yield Move("say", text)
    yield from _contents(state)
    yield from _pulls(bot, run)
    yield from _told(bot, bot.definition(run))
    yield Move("wait")
    yield from _everywhere(bot)
    commands = bot.commands
    for name in _GLOBAL:
        words: frozenset[str] = getattr(commands, name)
        if words:
            yield Move("say", name if name in words else min(words), is_global=True)


def texts_at(bot: Bot, moment: Moment) -> tuple[str, ...]:
    """Return the texts that are typed at a moment: accepted ones, then refused ones."""
    run = moment.document.run if moment.document is not None else None
    if run is None or moment.document is None:
        return (GREETING,)
    state = bot.definition(run)[run.step]
    reads: Any = state.reads
    if isinstance(reads, TurnReader):
        draft = Draft(bot, moment.document, moment.channel, moment.now, "", "")
        try:
            reads = reads.at(draft.turn(run))
        except Exception:  # noqa: BLE001  # a bound that raises is met, and reported, when the text is read
            reads = None
    return tuple(dict.fromkeys((*state.examples, *examples_of(reads), *near_of(reads), ODD)))


def accepts_known(state: AnyState) -> bool:
    """Return whether it is known what the state accepts, so that a walk can claim that nothing leads out of it."""
    return (
        state.reads is None or bool(state.examples or examples_of(state.reads)) or isinstance(state.reads, TurnReader)
    )


def _presses(run: Run) -> Iterator[Move]:
    rows = [shown.choice for shown in run.shown if shown.choice.startswith("=")]
    kept = {*rows[: ROWS - 1], *rows[-1:]}
    for shown in run.shown:
        if shown.choice in kept or not shown.choice.startswith("="):
            yield Move("press", shown.choice)


def rows_cut(moment: Moment) -> int:
    """Return how many rows of the question at a moment are not pressed."""
    run = moment.document.run if moment.document is not None else None
    rows = sum(shown.choice.startswith("=") for shown in run.shown) if run is not None else 0
    return max(rows - ROWS, 0)


def _contents(state: AnyState) -> Iterator[Move]:
    if isinstance(state.reads, ContentReader):
        for content in CONTENTS:
            if state.reads.takes(content):
                yield Move("content", content.kind, content=content)
    yield Move("content", "sticker", content=None)


def _pulls(bot: Bot, run: Run) -> Iterator[Move]:
    position = bot.versions[run.flow, run.version].positions[run.step]
    for trigger, way in position.events.items():
        if way.takes is None:
            yield Move("pull", trigger, by=way.names[0])
    for name, pulled in bot.pulled.items():
        if pulled.takes is None:
            by = pulled.by if isinstance(pulled.by, str) else pulled.by[0]
            yield Move("pull", name, by=by)


def _told(bot: Bot, flow: AnyFlow | None) -> Iterator[Move]:
    """Yield a fact of each class to which the bot or the open flow reacts, with nothing but what it must have."""
    reactions = {**bot.on, **(flow.on if flow is not None else {})}
    for kind in reactions:
        yield Move("tell", kind.__name__)


def _everywhere(bot: Bot) -> Iterator[Move]:
    for shortcut in bot.shortcuts:
        for example in shortcut.examples:
            yield Move("say", example)
    for name, shortcut in bot.linked.items():
        yield Move("link", f"{name}_{shortcut.examples[0]}" if shortcut.examples else name)


def answers_of(bot: Bot, call: Call) -> Iterator[str]:
    """Yield other answers of a call, as codes.

    They are the codes of refusals that transitions name, one that none names, that of a token that is not accepted,
    `LOST`, `LATE`, `DONE` for a call that the service has refused, and for one that only reads what else it may answer.
    """
    flow_name, _, name = call.place.partition(".")
    machine = bot.machines.get(flow_name)
    ways = machine.flow.ways(name, "failed") if machine is not None else ()
    for way in ways:
        for guard in way.guards:
            if isinstance(guard, FailedWith):
                yield from guard.codes
    if ways:
        yield REFUSED
    if bot.tokens is not None:
        yield bot.tokens.unauthorised
    if call.effect:
        yield LOST
        yield LATE
    yield from call.others
    if call.code and machine is not None and plain_answers(machine.flow[name]):
        yield DONE
