"""The choices that a typed text can mean, and the question that asks which of several."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.bots import one_flow
from tests.strategies import texts
from vimbiso_fsm.channels import terminal
from vimbiso_fsm.channels.numbering import writes_numbers
from vimbiso_fsm.document.document import Document, narrowed_to
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.engine.meaning import meanings, pressed_bare
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import SECRET
from vimbiso_fsm.flow.session import Limits
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.readers import amount, free_text
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Menu, Row, Text
from vimbiso_fsm.messages.words import normalise, number, numbers_in
from vimbiso_fsm.testing.chat import CHANNEL, Talk, choices

SMS = Channel("sms", "263771234567")
"""A channel that writes a number beside each choice; `CHANNEL` has buttons of its own."""

SEVERAL = "That can mean more than one of these; please choose one."


@attrs.frozen
class Chosen:
    """What was chosen; of a pressed button, its trigger."""

    value: str = ""
    pin: str = attrs.field(default="", metadata=SECRET)


def by_button(turn: Turn[Any]) -> Chosen:
    """Keep the trigger of the button."""
    return Chosen(turn.trigger)


def listing(
    rows: Sequence[Row],
    *buttons: str,
    words: Sequence[str] = (),
    titles: dict[str, str] | None = None,
    reads: Callable[[str], object] | None = None,
    into: str = "value",
    **more: Any,
) -> Bot:
    """A bot with one list and some buttons, which keeps what was chosen and then asks whether to go on."""
    answers: list[Transition[Any]] = [Transition("answer", "list", "end")] if rows or reads else []
    flow = one_flow(
        [
            State(
                "list",
                ask=Text("Which?"),
                rows=(lambda _: rows) if rows else None,
                reads=reads,
                into=into if answers else None,
            ),
            State("end", ask=Text("Done.")),
        ],
        [
            *answers,
            *(Transition(button, "list", "end", prepare=by_button, words=words) for button in buttons),
            Transition("go", "end", "list"),
        ],
        data=Chosen,
    )
    keys = {f"one.list.{trigger}": title for trigger, title in (titles or {}).items()}
    return Bot(flows=flow, texts={"one.list.yes": "Yes please", "one.list.more": "Show more", **keys}, **more)


def numbered(count: int) -> list[Row]:
    """A number of rows."""
    return [Row(f"r{number}", f"Row {number}", f"About {number}") for number in range(1, count + 1)]


def talking(bot: Bot, channel: Channel = CHANNEL) -> Talk:
    """A conversation that stands at the list."""
    return Talk(bot, channel=channel).say("hi")


def draft_of(talk: Talk) -> Draft:
    """The draft of the next turn."""
    document: Document = talk.state
    return Draft(talk.bot, document, talk.channel, talk.now, "token", "token")


def meant(bot: Bot, text: str, channel: Channel = CHANNEL) -> tuple[str, ...]:
    """The choices that a text can mean at the list."""
    return meanings(draft_of(talking(bot, channel)), text)


# One meaning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("1", "=apple"), (" 2 ", "=42"), ("3", "=#1"), ("5", "yes"), ("0", ""), ("6", ""), ("01", "=apple"), ("-1", ""), ("２", "=42"), ("²", "=42"), ("١", "=apple"),
        ("2.", "=42"), ("(2)", "=42"), ("2\ufe0f\u20e3", "=42"), ("2.5", ""), ("2 USD", ""),
        ("apple", "=apple"), ("APPLE", "=apple"), ("A Red  Apple", "=apple"), ("a red apple.", "=apple"), ("a r\u200bed apple", "=apple"),
        ("42", "=42"), ("٤٢", "=42"), ("forty-two", "=42"), ("2. forty-two", "=42"), ("3. forty-two", ""),
        ("#1", "=#1"), ("=x", "==x"), ("yes", "yes"), ("Yes Please", "yes"), ("yes.", "yes"), ("y", "yes"), ("ok", "yes"), ("no", ""), ("", ""), ("  ", ""), ("\u200b", ""), (".", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channel", [CHANNEL, SMS])
def test_number_id_and_title_choose(said: str, means: str, channel: Channel):
    """A number, an id or a title chooses, in any case; words for yes and no press the buttons of those names."""
    rows = [Row("apple", "A red apple"), Row("42", "Forty-two"), Row("#1", "Number one"), Row("=x", "Odd")]
    assert meant(listing(rows, "yes"), said, channel) == ((means,) if means else ())


def test_a_number_may_name_a_row_that_is_further_down():
    """An id that is a number counts if the list is shorter than the number."""
    assert meant(listing([Row("7", "Seven")]), "7") == ("=7",)


def test_words_of_a_button():
    """A transition's `words` press its button; those of a hidden button mean nothing."""
    bot = listing([Row("a", "One")], "more", words=["go on", "Weiter"])
    for said in ("GO ON", "weiter", "Weiter.", "show more", "more"):
        assert meant(bot, said) == ("more",)


def test_the_rows_of_every_page_are_known():
    """The title and the id of a row choose it, whatever page is shown; a number is the place on the page."""
    bot = listing(numbered(25))
    talk = talking(bot)
    assert meanings(draft_of(talk), "r20") == meanings(draft_of(talk), "ROW 20") == ("=r20",)
    assert meanings(draft_of(talk), "next") == meanings(draft_of(talk), "9") == ("#next",)
    talk.press("Next")
    assert meanings(draft_of(talk), "previous") == ("#prev",)
    assert talk.say("row 3").fields["value"] == "r3"


# Several meanings ---------------------------------------------------------------------------------------------------


GUESTS = [Row("two", "2"), Row("three", "3"), Row("four", "4")]


@pytest.mark.parametrize(
    ("channel", "said", "found"),
    [
        (CHANNEL, "3", ("=three",)), (CHANNEL, "٣", ("=three",)), (CHANNEL, "3.", ("=three",)), (CHANNEL, "03", ("=three",)), (CHANNEL, "三", ("=three",)),
        (CHANNEL, "1", ("=two",)), (CHANNEL, "4", ("=four",)), (CHANNEL, "5", ()),
        (SMS, "3", ("=three", "=four")), (SMS, "٣", ("=three", "=four")), (SMS, "3)", ("=three", "=four")), (SMS, "2", ("=two", "=three")),
        (SMS, "1", ("=two",)), (SMS, "4", ("=four",)), (SMS, "5", ()),
    ],
)  # fmt: skip
def test_a_number_on_a_title_comes_before_the_place(channel: Channel, said: str, found: tuple[str, ...]):
    """A number that is a title means the title; where numbers were written beside the choices, the place as well."""
    assert meant(listing(GUESTS), said, channel) == found


@pytest.mark.parametrize("channel", [CHANNEL, SMS])
@pytest.mark.parametrize(
    ("rows", "said", "found"),
    [
        ([Row("a", "2 guests"), Row("b", "3 guests"), Row("c", "4 guests")], "3", ("=b", "=c")),
        ([Row("a", "2 guests"), Row("b", "3 guests"), Row("c", "4 guests")], "1", ("=a",)),
        ([Row("a", "1 guest"), Row("b", "2 guests")], "2", ("=b",)),
        ([Row("a", "5.00 USD"), Row("b", "2.00 USD")], "2", ("=b",)),
        ([Row("a", "at 2:00"), Row("b", "at 1:00")], "1", ("=a",)),
        ([Row("2", "Alpha"), Row("1", "Beta")], "1", ("=2", "=1")),
        ([Row("1", "Alpha"), Row("2", "Beta")], "1", ("=1",)),
        ([Row("a", "Beta"), Row("beta", "Gamma")], "beta", ("=a", "=beta")),
        ([Row("a", "Same"), Row("b", "SAME"), Row("c", "same."), Row("d", "Other")], "same", ("=a", "=b")),
        ([Row("a", "Same"), Row("b", "SAME"), Row("c", "same."), Row("d", "Other")], "same.", ("=c",)),
        ([Row("a", "1"), Row("b", "1")], "1", ("=a", "=b")),
        ([Row("a", "Next"), *numbered(25)], "next", ("=a", "#next")),
        ([Row("no", "Never"), Row("b", "No")], "no", ("=no", "=b")),
        ([Row("a", "Yes"), Row("b", "B")], "yes", ("=a", "yes")),
        ([Row("a", "OK"), Row("b", "B")], "ok", ("=a", "yes")),
    ],
)  # fmt: skip
def test_several_choices_that_a_text_can_mean(rows: list[Row], channel: Channel, said: str, found: tuple[str, ...]):
    """All choices that have the text as a title, an id or a word, and a place that competes, are meanings."""
    assert meant(listing(rows, "yes"), said, channel) == found


def test_a_word_of_two_buttons_means_both():
    """A word that an author gave to two buttons means either."""
    assert meant(listing([], "more", "fewer", words="go"), "go") == ("more", "fewer")


def test_numbers_count_where_a_channel_writes_them():
    """WhatsApp numbers titles that look the same when they are shortened; the numbers then compete with a title."""
    rows = [Row("a", "2"), Row("b", "x" * 30 + "1"), Row("c", "x" * 30 + "2")]
    assert meant(listing(rows), "2") == ("=a", "=b")
    assert meant(listing(rows[:2]), "2") == ("=a",)
    talk = talking(listing(GUESTS), SMS)
    talk.channel = CHANNEL  # the member read the numbers in the SMS
    assert meanings(draft_of(talk), "3") == ("=three", "=four")
    assert meant(listing(GUESTS), "3", Channel("ussd", "1")) == ("=three", "=four")


# Numbers at a question that reads text --------------------------------------------------------------------------------


def money(text: str) -> str | Refused:
    """Read an amount, and return it as text."""
    read = amount({"USD": 2})(text)
    return read if isinstance(read, Refused) else str(read)


@pytest.mark.parametrize(
    ("reads", "channel", "said", "found"),
    [
        (money, CHANNEL, "1", ()), (money, CHANNEL, "١", ()), (money, CHANNEL, "all", ("all",)), (money, CHANNEL, "2", ()),
        (money, SMS, "1", ("all", "~1")), (money, SMS, "١", ("all", "~1")), (money, SMS, "1.", ("all", "~1")), (money, SMS, "2", ()), (money, SMS, "1 USD", ()),
        (free_text(), CHANNEL, "1", ()), (free_text(), SMS, "١", ("all", "~١")),
        (lambda text: text if text.isalpha() else Refused("no"), CHANNEL, "1", ("all",)),
    ],
)  # fmt: skip
def test_a_number_that_can_be_an_answer_is_not_taken_for_the_place(
    reads: Any, channel: Channel, said: str, found: tuple[str, ...]
):
    """A number that the reader accepts is the answer; where numbers were written, it is asked which was meant.

    Digits of another script, which an amount does not have, are no answer either way.
    """
    assert meant(listing([], "all", reads=reads), said, channel) == found


def test_the_typed_answer_is_one_of_the_meanings():
    """The member who is asked which can choose the answer as it was typed, by press and by number."""
    bot = listing([], "all", reads=lambda text: text if text.isdigit() else Refused("no"), titles={"all": "All of it"})
    talk = talking(bot, SMS).say("1")
    assert talk.words == [SEVERAL, "Which?"]
    assert list(talk.shown) == ["All of it", "My answer: 1"]
    assert talk.say("2").fields["value"] == "1"
    assert talking(bot, SMS).say("1").press("My answer: 1").fields["value"] == "1"
    assert talking(bot, SMS).say("1").say("1").fields["value"] == "all"


def test_a_secret_is_never_quoted_back():
    """A number at a question for a secret is the secret, if the reader accepts it; it is not shown as a choice."""
    bot = listing([], "forgotten", reads=lambda text: text if text.isdigit() else Refused("no"), into="pin")
    assert meant(bot, "1", SMS) == ()


# Asked which ----------------------------------------------------------------------------------------------------------


def test_the_member_is_asked_which():
    """The question is asked again with the meanings only; the words of one of them, its place or a press decides."""
    rows = [Row("o1", "5 USD from shop", "in the morning"), Row("o2", "5 USD from shop", "at noon"), Row("o3", "7 USD")]
    for answer, value in (("1", "o1"), ("2", "o2"), ("2.", "o2"), ("o1", "o1"), ("7 usd", "o3")):
        talk = talking(listing(rows)).say("5 usd from shop")
        assert talk.words == [SEVERAL, "Which?"]
        assert talk.last.status == "refused"
        assert talk.entry.codes == ("choice.several",)
        assert isinstance(talk.question, Menu)
        assert [str(row.description) for row in talk.question.rows] == ["in the morning", "at noon"]
        assert len({row.id for row in talk.question.rows}) == 2
        assert talk.say(answer).fields["value"] == value
        assert talk.place == "one.end"


def test_the_place_decides_in_the_list_that_asks_which():
    """In the list that asks which, a number is the place, so that the member is not asked for ever."""
    talk = talking(listing([Row("a", "2"), Row("b", "1")]), SMS).say("1")
    assert list(talk.shown) == ["2", "1"]
    assert talk.say("1").fields["value"] == "a"


@pytest.mark.parametrize(
    ("channel", "said", "value"),
    [(CHANNEL, "2", ""), (CHANNEL, "4", "b"), (CHANNEL, "1", "a"), (CHANNEL, "2 guests", "a"), (SMS, "2", "b")],
)
def test_without_written_numbers_the_same_number_is_asked_again(channel: Channel, said: str, value: str):
    """A member who repeats "2" beside "2 guests" and "4 guests" may mean the first, unless the list has numbers."""
    talk = talking(listing([Row("a", "2 guests"), Row("b", "4 guests")]), channel).say("2")
    assert list(talk.shown) == ["2 guests", "4 guests"]
    talk.say(said)
    assert talk.fields["value"] == value
    assert value or talk.words == [SEVERAL, "Which?"]


@pytest.mark.parametrize("channel", [CHANNEL, SMS])
def test_an_id_that_is_a_number_decides_nothing_when_it_is_repeated(channel: Channel):
    """A member who repeats a number that is the id of one choice was not shown that id, and is asked again."""
    talk = talking(listing([Row("3", "Alpha"), Row("1", "Beta"), Row("2", "Gamma")]), channel)
    for _ in range(2):
        assert talk.say("3").words == [SEVERAL, "Which?"]
        assert list(talk.shown) == ["Alpha", "Gamma"]
    assert talk.say("2").fields["value"] == "2"


@pytest.mark.parametrize("channel", [CHANNEL, SMS])
def test_a_title_that_is_repeated_is_no_id(channel: Channel):
    """A member who repeats a title that is also the id of another choice means the title, the one that was read."""
    talk = talking(listing([Row("beta", "Alpha"), Row("alpha", "Beta")]), channel).say("alpha")
    assert talk.words == [SEVERAL, "Which?"]
    assert talk.say("alpha").fields["value"] == "beta"


def test_an_answer_that_is_none_of_them_asks_the_whole_question():
    """A text that means nothing, `back`, or a refusal leads back to the whole question; `help` does not."""
    rows = [Row("a", "Same"), Row("b", "same"), Row("c", "Other")]
    for text in ("nonsense", "back", "9"):
        talk = talking(listing(rows)).say("same").say(text)
        assert list(talk.shown) == ["Same", "same", "Other"]
        assert talk.say("2").fields["value"] == "b"
    talk = talking(listing(rows)).say("same").say("help")
    assert list(talk.shown) == ["Same", "same"]
    assert talk.say("same").words == [SEVERAL, "Which?"]


def test_an_old_press_still_counts_while_the_member_is_asked_which():
    """A button of the whole question is never ambiguous, also after the question was narrowed."""
    talk = talking(listing([Row("a", "Same"), Row("b", "same"), Row("c", "Other")]))
    shown = list(choices(talk.question).values())
    assert talk.say("same").send(choice=shown[2]).fields["value"] == "c"
    talk.send(choice=shown[0])
    assert talk.words[0] == "That question is closed."


def test_a_choice_that_is_gone_is_asked_no_more():
    """When only one of the meanings is left, the whole question is asked."""
    rows = [Row("a", "Same"), Row("b", "same"), Row("c", "Other")]
    talk = talking(listing(rows)).say("same")
    del rows[0]
    talk.say("1")
    assert talk.words == ["That is not one of the choices.", "Which?"]
    assert list(talk.shown) == ["same", "Other"]
    rows.insert(0, Row("d", "Same"))
    assert talk.say("same").words[0] == SEVERAL


def test_a_row_that_was_replaced_does_not_compete():
    """A title that was shown on a row that is gone means the row that has it now, and is refused where none has it."""
    rows = [Row("a", "Same"), Row("b", "Other")]
    talk = talking(listing(rows))
    rows[0] = Row("d", "Same")
    assert meanings(draft_of(talk), "same") == ("=d",)
    del rows[0]
    assert talk.say("same").words == ["That is not one of the choices.", "Which?"]


def test_more_meanings_than_a_question_shows_are_asked_with_the_whole_question():
    """Eleven rows with one title are asked with the whole list, in which a number decides."""
    talk = talking(listing([Row(f"r{n}", "Same") for n in range(25)])).say("same")
    assert talk.words == [SEVERAL, "Which?"]
    assert len(talk.shown) == 2  # the title, and the row that pages
    assert isinstance(talk.question, Menu)
    assert len(talk.question.rows) == 9
    assert talk.say("3").fields["value"] == "r2"


def test_several_pages_are_asked_in_one_list():
    """Meanings on different pages stand in one list, in the order of the rows."""
    rows = [Row("a", "Same"), *numbered(20), Row("z", "Same")]
    talk = talking(listing(rows)).say("same")
    assert isinstance(talk.question, Menu)
    assert [row.id[9:] for row in talk.question.rows] == ["=a", "=z"]
    assert talk.say("2").fields["value"] == "z"


def test_narrowed_choices_belong_to_one_question():
    """The narrowed choices belong to one question: they are gone when the run moves on, or is left and resumed."""
    bot = listing([Row("a", "Same"), Row("b", "same"), Row("c", "Other")])
    talk = talking(bot).say("same")
    run = talk.state.run
    assert run is not None
    assert narrowed_to(run) == ("=a", "=b")
    talk.say("1").say("go")
    assert list(talk.shown) == ["Same", "same", "Other"]
    assert "which" not in (talk.state.run.context if talk.state.run else {})


def test_a_document_with_a_strange_mark_asks_the_whole_question():
    """A stored mark that names no choices of this question is ignored."""
    talk = talking(listing([Row("a", "Same"), Row("b", "same")]))
    run = talk.state.run
    assert run is not None
    marks: list[Any] = [["=gone"], ["=a"], [1, None], "=a", 7, {}, None]
    for mark in marks:
        document = attrs.evolve(talk.state, run=attrs.evolve(run, context={**run.context, "which": mark}))
        again = Talk(talk.bot, document).say("help")
        assert list(again.shown) == ["Same", "same"], mark


def test_three_texts_that_can_mean_several_lead_to_help():
    """Being asked which counts as a refusal, so that help and the menu are offered as after any other."""
    talk = talking(listing([Row("a", "Same"), Row("b", "same")])).says("same", "same")
    assert "You can always say: menu, back, cancel, help." not in talk.words
    assert "You can always say: menu, back, cancel, help." in talk.say("same").words


# Presses ----------------------------------------------------------------------------------------------------------------


def test_a_bare_id_is_compared_as_it_stands():
    """A pressed id without run and version is that of a button, then that of a row, and only then a typed text."""
    talk = talking(listing([Row("yes", "Of course"), Row("YES", "No"), Row("2", "Two")], "yes"))
    draft = draft_of(talk)
    assert pressed_bare(draft, "yes") == ("yes",)
    assert pressed_bare(draft, "YES") == ("=YES",)
    assert pressed_bare(draft, "2") == ("=2",)
    assert pressed_bare(draft, "of course") == ("=yes",)
    assert pressed_bare(draft, "#menu") == pressed_bare(draft, "nonsense") == ()


# Properties -------------------------------------------------------------------------------------------------------------


TITLES = [
    "1",
    "2",
    "3",
    "10",
    "٢",
    "2 guests",
    "3 guests",
    "2.",
    "Yes",
    "yes.",
    "No",
    "OK",
    "Next",
    "Same",
    "same",
    "ＳＡＭＥ",
    "s\u200bame",
    "Größe",
    "GRÖSSE",
    "",
    "菜單",
]
IDS = ["1", "2", "3", "a", "b", "yes", "no", "Same", "next", "#1", "=x", "~1"]

row_lists = st.lists(
    st.builds(
        Row, st.sampled_from(IDS) | st.integers(0, 99).map("r{}".format), st.sampled_from(TITLES) | st.text(max_size=4)
    ),
    max_size=14,
    unique_by=lambda row: row.id,
)
button_lists = st.lists(st.sampled_from(["yes", "no", "more", "next"]), unique=True, max_size=3)
readers: st.SearchStrategy[Any] = st.sampled_from(
    [None, None, money, lambda text: text if normalise(text) else Refused("no")]
)
typed_texts = st.sampled_from(TITLES + IDS) | st.integers(0, 12).map(str) | texts


@st.composite
def lists(draw: st.DrawFn) -> Bot:
    """A bot with a list of rows, buttons and words."""
    rows, buttons = draw(row_lists), draw(button_lists)
    assume(rows or buttons)
    titles = {button: draw(st.sampled_from(TITLES[:-2])) or button for button in buttons}
    words = draw(st.lists(st.sampled_from(TITLES[:8]), max_size=2))
    return listing(
        rows, *buttons, words=words, titles=titles, reads=draw(readers) if rows else None, limits=Limits(menu=99)
    )


channels = st.sampled_from([CHANNEL, SMS, Channel("telegram", "1"), Channel("ussd", "1")])


@given(lists(), channels, typed_texts)
@example(listing([Row("a", "One"), Row("b", "2")]), CHANNEL, "2.")  # the title and the place of the same choice
def test_a_text_is_taken_only_if_nothing_else_has_it(bot: Bot, channel: Channel, text: str):
    """A text is taken for one choice only if no other choice has it as title or id; a place, only if no title has it."""
    talk = talking(bot, channel)
    draft, word = draft_of(talk), normalise(text)
    found = meanings(draft, text)
    rows = bot.flow("one")["list"].rows
    named: dict[str, set[str]] = {}
    for row in rows(draft.turn(draft.standing)) if rows else ():
        named.setdefault("=" + row.id, set()).update({normalise(row.title.text), normalise(row.id)})
    for entry in draft.standing.shown:
        named.setdefault(entry.choice, set()).add(normalise(entry.title))
    exact = {choice for choice, names in named.items() if word and word in names}
    assert exact <= set(found)
    places = {entry.choice for entry in draft.standing.shown[(number(word) or 0) - 1 :][:1] if number(word)}
    if len(found) == 1 and not exact and places == set(found):
        others = [entry for entry in draft.standing.shown if entry.choice != found[0]]
        assert number(word) not in {number(normalise(entry.title)) for entry in others}
    assert len(set(found)) == len(found)
    if talk.say(text).place == "one.list" and len(found) > 1:
        assert talk.words[0] == SEVERAL


@given(lists(), channels, st.integers(0, 99), st.integers(0, 20))
def test_asked_which_is_answered_by_any_number_and_any_press(bot: Bot, channel: Channel, which: int, at: int):
    """Whatever the member is asked back, each number of that list and each press ends it, and both mean the same.

    Where no numbers were written, a number that stands in a title or is a word does not end it; the press does.
    """
    draft = draft_of(talking(bot, channel))
    several = [
        text for text in (*TITLES, *IDS, *map(str, range(13))) if 1 < len(meanings(draft, text)) <= bot.limits.rows
    ]
    assume(several)
    talk = talking(bot, channel).say(several[which % len(several)])
    assume(talk.place == "one.list")  # a global word comes first
    assert talk.words == [SEVERAL, "Which?"]
    run = talk.state.run
    assert run is not None
    place = at % len(run.shown)
    reply: Any = talk.question
    ids = [option.id for option in getattr(reply, "rows", getattr(reply, "buttons", ()))]
    assert len(set(ids)) == len(ids) == len(run.shown)
    ends = []
    for text, choice in ((str(place + 1), None), (None, ids[place])):
        again = Talk(bot, talk.state, channel=channel).send(text, choice)
        if text is not None and SEVERAL in again.words:
            assert not writes_numbers(channel.type, reply)
            names = [shown.title for shown in run.shown] + [
                word for way in bot.flows[0].transitions for word in way.words
            ]
            read = [normalise(name) for name in names]
            assert any(place + 1 in numbers_in(name) or number(name) == place + 1 for name in read)
            return
        assert SEVERAL not in again.words
        ends.append((again.place, again.fields, again.words))
    assert ends[0] == ends[1]


@given(lists(), channels, st.lists(st.tuples(st.booleans(), typed_texts, st.integers(0, 30)), max_size=6))
def test_a_press_is_never_ambiguous(bot: Bot, channel: Channel, acts: list[tuple[bool, str, int]]):
    """A press on anything that was shown is taken, refused with a reason or closed; it is never asked which."""
    talk = talking(bot, channel)
    seen: list[str] = []
    for presses, text, at in acts:
        reply: Any = talk.question
        seen += [option.id for option in getattr(reply, "rows", getattr(reply, "buttons", ()))]
        if presses and seen:
            talk.send(choice=seen[at % len(seen)])
            assert SEVERAL not in talk.words
        else:
            talk.say(text)


@given(lists())
def test_a_line_that_a_terminal_printed_means_its_choice(bot: Bot):
    """A line of a numbered list, typed as it was printed, means that choice."""
    talk = talking(bot, Channel("terminal", "1"))
    lines = terminal.render(talk.channel, [talk.question])[0].split("\n")
    shown = draft_of(talk).standing.shown
    for line, entry in zip(lines[-len(shown) :], shown, strict=True):
        if normalise(entry.title) and entry.title.isprintable():
            assert entry.choice in meanings(draft_of(talk), line)
