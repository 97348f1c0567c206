"""Questions as they are shown."""

# tables read best unwrapped

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from tests.bots import one_flow
from vimbiso_fsm.document.document import Member, Run
from vimbiso_fsm.engine import question
from vimbiso_fsm.engine.question import Question
from vimbiso_fsm.errors import WrongCallback
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.callbacks import text_of
from vimbiso_fsm.flow.flow import NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Address
from vimbiso_fsm.messages.presses import Pressed, pressed
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Buttons, Menu, Row, Text
from vimbiso_fsm.testing.chat import CHANNEL, START, choices

RUN = Run("one:0123456789abcdef", "one", "list", Address("sms", "1"), version=1, fingerprint="f", entered=7)


def listing(rows: Sequence[Row], *buttons: str, **more: Any) -> Bot:
    """A bot with one list and some buttons."""
    ways = [Transition("answer", "list", "end"), *(Transition(button, "list", "end", **more) for button in buttons)]
    flow = one_flow([State("list", ask=Text("Which?"), rows=lambda _: rows), State("end", final=True)], ways)
    return Bot(flows=flow, texts={"one.list.yes": "Yes please", "one.list.more": "Show more"})


def asked(bot: Bot, run: Run = RUN) -> Question:
    """The question of the list."""
    turn = Turn(NoData(), Member("m"), CHANNEL, START, "one", "list")
    return question.build(bot, bot.position(run), run, turn)


def numbered(count: int) -> list[Row]:
    """A number of rows."""
    return [Row(f"r{number}", f"Row {number}", f"About {number}") for number in range(1, count + 1)]


def shown(bot: Bot, run: Run = RUN) -> Run:
    """The run after the question was shown."""
    found = asked(bot, run)
    return attrs.evolve(run, shown=found.shown, page=found.page)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 12, 25, 100])
@pytest.mark.parametrize("buttons", [(), ("yes",), ("yes", "more")])
def test_rows_any_number_are_paged(count: int, buttons: tuple[str, ...]):
    """A question shows at most ten choices, with buttons and paging rows counted.

    `next` shows each row once, in order, and `prev` leads back.
    """
    bot = listing(numbered(count), *buttons)
    run, seen, pages = shown(bot), [], 0
    while True:
        found = asked(bot, run)
        assert len(found.shown) <= 10
        seen += [entry.choice[1:] for entry in found.shown if entry.choice.startswith("=")]
        assert [entry.choice for entry in found.shown if entry.choice in buttons] == list(buttons)
        ways = [entry.choice for entry in found.shown if entry.choice.startswith("#")]
        assert ("#prev" in ways) == (pages > 0)
        if "#next" not in ways:
            break
        pages += 1
        run = attrs.evolve(run, page=run.page + 1)
    assert seen == [row.id for row in numbered(count)]
    for _ in range(pages):
        run = attrs.evolve(run, page=run.page - 1)
    assert asked(bot, run) == asked(bot)


def test_a_page_that_is_gone_is_the_last():
    """A page beyond the rows is the last one; a negative page is the first."""
    bot = listing(numbered(25))
    assert asked(bot, attrs.evolve(RUN, page=99)).page == 3
    assert asked(bot, attrs.evolve(RUN, page=-1)).page == 0


def test_many_buttons_leave_room_for_a_row():
    """A list with many buttons still pages its rows."""
    bot = listing(numbered(25), *[f"b{n}" for n in range(7)])
    assert len(asked(bot).shown) <= 10
    assert [entry.choice for entry in asked(bot).shown][:1] == ["=r1"]


def test_a_row_that_is_there_twice_counts_once():
    """Of two equal rows, one is shown, in the place of the first."""
    bot = listing([Row("a", "One", value=[1]), Row("b", "Two"), Row("a", "One", value=[1])])
    assert [entry.choice for entry in asked(bot).shown] == ["=a", "=b"]


@pytest.mark.parametrize(
    "other",
    [Row("a", "Other"), Row("a", "One", "more words"), Row("a", "One", value=2)],
    ids=["title", "about", "value"],
)
def test_two_rows_of_one_id_are_refused(other: Row):
    """Two rows with one id and other words or another value are refused: a press could mean either of them."""
    bot = listing([Row("a", "One", value=1), Row("b", "Two"), other])
    with pytest.raises(WrongCallback, match=r"rows .* returned a list with two different rows of one id; .* its own"):
        asked(bot)


def test_the_id_of_a_choice_names_run_and_version():
    """The id of a choice names the run and the version, so that a press on an old message is recognised."""
    reply = asked(listing([Row("a", "One", "About")], "yes")).reply
    assert isinstance(reply, Menu)
    assert [row.id for row in reply.rows] == ["89abcdef.7.=a", "89abcdef.7.yes"]
    assert [str(row.description) for row in reply.rows] == ["About", "None"]
    assert choices(reply) == {"One": "89abcdef.7.=a", "Yes please": "89abcdef.7.yes"}


def test_kinds_of_replies():
    """A list is a `Menu`, buttons alone are `Buttons`, a question without choices is a `Text`."""
    flow = one_flow(
        [State("list", ask=Text("Go?")), State("end", final=True)],
        [Transition("go", "list", "end", conditions=lambda turn: bool(turn.data))],
    )
    assert isinstance(asked(Bot(flows=flow)).reply, Buttons)
    flow = one_flow(
        [State("list", ask=Text("Name?"), reads=str), State("end", final=True)], [Transition("answer", "list", "end")]
    )
    assert asked(Bot(flows=flow)).reply == Text("Name?")


def test_a_question_with_nothing_to_choose_from_offers_the_menu():
    """A list without rows and buttons is a question with one button, which leads to the menu."""
    found = asked(listing([]))
    assert found.empty
    assert isinstance(found.reply, Buttons)
    assert choices(found.reply) == {"Menu": "89abcdef.7.#menu"}
    assert not asked(listing([], "yes")).empty


@pytest.mark.parametrize(("verdict", "is_shown"), [(True, True), (False, False), (Refused("no"), True)])
def test_one_guard_shows_hides_and_explains(verdict: bool | Refused, is_shown: bool):
    """A button is shown if its guard accepts or refuses with a reason, and hidden if the guard declines."""
    bot = listing([Row("a", "One")], "yes", conditions=lambda _: verdict)
    assert ("yes" in [entry.choice for entry in asked(bot).shown]) == is_shown


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("!aZ09+/bcyes", Pressed("!aZ09+/bc", "yes")),
        ("!aZ09+/bc=a.b\n!c", Pressed("!aZ09+/bc", "=a.b\n!c")),
        ("!!aZ09+/bcyes", None), ("!aZ09+/bc", None), ("!aZ09+/béyes", None), ("!aZ09+/²cyes", None),
        ("! aZ09+/byes", None), ("!", None), (" !aZ09+/bcyes", None),
        ("89abcdef.7.yes", Pressed("89abcdef.7.", "yes")),
        ("89abcdef.7.=a.b", Pressed("89abcdef.7.", "=a.b")),
        ("yes", None), ("=a", None), ("a.b", None), ("a.b.c", None), ("a.7.", None), ("a.²7.c", None), ("a.-7.c", None),
        ("a." + "7" * 20 + ".c", None), ("", None), ("..", None),
    ],
)  # fmt: skip
def test_ids_on_the_wire(choice: str, expected: Pressed | None):
    """An id is split into the fence and the choice, also one of before the stamp; an id of another form is bare."""
    assert pressed(choice) == expected


def test_ask_and_say_give_a_text():
    """An `ask` or `say` that returns no `Text` raises, and the error names the returned type."""
    turn = Turn(NoData(), Member("m"), CHANNEL, START, "one", "list")
    assert text_of("ask", Text("a"), turn) == Text("a")
    assert text_of("ask", lambda turn: Text(turn.state), turn) == Text("list")
    with pytest.raises(
        WrongCallback, match=r"ask .* of flow .one., state .list., returned a NoneType; it must return a Text"
    ):
        text_of("ask", lambda turn: None, turn)
