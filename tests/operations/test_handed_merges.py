"""Two documents of one member become one while a person has the conversation of one of them, or of both."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import attrs
import pytest

from tests.bots import fruit_bot
from tests.operations.test_promote import NOW, guest, member
from vimbiso_fsm import Bot, Call, Caller, Changes, Channel, Flow, Inbox, State, Text, Transition, Turn, call
from vimbiso_fsm.audit.entries import unseal
from vimbiso_fsm.document.document import Document, Handed, Moved, Passing, Session
from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.engine.decide import decide
from vimbiso_fsm.engine.events import HandOverEnded
from vimbiso_fsm.messages.given import HandedOver
from vimbiso_fsm.operations.effects import RunCall
from vimbiso_fsm.operations.give import give
from vimbiso_fsm.operations.promote import merge
from vimbiso_fsm.testing.chat import Chat, Talk, words

BOT = fruit_bot(inboxes=[Inbox("support"), Inbox("billing")])
HOUR = timedelta(hours=1)


def handed(inbox: str, since: timedelta = HOUR) -> Handed:
    """Return a hand-over that began some time ago."""
    return Handed(inbox, NOW - since, NOW + HOUR)


def waiting(id: str, inbox: str = "support") -> Passing:
    """Return a message that waits for an inbox."""
    return Passing(id, inbox, "said", NOW, NOW, text=id)


def merged(of: Document, into: Document, *, joined: bool) -> Document:
    """Return the one document of a guest and a member, who has logged in or was joined by an operator."""
    of = attrs.evolve(of, moved=Moved("m-1", 3, joined=joined))
    return merge(BOT, of, into, NOW, version=into.version).document


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("own", [None, "support", "billing"])
@pytest.mark.parametrize("theirs", [None, "support", "billing"])
def test_one_hand_over_is_left_and_each_inbox_knows(own: str | None, theirs: str | None, joined: bool) -> None:
    """One hand-over stays, nothing that waits is lost, and an inbox that loses the conversation learns of the end."""
    of = guest(handed=own and handed(own), passing=(waiting("g"),))
    into = member(handed=theirs and handed(theirs), passing=(waiting("m"),))
    found = merged(of, into, joined=joined)
    stays, other = (theirs, own) if joined else (own, theirs)
    assert (found.handed.inbox if found.handed else None) == (stays or other)
    ids = ["g", "m"] if joined else ["m", "g"]
    assert [item.id for item in found.passing][:2] == ids
    ended = [(item.inbox, item.kind) for item in found.passing[2:]]
    assert ended == ([(other, "ended")] if stays and other and stays != other else [])
    said = [text for each in found.outbox for text in words(BOT.catalogue.replies(replies_from_raw(each.replies)))]
    told = ["A person will answer you here. Say bot to come back to the bot."]
    assert said == (told if other and not stays else []), "the speaker is told of a hand-over that they do not know of"


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("own", [True, False])
def test_timers_and_the_session_have_no_more_time_than_was_left(own: bool, joined: bool) -> None:
    """What went on until the merge stands still from then on only, and goes on with what was left of it."""
    run = Talk(BOT).say("hi").state.run
    assert run is not None
    left = timedelta(minutes=10)
    goes_on: dict[str, Any] = {"run": attrs.evolve(run, id=f"{run.flow}:on", due=NOW + left)}
    stood: dict[str, Any] = {
        "run": attrs.evolve(run, id=f"{run.flow}:stood", due=NOW - HOUR + left),
        "handed": handed("support"),
    }
    session = Session(NOW + left, NOW - left)
    of = guest(**(stood if own else goes_on)).with_session(session.later(-HOUR) if own else session)
    into = member(**(goes_on if own else stood), deadline=None, session_since=None)
    if joined:
        of, into = attrs.evolve(of, guest=False), into.with_session(session if own else session.later(-HOUR))
    found = merged(of, into, joined=joined)
    end = NOW + 2 * HOUR
    assert found.handed is not None
    ends = attrs.evolve(found, handed=attrs.evolve(found.handed, until=end))
    after = decide(BOT, ends, HandOverEnded(end, "m-1"), end, route="keep").document
    assert after.session == Session(end + left, end - left)
    runs = [each for each in (after.run, *after.suspended) if each is not None]
    assert [each.due for each in runs if each.due] == [end + left] * len([each for each in runs if each.due])


# A login on its way ---------------------------------------------------------------------------------------------------


class Office:
    """A service that knows members.

    Attributes:
        member: The member that it knows the speaker as.
    """

    def __init__(self) -> None:
        self.member = "m-1"

    def login(self, *, caller: Caller = Caller()) -> str:  # noqa: B008
        """Return the member."""
        return self.member


@attrs.frozen
class Login:
    """The data of the login."""

    found: str = ""


def known(turn: Turn[Login]) -> Changes[Login]:
    """Make the guest the member."""
    return turn.changes(member=attrs.evolve(turn.member, id=turn.data.found or turn.answer, guest=False))


def login(turn: Turn[Login]) -> Call[str]:
    """Log in."""
    return call(Office.login)


def office_bot() -> Bot:
    """Return a bot with a login that is a call."""
    home = Flow(
        "home", data=Login, initial="menu",
        states=[
            State("menu",  ask=Text("Menu")),
            State("login", call=login, into="found"),
            State("in",    ask=Text("In")),
        ],
        transitions=[
            Transition("enter", "menu", "login"),
            Transition("done", "login", "in", prepare=known),
            Transition("failed", "login", "menu"),
            Transition("again", "in", "menu"),
        ],
    )  # fmt: skip
    return Bot(home, services={"office": Office()}, inboxes=[Inbox("support", words=["agent"])])


@pytest.mark.parametrize("exists", [False, True])
def test_a_login_that_was_on_its_way_keeps_the_hand_over(exists: bool) -> None:
    """A guest who is handed over during the call of their login is the member afterwards, and the person has them."""
    chat = Chat(office_bot(), channel=Channel("telegram", "7"))
    if exists:
        chat.say("hi", "enter")
    chat.channel = Channel("whatsapp", "263771234567")
    chat.say("hi")
    guest_id = chat.member_id()
    held = chat.begin(chat.message("enter"))
    while not isinstance(held.request, RunCall):
        chat.step(held)
    over = HandedOver(member_id=guest_id, inbox="support", key="k", by="ann")
    given = chat.finish(chat._hold(partial(give, given=over, delivers=False), None))
    assert given.status == "advanced"
    chat.finish(held)
    chat.inboxes.add("support")
    chat.say("are you there?")
    assert chat.member_id() == "m-1"
    chat.wait(60).wake()
    assert [(each.kind, each.text, each.member_id) for each in chat.passed] == [
        ("begun", "", "m-1"), ("said", "are you there?", "m-1"),
    ]  # fmt: skip
    document = chat.document()
    assert document.handed is not None
    assert document.run is not None
    assert document.run.step == "in"


def test_a_login_of_another_member_ends_the_hand_over() -> None:
    """A person does not go on with a speaker who turns out to be another member, and the inbox learns of the end."""
    bot = office_bot()
    chat = Chat(bot)
    chat.say("hi", "enter", "again")
    office = chat.bot.services["office"]
    assert isinstance(office, Office)
    office.member = "m-2"
    held = chat.begin(chat.message("enter"))
    while not isinstance(held.request, RunCall):
        chat.step(held)
    over = HandedOver(member_id="m-1", inbox="support", key="k", by="ann")
    assert chat.finish(chat._hold(partial(give, given=over, delivers=False), None)).status == "advanced"
    chat.finish(held)
    document = chat.document("m-1")
    assert document.handed is None
    assert [item.kind for item in document.passing] == ["begun", "ended"]
    assert "channel" in [unseal(entry).detail.get("ended") for entry in chat.entries("m-1")]
