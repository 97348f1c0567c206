"""The profile of a member as an instance of the bot's profile class."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bots import member_document
from vimbiso_fsm.document.document import Member, StoredProfile, TokenLife, language_of
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.errors import FlowError, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.tokens import Tokens
from vimbiso_fsm.flow.turn import Changes, Turn, settled
from vimbiso_fsm.messages.message import Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.testing.chat import CHANNEL, START, Chat


@attrs.frozen
class Card:
    """A profile class."""

    name: str = ""
    limit: Money = attrs.field(default=Money.zero("USD"))


@attrs.frozen
class Spoken(Card):
    """A profile class with a language."""

    language: str = ""


RICH = {"name": "Ada", "limit": {"amount": "5.00", "currency": "USD"}}


def raised(turn: Turn[NoData, Card]) -> Changes[NoData]:
    """Prepare: double the limit."""
    profile = turn.member.profile
    profile = attrs.evolve(profile, limit=profile.limit + profile.limit)
    return turn.changes(member=attrs.evolve(turn.member, profile=profile))


def mapped(turn: Turn[NoData, Card]) -> Changes[NoData]:
    """Prepare: replace the profile by plain values."""
    member: Member[Any] = turn.member
    return turn.changes(member=attrs.evolve(member, profile={"name": "Bea"}))


def shona(turn: Turn[NoData, Card]) -> Changes[NoData]:
    """Prepare: change the language and the name."""
    profile = attrs.evolve(turn.member.profile, name="Chipo")
    return turn.changes(member=attrs.evolve(turn.member, language="sn", profile=profile))


def broken(turn: Turn[NoData, Card]) -> Changes[NoData]:
    """Prepare: set a profile that is not a `Card`."""
    member: Member[Any] = turn.member
    return turn.changes(member=attrs.evolve(member, profile={"name": 5}))


def named(turn: Turn[NoData, Card]) -> Text:
    """Return a text with values of the profile."""
    profile = turn.member.profile
    return Text(f"{profile.name} {profile.limit}")


def chat_of(**stored: Any) -> Chat:
    """Return a chat with a member at a question with these callbacks."""
    flow: Flow[NoData] = Flow(
        "card", initial="ask",
        states=[State("ask", ask=named), State("end", final=True)],
        transitions=[
            Transition("raise", "ask", "ask", prepare=raised), Transition("map", "ask", "ask", prepare=mapped),
            Transition("shona", "ask", "ask", prepare=shona), Transition("break", "ask", "ask", prepare=broken),
            Transition("leave", "ask", "end"),
        ],
    )  # fmt: skip
    chat = Chat(Bot(flow, profile=Card))
    chat.plant(member_document(version=1, profile={**RICH, **stored}))
    return chat


def test_callbacks_see_the_profile_class():
    """Callbacks see an instance of the profile class, for a guest too."""
    assert chat_of().say("hi").replies[-1].body.text == "Ada 5.00 USD"  # type: ignore[union-attr]
    assert Bot(chat_of().bot.home, profile=Card).typed(Member("guest")).profile == Card()


def test_a_changed_profile_is_stored_as_plain_values():
    """A changed profile replaces the fields of its class and keeps other stored fields."""
    chat = chat_of(theirs=7)
    chat.say("hi", "raise")
    assert chat.document().profile == {"name": "Ada", "limit": {"amount": "10.00", "currency": "USD"}, "theirs": 7}
    assert list(chat.document().profile) == ["name", "limit", "theirs"]
    assert chat.say("raise").replies[-1].body.text == "Ada 20.00 USD"  # type: ignore[union-attr]


def test_a_profile_of_plain_values_replaces_the_whole():
    """A mapping replaces the whole stored profile."""
    chat = chat_of(theirs=7)
    chat.say("hi", "map")
    assert chat.document().profile == {"name": "Bea"}
    assert chat.words[-1] == "Bea 0 USD"


def test_the_language_is_changed_beside_the_profile():
    """The language can be changed with the profile, in any order, without a field in the class."""
    chat = chat_of()
    chat.say("hi", "shona")
    assert chat.document().profile == {**RICH, "name": "Chipo", "language": "sn"}
    assert chat.document().member.language == "sn"


def test_a_profile_class_with_a_language_reads_the_new_one():
    """The next callback sees the new language in the profile."""
    before = Bot(chat_of().bot.home, profile=Spoken).typed(Member("m", profile={"language": "en"}, language="en"))
    after = settled(before, attrs.evolve(before, language="sn", profile=attrs.evolve(before.profile, name="Ada")))
    assert (after.profile, after.language) == (Spoken("Ada", language="sn"), "sn")


def test_a_profile_that_the_class_cannot_read_is_not_stored():
    """A turn that sets an unreadable profile fails, and the stored profile stays."""
    chat = chat_of()
    outcome = chat.say("hi", "break")
    assert outcome.status == "failed"
    assert chat.document().profile == RICH
    with pytest.raises(Unreadable):
        _ = chat.bot.typed(Member("m", profile={"name": 5})).profile


def test_a_profile_is_structured_once_a_turn_and_only_when_it_is_used():
    """A profile is structured at most once a turn, and only if it is used."""
    read: list[Mapping[str, Any]] = []

    def reads(fields: Mapping[str, Any], kind: type[Any]) -> Card:
        read.append(fields)
        return Card(**fields)

    member: Member[Card] = Member("m", profile=StoredProfile({"name": "Ada"}, Card, reads))
    turn: Turn[NoData, Card] = Turn(NoData(), attrs.evolve(member, guest=False), CHANNEL, START, "f", "s")
    assert read == []
    assert turn.member.profile is attrs.evolve(turn, state="t").member.profile is member.profile
    assert read == [{"name": "Ada"}]


@given(st.dictionaries(st.text(), st.integers()), st.text(), st.none() | st.text())
def test_without_a_profile_class_the_mapping_is_given_as_it_is(
    profile: dict[str, int], name: str, language: str | None
):
    """Without a profile class the profile is the stored mapping, in which a new language is set."""
    before = Member("m", profile=profile, language=language_of(profile))
    assert before.profile is before.stored_profile is profile
    after = settled(before, attrs.evolve(before, profile={**profile, name: 1}))
    assert after.profile == {**profile, name: 1}
    spoken = settled(before, attrs.evolve(before, language=language)).stored_profile
    assert spoken == (profile if language == before.language else {**profile, "language": language})


def test_a_profile_class_needs_defaults():
    """A profile class with a field without a default is refused."""
    odd = attrs.make_class("Odd", ["name"])
    with pytest.raises(FlowError, match="field 'name' of profile class Odd has no default; give it one"):
        Bot(chat_of().bot.home, profile=odd)


@attrs.define
class Loose:
    """A profile class whose instances can change."""

    name: str = ""


@pytest.mark.parametrize(("kind", "lasts"), [(Card, True), (Loose, False)])
def test_a_profile_is_read_again_only_if_it_could_have_changed(kind: type, lasts: bool):
    """Turns on a document at hand see the instance that an earlier turn has read, unless its class is not frozen."""
    seen: list[object] = []

    def noted(turn: Turn[NoData, Any]) -> Text:
        seen.append(turn.member.profile)
        return Text("?")

    ways: list[Transition[NoData]] = [Transition("answer", "ask", "ask"), Transition("leave", "ask", "end")]
    flow: Flow[NoData] = Flow(
        "card", initial="ask", states=[State("ask", ask=noted, reads=str), State("end", final=True)], transitions=ways
    )
    bot, document = Bot(flow, profile=kind), member_document(profile={"name": "Ada"})
    for number in range(3):
        document = decide(bot, document, Message(CHANNEL, f"m{number}", "x"), START).document
    assert seen == [kind(name="Ada")] * 3
    assert (seen[2] is seen[1] is seen[0]) == lasts
    changed = attrs.evolve(document, profile={"name": "Bea"})
    decide(bot, changed, Message(CHANNEL, "m", "x"), START)
    assert seen[-1] == kind(name="Bea")


def test_a_member_is_made_anew_only_if_a_turn_changes_them():
    """The next turn on a document at hand sees the same member, until a turn changes them or their login lapses."""
    seen: list[Member[Any]] = []

    def noted(turn: Turn[NoData, Any]) -> Text:
        seen.append(turn.member)
        return Text("?")

    ways: list[Transition[NoData]] = [
        Transition("answer", "ask", "ask"),
        Transition(
            "shona", "ask", "ask", prepare=lambda turn: turn.changes(member=attrs.evolve(turn.member, language="sn"))
        ),
        Transition("leave", "ask", "end"),
    ]
    flow: Flow[NoData] = Flow(
        "card", initial="ask", states=[State("ask", ask=noted, reads=str), State("end", final=True)], transitions=ways
    )
    life = TokenLife(START, START + timedelta(seconds=90))
    nothing: Any = None
    bot = Bot(flow, session=3600.0, tokens=Tokens(renew=nothing, renewed=nothing))
    document = member_document(profile={"name": "Ada"}, jwt_token="t", authenticated=True, token=life)

    def turn(number: int, text: str, after: float) -> None:
        nonlocal document
        message = Message(CHANNEL, f"m{number}", text)
        document = decide(bot, document, message, START + timedelta(seconds=after)).document

    for number in range(3):
        turn(number, "x", number)
    assert seen[2] is seen[1] is seen[0]
    turn(3, "shona", 3)
    turn(4, "x", 4)
    assert [member.language for member in seen[3:]] == ["sn", "sn"]
    turn(5, "x", 100)
    assert [member.authenticated for member in seen] == [True] * 5 + [False]
