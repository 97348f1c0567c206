"""Build the question of a state, and find the choice that an answer means.

`visible_buttons` decides which buttons a member sees. A button is hidden if its guards decline without a reason. It is
shown if they refuse with a reason, which is said when the button is pressed.

A choice is the trigger of a button, `=` and the id of a row, or `#next` or `#prev` of a long list. On the wire it
follows the end of the run's id and the version at which the state was entered, so that a press on an old message is
recognised. At most ten choices are shown at once, including the rows that page.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Run, Shown
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.commands import normalise
from vimbiso_fsm.flow.flow import Flow
from vimbiso_fsm.flow.machine import Machine
from vimbiso_fsm.flow.state import State
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text

NEXT: Final = "#next"
PREV: Final = "#prev"
ROW: Final = "="


@attrs.frozen
class Question:
    """A question as it is shown.

    Attributes:
        reply: The reply that asks it.
        shown: The choices, in order.
        page: The page of a long list, counted from 0.
    """

    reply: Reply
    shown: tuple[Shown, ...]
    page: int


@attrs.frozen
class Pressed:
    """A choice that was pressed.

    Attributes:
        run: The end of the id of the run that showed it.
        entered: The version at which the state was entered.
        choice: The choice.
    """

    run: str
    entered: int
    choice: str


def text_of(says: Any, turn: Turn[Any]) -> Text:
    """Return the text of an `ask` or a `say`.

    Raises:
        TypeError: The function did not return a `Text`.
    """
    text = says if isinstance(says, Text) else says(turn)
    if not isinstance(text, Text):
        raise TypeError(f"an ask or say returned a {type(text).__name__}; it must return a Text")
    return text


def rows_of(state: State[Any], turn: Turn[Any]) -> tuple[Row, ...]:
    """Return the rows that a state offers now. Of several rows with the same id, the last counts."""
    rows = state.rows(turn) if state.rows else ()
    return tuple({row.id: row for row in rows}.values())


def build(bot: Bot, machine: Machine[Any], run: Run, turn: Turn[Any]) -> Question:
    """Build the question of the state in which a run stands."""
    flow = machine.flow
    state = flow[run.step]
    language = bot.language(turn.member.stored_profile, turn.channel)
    body = bot.catalogue.say(text_of(state.ask, turn), language) if state.ask is not None else Text("")
    choices: list[tuple[str, Text, Text | None]] = [
        (trigger, bot.button_title(flow.name, state.name, trigger), None) for trigger in visible_buttons(machine, turn)
    ]
    page = 0
    if state.rows is not None:
        rows, page, pages = _page(rows_of(state, turn), run.page, bot.limits.rows - len(choices))
        paging = [PREV] * (page > 0) + [NEXT] * (page < pages - 1)
        choices = [
            *((ROW + row.id, row.title, row.description) for row in rows),
            *((way, Text(f"pages.{way[1:]}"), None) for way in paging),
            *choices,
        ]
    say = bot.catalogue.say
    said = [(choice, say(title, language), about and say(about, language)) for choice, title, about in choices]
    shown = tuple(Shown(choice, title.text) for choice, title, _ in said)
    prefix = f"{run.id[-8:]}.{run.entered}."
    if state.rows is not None and said:
        reply: Reply = Menu(body, tuple(Row(prefix + choice, title, about) for choice, title, about in said))
    elif said:
        reply = Buttons(body, tuple(Button(prefix + choice, title) for choice, title, _ in said))
    else:
        reply = body
    return Question(reply, shown, page)


def visible_buttons(machine: Machine[Any], turn: Turn[Any]) -> list[str]:
    """Return the triggers of the buttons to show. A button is hidden if its guards decline without a reason."""
    return [trigger for trigger in machine.flow.buttons.get(turn.state, ()) if _is_visible(machine, turn, trigger)]


def _is_visible(machine: Machine[Any], turn: Turn[Any], trigger: str) -> bool:
    """Whether a transition accepts the trigger, or refuses it with a reason."""
    if any(not way.guards for way in machine.flow.ways(turn.state, trigger)):
        return True
    fired = machine.fire(attrs.evolve(turn, trigger=trigger))
    return fired.to is not None or bool(fired.reasons)


def _page(rows: tuple[Row, ...], page: int, room: int) -> tuple[tuple[Row, ...], int, int]:
    """Return the rows of a page, the page within its range, and the number of pages."""
    if len(rows) <= room:
        return rows, 0, 1
    size = max(1, room - 2)
    pages = -(-len(rows) // size)
    page = min(max(page, 0), pages - 1)
    return rows[page * size : (page + 1) * size], page, pages


def pressed(choice: str) -> Pressed | None:
    """Parse the id of a pressed button or row; None if it has another form, for example that of a bare trigger."""
    run, _, rest = choice.partition(".")
    entered, dot, choice = rest.partition(".")
    if not (dot and choice and entered.isascii() and entered.isdigit() and len(entered) < 16):
        return None
    return Pressed(run, int(entered), choice)


def chosen(bot: Bot, flow: Flow[Any], run: Run, text: str) -> str:
    """Return the shown choice that a typed text means; "" if it means none.

    The text may be a number, an id, a title, one of the button's own words or a word for yes or no.
    """
    word = normalise(text)
    if not word:
        return ""
    if word.isascii() and word.isdigit() and len(word) <= 3 and 1 <= int(word) <= len(run.shown):
        return run.shown[int(word) - 1].choice
    for shown in run.shown:
        bare = shown.choice[shown.choice[:1] in (ROW, "#") :]
        if word in (normalise(bare), normalise(shown.title)):
            return shown.choice
    choices = {shown.choice for shown in run.shown}
    for trigger in flow.buttons.get(run.step, ()):
        if trigger in choices and any(word in map(normalise, way.words) for way in flow.ways(run.step, trigger)):
            return trigger
    button = bot.commands.button(word)
    return button if button in choices else ""
