"""A member who wants no messages at an address gets none there, until they want them again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode

import attrs
import pytest

from tests.shells import Shell
from vimbiso_fsm import Bot, Channel, Commands, Flow, Inbox, State, Text, Transition, call
from vimbiso_fsm.channels import Blocked, OptedOut, Reacted, sms, telegram
from vimbiso_fsm.document.codec import decode, encode
from vimbiso_fsm.flow.flow import NoData
from vimbiso_fsm.messages.consent import START_WORDS, STOP_WORDS, wish_in_words
from vimbiso_fsm.messages.message import MAX_NAMES
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.messages.told import AddressChanged
from vimbiso_fsm.store.memory import MemoryStore
from vimbiso_fsm.store.requests import Scan
from vimbiso_fsm.store.retention import DOCUMENT_LIFE
from vimbiso_fsm.testing.chat import STORE_SECRET, Clock, words

Kind = Literal["sync", "async"]
SMS = Channel("sms", "16505550001")
CHAT = Channel("telegram", "77")

door: Flow[NoData] = Flow(
    "door", initial="shut",
    states=[
        State("shut", ask=Text("Open?"), timeout=timedelta(minutes=1)),
        State("open", say=Text("Open."), final=True),
        State("late", say=Text("Still shut."), final=True),
    ],
    transitions=[Transition("yes", "shut", "open"), Transition("timeout", "shut", "late")],
)  # fmt: skip


def shell(
    kind: Kind = "sync", *, flow: Any = door, at: list[str] | None = None, **options: object
) -> tuple[Shell, Clock, list[str]]:
    """Return a manager that delivers into a list, and its clock."""
    clock, taken, places = Clock(), list[str](), [] if at is None else at
    bot = Bot(flow, on={Reacted: lambda turn, fact: Text("Thanks."), OptedOut: lambda turn, fact: Text("Bye.")})
    store = MemoryStore(clock, secret=STORE_SECRET)

    def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
        taken.extend(words(replies))
        places.append(channel.identifier)

    async def deliver_later(channel: Channel, replies: Sequence[Reply]) -> None:
        deliver(channel, replies)

    made = Shell(kind, bot, store, deliver=deliver if kind == "sync" else deliver_later, **options)
    made.manager._base.clock.follow(clock)
    return made, clock, taken


def said(to: Shell, text: str, channel: Channel = SMS) -> list[str]:
    """Type a message, and return the words of the answer."""
    return words(to.handle(to.message(text, channel=channel)).replies)


def wish(kind: str, text: str | None, *, stopped: bool) -> str:
    """Return the wish in a text by the words of the carriers."""
    return wish_in_words(kind, text, stop=STOP_WORDS, start=START_WORDS, stopped=stopped)


# By a word ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", sorted({*STOP_WORDS, " Stop ", "STOP.", "UNSUBSCRIBE!"}))
def test_a_word_of_the_carrier_is_confirmed_once_and_then_nothing_is_said(word: str):
    """Each such word on SMS brings the one confirmation. What is said or due then is not answered or delivered."""
    to, clock, taken = shell()
    said(to, "hi")
    assert said(to, word) == ["You get no more messages from us. Reply START to get them again."]
    assert [said(to, text) for text in ("hello", word, "menu")] == [[], [], []]
    assert to.do("handle_event", Reacted(id="r", channel=SMS, message_id="m")).replies == ()
    clock.at += 120
    to.wake(to.manager.bot.digests.guest_id(SMS))
    assert taken == []


@pytest.mark.parametrize("word", sorted(START_WORDS))
def test_a_start_ends_it_and_asks_again(word: str):
    """A word of the start ends the opt-out: the question is asked, and deliveries go on."""
    to, clock, taken = shell()
    said(to, "hi")
    said(to, "stop")
    assert said(to, word) == ["You get our messages again. Reply STOP to get none.", "Open?"]
    clock.at += 120
    to.wake(to.manager.bot.digests.guest_id(SMS))
    assert taken == ["Still shut."]


def test_elsewhere_stop_means_cancel_and_start_means_what_the_bot_says():
    """On channels without a carrier the same words are ordinary ones, and so is a start without a stop on SMS."""
    to, *_ = shell()
    said(to, "hi", CHAT)
    assert "no more messages" not in " ".join(said(to, "stop", CHAT))
    said(to, "hi")
    assert said(to, "yes") == ["Open."]
    assert [wish(kind, "stop", stopped=False) for kind in ("telegram", "whatsapp", "web")] == [""] * 3
    assert [wish("sms", text, stopped=True) for text in (None, "please stop", "stop " * 99)] == [""] * 3


def test_the_help_on_sms_names_no_word_of_the_carrier():
    """The words that the help offers on SMS are heard by the bot; elsewhere the help is as it was."""
    to, *_ = shell()
    for channel, offered in ((SMS, "menu, back, exit, ?"), (CHAT, "menu, back, cancel, help.")):
        said(to, "hi", channel)
        assert said(to, "?", channel)[0] == f"You can always say: {offered}"
    for word in ("menu", "back", "exit", "?"):
        assert wish("sms", word, stopped=False) == ""
        assert "no more messages" not in " ".join(said(to, word))


def test_a_bot_declares_the_words_of_its_carrier():
    """A bot whose carrier has other words declares them, and keeps its own word for cancel."""
    bot = Bot(door, commands=Commands(stop=["pasi"], start=["simuka"]))
    to = Shell("sync", bot, MemoryStore(Clock(), secret=STORE_SECRET))
    said(to, "hi")
    assert "no more messages" not in said(to, "cancel")[0]
    assert said(to, "PASI")[0].startswith("You get no more messages")
    assert said(to, "start") == []
    assert said(to, "simuka")[0].startswith("You get our messages again")


def test_what_waited_is_not_delivered_after_a_stop():
    """Words that waited for a delivery are gone with the consent, and do not precede the answer to a start."""
    clock = Clock()
    to = Shell("sync", Bot(door), MemoryStore(clock, secret=STORE_SECRET))  # nothing is delivered, so words wait
    said(to, "hi")
    clock.at += 120
    guest = to.manager.bot.digests.guest_id(SMS)
    to.wake(guest)
    assert to.state(guest).outbox
    said(to, "stop")
    assert to.state(guest).outbox == ()
    assert said(to, "start")[0].startswith("You get our messages again")


# As the channel tells -------------------------------------------------------------------------------------------------


def test_what_the_channel_has_answered_is_not_answered_again():
    """An opt-out that the channel tells ends deliveries without a word, and its start begins them (Case 28)."""
    to, clock, taken = shell()
    for number, (body, more) in enumerate([("hi", {}), ("STOP", {"OptOutType": "STOP"}), ("hey", {})]):
        form = {"MessageSid": f"S{number}", "From": "+16505550001", "To": "+1", "Body": body, "NumMedia": "0", **more}
        delivery = sms.parse(urlencode(form).encode())
        for event in delivery.events:
            assert (to.do("handle_event", event).status, to.do("handle_event", event).status) == (
                "advanced",
                "duplicate",
            )
            assert to.do("handle_event", event).replies == ()
        for message in delivery.messages:
            assert words(to.handle(message).replies) == (["Open?"] if body == "hi" else [])
    [guest] = to.do("ask", Scan())
    clock.at += 120
    to.wake(guest)
    assert taken == []
    start = OptedOut(id="s", channel=SMS.with_account("+1"), wish="start")
    assert to.do("handle_event", start).status == "advanced"


def test_a_wish_about_some_messages_is_left_to_the_author():
    """An opt-out of advertising ends no delivery of the bot; the reaction to it decides."""
    to, *_ = shell()
    said(to, "hi")
    outcome = to.do("handle_event", OptedOut(id="o", channel=SMS, topic="marketing messages"))
    assert words(outcome.replies) == ["Bye."]
    assert said(to, "hello") != []


def test_a_member_who_blocked_the_bot_is_not_written_to_until_they_write():
    """After a block nothing is delivered; the next message, which needs no block, is answered as ever (Case 30)."""
    to, clock, taken = shell()
    said(to, "hi", CHAT)
    guest = to.manager.bot.digests.guest_id(CHAT)
    user = {"id": 77, "is_bot": False, "first_name": "Pat"}
    told = {"from": user, "chat": {"id": 77, "type": "private"}, "date": 1, "new_chat_member": {"status": "kicked"}}
    [event] = telegram.parse(json.dumps({"update_id": 9, "my_chat_member": told}).encode()).events
    assert isinstance(event, Blocked)
    assert to.do("handle_event", event).status == "advanced"
    clock.at += 120
    to.wake(guest)
    assert taken == []
    assert "Open?" in said(to, "hi", CHAT)
    assert not to.state(guest).opted_out


# What is stored -------------------------------------------------------------------------------------------------------


def test_it_is_a_state_of_the_address():
    """An opt-out on one channel of a member leaves the others alone, survives the store, and is kept for long."""

    def login(turn):
        return turn.changes(member=attrs.evolve(turn.member, id="m-ann", guest=False))

    greet = Flow(
        "greet", initial="name",
        states=[State("name", ask=Text("Name?"), reads=str), State("rest", ask=Text("Rest?"), reads=str),
                State("done", final=True)],
        transitions=[Transition("answer", "name", "rest", prepare=login), Transition("answer", "rest", "done")],
    )  # fmt: skip
    clock = Clock()
    to = Shell("sync", Bot(greet), MemoryStore(clock, secret=STORE_SECRET))
    for channel in (SMS, CHAT):
        said(to, "hi", channel)
        said(to, "ann", channel)
    said(to, "stop")
    document = to.state("m-ann")
    assert document.is_opted_out(SMS.address)
    assert not document.is_opted_out(CHAT.address)
    assert not document.is_reachable
    assert decode(encode(document)) == document
    assert said(to, "menu", CHAT) != []
    assert to.state("m-ann").is_reachable
    assert said(to, "menu") == []
    clock.at += 2 * DOCUMENT_LIFE
    assert to.state("m-ann").is_opted_out(SMS.address)
    assert said(to, "start")[0].startswith("You get our messages again.")


@pytest.mark.parametrize("days", [10, 50, 390])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_wish_of_a_guest_is_kept_as_long_as_that_of_a_member(kind: Kind, days: int):
    """What another system tells an address weeks after a guest has said STOP there is not delivered."""
    to, clock, taken = shell(kind)
    said(to, "hi")
    said(to, "stop")
    clock.at += days * 86_400
    outcome = to.do("tell", SMS, Text("We have news."), key="news")
    to.wake(outcome.member_id)
    assert taken == []


def _ann(turn):
    return turn.changes(member=attrs.evolve(turn.member, id=f"m-{turn.channel.type}", guest=False))


greet: Flow[NoData] = Flow(
    "greet", initial="name",
    states=[State("name", ask=Text("Name?"), reads=str), State("rest", ask=Text("Rest?"), reads=str),
            State("done", final=True)],
    transitions=[Transition("answer", "name", "rest", prepare=_ann), Transition("answer", "rest", "done")],
)  # fmt: skip


@pytest.mark.parametrize("way", ["unlink", "relink"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_wish_goes_with_the_address(kind: Kind, way: str):
    """An address that wants no messages wants none at its next owner, and a word of the start there ends it for all."""
    at = list[str]()
    to, _, _ = shell(kind, flow=greet, at=at)
    for channel in (SMS, CHAT):
        said(to, "hi", channel)
        said(to, "ann", channel)
    said(to, "stop")
    owner = "m-sms"
    if way == "unlink":
        to.do("unlink", "m-sms", SMS)
    else:
        owner = "m-telegram"
        to.do("relink", "m-telegram", SMS)
    assert to.state("m-sms").opted_out == ()
    outcome = to.do("tell", SMS, Text("We have news."), key="news")
    assert (outcome.member_id == owner) == (way == "relink")
    assert to.state(outcome.member_id).is_opted_out(SMS.address)
    to.wake(outcome.member_id)
    assert SMS.identifier not in at
    assert said(to, "hello") == []
    assert "You get our messages again." in " ".join(said(to, "start"))
    to.do("relink", "m-sms", SMS)
    assert not to.state("m-sms").is_opted_out(SMS.address)


PHONE, USER = "263771000001", "ZW.100001"
BOTH = Channel("whatsapp", PHONE, {"names": [USER]})


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("told", [Channel("whatsapp", PHONE), Channel("whatsapp", USER, {"names": [USER]}), BOTH])
def test_a_wish_at_one_name_counts_at_all_names_of_a_guest(kind: Kind, told: Channel):
    """An opt-out under one name of a guest ends deliveries under the others too, and so does the end of it."""
    to, _, taken = shell(kind)
    said(to, "hi", BOTH)
    guest = to.handle(to.message("menu", channel=Channel("whatsapp", USER, {"names": [USER]}))).member_id
    assert to.do("handle_event", OptedOut(id="o", channel=told)).member_id == guest
    assert said(to, "hello", Channel("whatsapp", PHONE)) == said(to, "hello", BOTH) == []
    to.do("tell", guest, Text("We have news."), key="news")
    to.wake(guest)
    assert taken == []
    to.do("handle_event", OptedOut(id="s", channel=Channel("whatsapp", PHONE), wish="start"))
    assert to.state(guest).opted_out == ()


# What other systems give meanwhile ------------------------------------------------------------------------------------

seats: Flow[NoData] = Flow(
    "seats", initial="name",
    states=[
        State("name", ask=Text("Name?"), reads=str),
        State("rest", ask=Text("Rest?"), timeout=timedelta(minutes=1)),
        State("late", ask=Text("Too late.")),
        State("paid", ask=Text("Paid.")),
    ],
    transitions=[
        Transition("answer", "name", "rest",
                   prepare=lambda turn: turn.changes(member=attrs.evolve(turn.member, id="m-ann", guest=False))),
        Transition("timeout", "rest", "late"),
        Transition("money", ["rest", "late"], "paid", by="bank"),
        Transition("again", "paid", "late"),
        Transition("again", "late", "rest"),
    ],
)  # fmt: skip
survey: Flow[NoData] = Flow(
    "survey", initial="ask",
    states=[State("ask", ask=Text("Was it good?"), reads=str), State("end", final=True)],
    transitions=[Transition("answer", "ask", "end")],
)  # fmt: skip


class Desk:
    """Managers on one store that deliver, with what was delivered where."""

    def __init__(self, kind: Kind, **bot: Any) -> None:
        self.clock, self.said = Clock(), list[tuple[str, str]]()
        given: dict[str, Any] = {"windows": {}, "session": 10 * 86_400.0, **bot}
        self.bot = Bot([seats, survey], inboxes=[Inbox("staff", words=["person"])], **given)
        self.store = MemoryStore(self.clock, secret=STORE_SECRET)

        def deliver(channel: Channel, replies: Sequence[Reply]) -> None:
            self.said += [(channel.identifier, text) for text in words(replies)]

        async def deliver_later(channel: Channel, replies: Sequence[Reply]) -> None:
            deliver(channel, replies)

        self.to = Shell(kind, self.bot, self.store, deliver=deliver if kind == "sync" else deliver_later,
                        inboxes={"staff": _taken if kind == "sync" else _taken_later})  # fmt: skip
        self.to.manager._base.clock.follow(self.clock)

    def joins(self, *channels: Channel) -> None:
        """Let the member log in on channels; they are heard on the last one last."""
        for channel in channels:
            said(self.to, "hi", channel)
            said(self.to, "ann", channel)
        self.said.clear()


def _taken(passed: object) -> Sent:
    return Sent()


async def _taken_later(passed: object) -> Sent:
    return Sent()


@pytest.fixture(params=["sync", "async"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Make a sync and an async manager of which nothing is stored."""
    made = Desk(request.param)
    yield made
    made.to.close()


GIFTS = [
    ("tell", (Text("We have news."),), {}),
    ("open", ("survey",), {}),
    ("hand_over", ("staff",), {"by": "ann"}),
]


@pytest.mark.parametrize(("how", "details", "named"), GIFTS, ids=[gift[0] for gift in GIFTS])
@pytest.mark.parametrize("whom", ["m-ann", SMS], ids=["member", "address"])
def test_what_cannot_reach_the_member_is_refused_and_audited_once(
    desk: Desk, whom: Any, how: str, details: Any, named: Any
):
    """Words, a flow and a person do not reach a member who wants no messages: refused, and not made up for at START."""
    desk.joins(SMS)
    said(desk.to, "stop")
    before = desk.to.state("m-ann")
    first, again = (desk.to.do(how, whom, *details, key="k", **named) for _ in range(2))
    assert (first.status, first.reason, first.member_id) == ("refused", "unreachable", "m-ann")
    assert (again.status, again.reason) == ("duplicate", "refused")
    [entry] = [each for each in desk.to.do("history", "m-ann") if each.codes == ("unreachable",)]
    assert (entry.status, entry.kind) == ("refused", {"hand_over": "handed"}.get(how, how))
    after = desk.to.state("m-ann")
    assert (after.run, after.suspended, after.outbox, after.handed) == (before.run, (), (), None)
    assert said(desk.to, "start") == ["You get our messages again. Reply STOP to get none.", "Rest?"]
    assert desk.said == []


def test_a_person_is_told_that_their_words_do_not_reach_the_member(desk: Desk):
    """A member who takes their consent back ends the hand-over; where all channels were unlinked, words are refused."""
    desk.joins(SMS)
    desk.to.do("hand_over", "m-ann", "staff", key="h", by="ann")
    said(desk.to, "stop")
    assert desk.to.do("say", "m-ann", "Hello.", key="s", by="ann").reason == "not handed"
    said(desk.to, "start")
    desk.to.do("hand_over", "m-ann", "staff", key="h2", by="ann")
    desk.to.do("unlink", "m-ann", SMS)
    assert desk.to.do("tell", "m-ann", Text("We have news."), key="t").reason == "unreachable"


def test_a_trigger_is_a_fact_that_the_wish_does_not_stop(desk: Desk):
    """A payment that comes meanwhile moves the flow and is not said, as the outcome tells; START shows the place."""
    desk.joins(SMS)
    said(desk.to, "stop")
    outcome = desk.to.do("trigger", "m-ann", "money", key="k", by="bank")
    assert (outcome.status, outcome.reason) == ("advanced", "unreachable")
    assert (desk.said, desk.to.state("m-ann").outbox) == ([], ())
    assert said(desk.to, "start") == ["You get our messages again. Reply STOP to get none.", "Paid."]


def test_a_member_with_another_channel_is_reached_there(desk: Desk):
    """Words for the member go to another channel than the one of the wish; those that name that one are refused."""
    desk.joins(CHAT, SMS)
    said(desk.to, "stop")
    assert desk.to.do("tell", "m-ann", Text("News."), key="1").status == "advanced"
    assert desk.to.do("tell", SMS, Text("News."), key="2").reason == "unreachable"
    desk.clock.at += 120
    desk.to.wake("m-ann")
    assert desk.said == [(CHAT.identifier, "News."), (CHAT.identifier, "Too late.")]


@pytest.mark.parametrize("waits", [CHAT, SMS], ids=["elsewhere", "there"])
def test_a_wish_that_is_told_ends_what_waits_there_and_nothing_else(waits: Channel):
    """What waits for another channel, and a conversation with a person there, outlast a wish that is told of one."""
    desk = Desk("sync")
    other = {CHAT: SMS, SMS: CHAT}[waits]
    desk.joins(other, waits)
    desk.to.do("hand_over", "m-ann", "staff", key="h", by="ann")
    desk.to.manager._base.delivers = False
    quiet = Shell("sync", desk.bot, desk.store)  # it delivers nothing, so that words wait
    quiet.manager._base.clock.follow(desk.clock)
    quiet.do("tell", "m-ann", Text("News."), key="1")
    quiet.do("handle_event", OptedOut(id="o", channel=SMS))
    state = quiet.state("m-ann")
    assert bool(state.outbox) == (state.handed is not None) == (waits == CHAT)


def test_the_result_of_a_call_is_kept_and_follows_the_confirmation():
    """A result that comes after the stop was asked for by the member, and is said at START, after the confirmation."""

    class Bank:
        """A service whose calls are held up."""

        def pay(self) -> str:
            told.append(said(to, "stop")[0])
            return "ok"

    pay: Flow[NoData] = Flow(
        "pay", initial="ask",
        states=[State("ask", ask=Text("Pay?")), State("paying", ask=Text("Paying."), call=lambda turn: call(Bank.pay)),
                State("paid", say=Text("You have paid.")), State("more", ask=Text("More?"))],
        transitions=[Transition("yes", "ask", "paying"), Transition(["done", "failed"], "paying", "paid"),
                     Transition("auto", "paid", "more"), Transition("again", "more", "ask")],
    )  # fmt: skip
    told = list[str]()
    to = Shell("sync", Bot(pay, services={"bank": Bank()}), MemoryStore(Clock(), secret=STORE_SECRET), call_wait=0.0)
    said(to, "hi")
    to.handle(to.message("yes", channel=SMS))
    to.until(lambda: told and to.state(to.manager.bot.digests.guest_id(SMS)).call is None)
    assert said(to, "start")[:2] == ["You get our messages again. Reply STOP to get none.", "You have paid."]
    to.close()


# The names of one speaker ---------------------------------------------------------------------------------------------


def both(first: str = PHONE, *others: str) -> Channel:
    """Return the channel on which a member is met under several names."""
    return Channel("whatsapp", first, {"names": [first, *(others or (USER,))]})


@pytest.mark.parametrize("known", ["before", "as a guest", "later", "merged"])
def test_a_wish_at_one_name_counts_at_all_names_of_a_member(desk: Desk, known: str):
    """An opt-out under one name of a member counts under the others, whenever the channel has told of them."""
    phone, user = Channel("whatsapp", PHONE), Channel("whatsapp", USER)
    desk.joins(CHAT)
    desk.joins(both() if known == "as a guest" else phone)
    if known == "before":
        said(desk.to, "hello", both())
    if known == "merged":
        desk.joins(user)
        said(desk.to, "hello", both())
    said(desk.to, "hello", CHAT)
    assert desk.to.do("handle_event", OptedOut(id="o", channel=phone)).status == "advanced"
    if known == "later":
        assert said(desk.to, "hello", both()) == []
    assert said(desk.to, "hello", user) == said(desk.to, "hello", phone) == said(desk.to, "hello", both()) == []
    for place in (phone, user):
        assert desk.to.do("tell", place, Text("News."), key="t").reason in ("unreachable", "refused")
    assert said(desk.to, "hello", CHAT) != []
    state = desk.to.state("m-ann")
    assert [{each.identifier for each in group} for group in state.names] == [{PHONE, USER}]
    assert decode(encode(state)) == state
    desk.to.do("handle_event", OptedOut(id="s", channel=user, wish="start"))
    assert desk.to.state("m-ann").opted_out == ()
    assert said(desk.to, "hello", phone) != []


def test_names_follow_what_becomes_of_the_addresses(desk: Desk):
    """An unlinked name leaves its group, a name that the channel changes comes into it, and an erasure leaves none."""
    desk.joins(both())
    moved = AddressChanged(id="1", channel=Channel("whatsapp", PHONE), new="263771000009", names=(USER,))
    desk.to.do("handle_event", moved)
    state = desk.to.state("m-ann")
    [group] = state.names
    assert {each.identifier for each in group} == {each.identifier for each in state.channels} == {"263771000009", USER}
    exported = json.dumps(desk.to.do("export", "m-ann").value)
    assert "263771000009" in exported
    desk.to.do("unlink", "m-ann", Channel("whatsapp", USER))
    assert desk.to.state("m-ann").names == ()


def test_the_names_of_a_member_are_bounded(desk: Desk):
    """However many names are told of one speaker, a group keeps as many as a message may carry twice."""
    desk.joins(Channel("whatsapp", PHONE))
    for number in range(20):
        said(desk.to, "hello", both(PHONE, f"ZW.{number}", f"ZW.{number + 1}"))
    [group] = desk.to.state("m-ann").names
    assert len(group) == 2 * MAX_NAMES


@pytest.mark.parametrize("accounts", ["shared", "separate"])
def test_a_wish_ends_what_waits_also_where_the_channel_tells_an_account(accounts: str):
    """With an account of the bot in each message, a stop drops what waits and ends the hand-over, as without one."""
    desk = Desk("sync", accounts=accounts)
    place = SMS.with_account("+1")
    desk.joins(place)
    desk.to.do("hand_over", "m-ann", "staff", key="h", by="ann")
    quiet = Shell("sync", desk.bot, desk.store)
    quiet.manager._base.clock.follow(desk.clock)
    quiet.do("tell", "m-ann", "News.", key="1")
    assert quiet.state("m-ann").outbox
    assert words(quiet.handle(quiet.message("stop", channel=place)).replies) == [
        "You get no more messages from us. Reply START to get them again."
    ]
    assert (quiet.state("m-ann").outbox, quiet.state("m-ann").handed) == ((), None)
    for whom in ("m-ann", place):
        assert quiet.do("tell", whom, "News.", key="2").reason in ("unreachable", "refused")


def test_a_wish_told_of_one_name_goes_with_the_other(desk: Desk):
    """A name that is unlinked takes the wish along that was told of another name of the same speaker."""
    desk.joins(both())
    desk.to.do("handle_event", OptedOut(id="o", channel=Channel("whatsapp", USER)))
    desk.to.do("unlink", "m-ann", Channel("whatsapp", PHONE))
    told = desk.to.do("tell", Channel("whatsapp", PHONE), "News.", key="1")
    assert (told.status, told.reason) == ("refused", "unreachable")
    assert [out.address.identifier for out in desk.to.state("m-ann").opted_out] == [USER]
