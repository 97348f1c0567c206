"""Build the question of a state.

`visible_buttons` decides which buttons a member sees. A button is hidden if its guards decline without a reason. It is
shown if they refuse with a reason, which is said when the button is pressed.

A choice is the trigger of a button, `=` and the id of a row, `#next` or `#prev` of a long list, `#menu` where there is
nothing to choose from, or `~` and a typed answer. On the wire it follows the fence of the run; see `messages.presses`.
At most ten choices are shown at once, including the rows that page.

A question is narrowed when a typed text can mean several of its choices: it is asked again with these choices only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import attrs

from vimbiso_fsm.document.document import Run, Shown, narrowed_to
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import rows_of as offered
from vimbiso_fsm.flow.callbacks import text_of
from vimbiso_fsm.flow.machine import AnyPosition
from vimbiso_fsm.flow.state import State
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.replies import Button, Buttons, Menu, Reply, Row, Text
from vimbiso_fsm.messages.value import Value

NEXT: Final = "#next"
PREV: Final = "#prev"
MENU: Final = "#menu"
ROW: Final = "="
TYPED: Final = "~"

_Offer: TypeAlias = tuple[str, Text, Text | None]
"""A choice, its title and more words."""


@attrs.frozen(eq=False, repr=False)
class Question(Value):
    """A question as it is shown.

    Attributes:
        reply: The reply that asks it.
        shown: The choices, in order.
        page: The page of a long list, counted from 0.
        empty: Whether the member can answer nothing; the menu is then the only choice.
    """

    reply: Reply
    shown: tuple[Shown, ...]
    page: int
    empty: bool = False


def rows_of(state: State[Any], turn: Turn[Any]) -> tuple[Row, ...]:
    """Return the rows that a state offers now."""
    return offered(state.rows, turn) if state.rows else ()


def body_of(bot: Bot, here: AnyPosition, turn: Turn[Any], language: str) -> Reply:
    """Return what a state asks, without its choices, with its final words in a language."""
    asked = text_of("ask", here.state.ask, turn) if here.state.ask is not None else Text("")
    return bot.catalogue.reply(asked, language, partial(bot.zone_for, turn.member))


def build(bot: Bot, here: AnyPosition, run: Run, turn: Turn[Any], language: str | None = None) -> Question:
    """Build the question of the state in which a run stands, by default in the language of the member."""
    state = here.state
    language = language or bot.language(turn.member.stored_profile, turn.channel)
    said = here.words.get(language) or body_of(bot, here, turn, language)
    if not here.has_choices:
        return Question(said, (), 0)
    # The words of a link or a request stand above the choices.
    body = said if isinstance(said, Text) else Text(said.text).said(said.text, {})
    titles = here.titles[language]
    buttons: list[_Offer] = [(trigger, titles[trigger], None) for trigger in visible_buttons(here, turn)]
    rows = rows_of(state, turn)
    empty = not (rows or buttons) and _needs_a_choice(here)
    if empty:
        buttons = [(MENU, Text("choice.menu"), None)]
    on_page, page, pages = _page(rows, run.page, bot.limits.rows - len(buttons))
    paging = [PREV] * (page > 0) + [NEXT] * (page < pages - 1)
    ways: list[_Offer] = [(way, Text(f"pages.{way[1:]}"), None) for way in paging]
    few = narrowed_to(run)
    choices = _narrow([*map(_offer, rows), *ways, *buttons], few) if few else []
    choices = choices or [*map(_offer, on_page), *ways, *buttons]
    zone = partial(bot.zone_for, turn.member)
    fence = run.fence
    is_menu = state.rows is not None and not empty
    shown: list[Shown] = []
    rows_said: list[Row] = []
    buttons_said: list[Button] = []
    for choice, title, about in choices:
        said = title if title.text else bot.catalogue.say(title, language, zone)
        shown.append(Shown(choice, said.text))
        if is_menu:
            rows_said.append(Row(fence + choice, said, about and bot.catalogue.say(about, language, zone)))
        else:
            buttons_said.append(Button(fence + choice, said))
    reply: Reply = body
    if rows_said:
        reply = Menu(body, tuple(rows_said))
    elif buttons_said:
        reply = Buttons(body, tuple(buttons_said))
    return Question(reply, tuple(shown), page, empty)


def is_empty(here: AnyPosition, turn: Turn[Any]) -> bool:
    """Return whether the member can answer nothing: there is no row and no button, and nothing is read."""
    return _needs_a_choice(here) and not (rows_of(here.state, turn) or visible_buttons(here, turn))


def _needs_a_choice(here: AnyPosition) -> bool:
    """Whether only a choice answers the question. A question without any choice waits for its timeout."""
    return here.state.reads is None and here.has_choices


def _offer(row: Row) -> _Offer:
    return ROW + row.id, row.title, row.description


def _narrow(offers: Sequence[_Offer], choices: Sequence[str]) -> list[_Offer]:
    """Return the offers to which a question is narrowed; none if there are fewer than two of them."""
    found = [offer for offer in offers if offer[0] in choices]
    found += [(choice, Text("choice.typed", answer=choice[1:]), None) for choice in choices if choice[:1] == TYPED]
    return found if len(found) > 1 else []


def visible_buttons(here: AnyPosition, turn: Turn[Any]) -> Sequence[str]:
    """Return the triggers of the buttons to show. A button is hidden if its guards decline without a reason."""
    if len(here.always) == len(here.buttons):
        return here.buttons
    return [trigger for trigger in here.buttons if trigger in here.always or _is_visible(here, turn, trigger)]


def _is_visible(here: AnyPosition, turn: Turn[Any], trigger: str) -> bool:
    """Whether a transition accepts the trigger, or refuses it with a reason, so that its button is shown."""
    fired = here.fire(attrs.evolve(turn, trigger=trigger))
    return fired.to is not None or bool(fired.reasons)


def _page(rows: tuple[Row, ...], page: int, room: int) -> tuple[tuple[Row, ...], int, int]:
    """Return the rows of a page, the page within its range, and the number of pages."""
    if len(rows) <= room:
        return rows, 0, 1
    size = max(1, room - 2)
    pages = -(-len(rows) // size)
    page = min(max(page, 0), pages - 1)
    return rows[page * size : (page + 1) * size], page, pages
