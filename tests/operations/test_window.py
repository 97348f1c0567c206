"""Late words: inside the window they go as they are, outside it as their template, and else they are held."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from tests.operations.test_sending import CHANNEL, KINDS, Kind, Scene, said
from tests.shells import Shell
from vimbiso_fsm.channels import whatsapp
from vimbiso_fsm.document.document import Document
from vimbiso_fsm.document.ids import instant
from vimbiso_fsm.document.replies_codec import replies_from_raw, replies_to_keep
from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.flow import Flow, NoData
from vimbiso_fsm.flow.inboxes import Inbox
from vimbiso_fsm.flow.reminders import remind
from vimbiso_fsm.flow.state import State, Transition
from vimbiso_fsm.flow.turn import Turn
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.money import Money
from vimbiso_fsm.messages.replies import Buttons, Media, Reply, Template, Text, TextTemplate
from vimbiso_fsm.messages.sending import Never, Sent
from vimbiso_fsm.messages.told import OptedOut, Reacted
from vimbiso_fsm.messages.windows import as_templates
from vimbiso_fsm.operations.handle import Outcome
from vimbiso_fsm.runtime.flow_state import FlowStateManager
from vimbiso_fsm.runtime.worker import Worker
from vimbiso_fsm.store.requests import Commit, Request

DAY, HOUR = 86_400.0, 3_600.0
FREE = Text("seat.free", row=7, templates={"whatsapp": TextTemplate("seat_free", ("row",), ("en_GB", "sn"))})


def seat(
    late: Text, *, after: float = 2 * DAY, asks: Text | None = None, then: float | None = None, **more: Any
) -> Bot:
    """Make a bot that says something late, and may ask a question with it."""
    states: list[State[NoData]] = [
        State("hold", ask=Text("Take it?"), timeout=after),
        State("missed", say=late, final=asks is None),
    ]
    ways: list[Transition[NoData]] = [Transition("yes", "hold", "missed"), Transition("timeout", "hold", "missed")]
    if asks is not None:
        states += [State("next", ask=asks, reads=str, timeout=then), State("end", final=True)]
        ways += [Transition("auto", "missed", "next"), Transition("answer", "next", "end")]
    if then is not None:
        ways.append(Transition("timeout", "next", "end"))
    flow: Flow[NoData] = Flow("seat", initial="hold", states=states, transitions=ways)
    texts = {"en": {"seat.free": "Row {row} is free."}, "sn": {"seat.free": "Mutsetse {row} wakasununguka."}}
    return Bot(flow, session=30 * DAY, texts=texts, **more)


class Post:
    """A channel that keeps each reply that it has sent."""

    def __init__(self) -> None:
        self.sent: list[Reply] = []

    def __call__(self, channel: Channel, replies: Sequence[Reply]) -> Sent:
        """Send the replies."""
        self.sent += replies
        return Sent()


class Late(Scene):
    """A member who has written once, and a clock that a test moves."""

    def __init__(self, kind: Kind, bot: Bot, first: Message | None = None) -> None:
        super().__init__(kind, bot)
        self.post = Post()
        self.one = self.shell(senders={"whatsapp": self.post, "telegram": self.post}, cache=0)
        self.outcome: Outcome = self.one.handle(first or said("hi"))
        self.post.sent.clear()

    def after(self, seconds: float) -> Late:
        """Let time pass, then wake the member, whose earlier replies were recorded."""
        self.record(self.one)
        self.at += seconds
        self.one.wake(self.outcome.member_id)
        return self

    @property
    def stored(self) -> Document:
        """The member's document."""
        return self.one.state(self.outcome.member_id)

    def audited(self) -> list[dict[str, Any]]:
        """Return the details of the audit entries."""
        return [dict(entry.detail) for entry in self.one.do("history", self.outcome.member_id)]


@pytest.fixture
def late(kind: Kind) -> Generator[Any]:
    """Make scenes, and close their managers."""
    made: list[Late] = []

    def make(bot: Bot, first: Message | None = None) -> Late:
        made.append(Late(kind, bot, first))
        return made[-1]

    yield make
    for scene in made:
        for shell in scene.shells:
            shell.close()


@KINDS
@pytest.mark.parametrize(("after", "goes"), [(22 * HOUR, True), (24 * HOUR, False)])
def test_words_go_inside_the_window(late: Any, after: float, goes: bool):
    """Words without a template go in the 24 hours after the member's message, but for less than an hour at the end."""
    scene = late(seat(Text("Too late."), after=after)).after(after)
    assert [str(reply) for reply in scene.post.sent] == (["Too late."] if goes else [])
    assert [waiting.rest for waiting in scene.stored.outbox] == ([] if goes else ["window"])


@KINDS
@pytest.mark.parametrize(("language", "code", "words"), [
    (None, "en_GB", "Row 7 is free."), ("sn-ZW", "sn", "Mutsetse 7 wakasununguka."), ("fr", "en_GB", "Row 7 is free."),
])  # fmt: skip
def test_outside_it_a_text_goes_as_its_template(late: Any, language: str | None, code: str, words: str):
    """The template has the text's parameters as they are written, in the member's language where it is approved."""
    channel = CHANNEL if language is None else attrs.evolve(CHANNEL, metadata={"language": language})
    scene = late(seat(FREE), Message(channel, "hi", "hi")).after(2 * DAY)
    [sent] = scene.post.sent
    assert isinstance(sent, Template)
    assert (sent.name, sent.params, sent.language, sent.text) == ("seat_free", ("7",), code, words)
    assert scene.stored.outbox == ()
    [payload] = whatsapp.render(CHANNEL, [sent])
    assert payload["template"]["name"] == "seat_free"


@KINDS
def test_a_channel_without_a_window_takes_words_at_any_time(late: Any):
    """On Telegram a text goes as it is, also when it names templates for another channel, and nothing is noted."""
    scene = late(seat(FREE), Message(Channel("telegram", "1"), "hi", "hi")).after(2 * DAY)
    assert [str(reply) for reply in scene.post.sent] == ["Row 7 is free."]
    assert scene.stored.heard == ()


@KINDS
def test_what_is_held_precedes_the_next_reply(late: Any):
    """A text without a template waits without a worker's attempt, and the member's next message brings it."""
    scene = late(seat(Text("Too late."))).after(2 * DAY)
    [waiting] = scene.stored.outbox
    assert waiting.until == instant(scene.at) + timedelta(days=7)
    assert scene.audited()[-1]["held"] == "window"
    scene.after(HOUR)
    assert scene.post.sent == []
    again = scene.one.handle(said("again"))
    assert again.replies[0].text.startswith("Too late.")
    assert scene.stored.outbox == () or scene.stored.outbox[0].rest == ""


@KINDS
@pytest.mark.parametrize("delivers", [True, False])
def test_the_outcome_of_a_tell_says_that_it_is_held(late: Any, delivers: bool):
    """Words of a system or a person outside the window are taken in and wait, and the outcome says which of them do."""
    scene = late(seat(Text("Too late."), after=30 * DAY, inboxes=[Inbox("staff", words=["person"])])).after(2 * DAY)
    shell = scene.one if delivers else scene.shell(senders={})
    member = scene.outcome.member_id
    assert (told := shell.do("tell", member, Text("News."), key="1")).status == "advanced"
    assert told.held == "window"
    assert shell.do("tell", member, FREE, key="2").held == ""
    assert shell.do("hand_over", member, "staff", key="3", by="ann").held == "window"
    assert shell.do("say", member, "Hello.", key="4", by="ann").held == "window"
    scene.after(1.0)
    assert [type(reply) for reply in scene.post.sent] == [Template]


@KINDS
@pytest.mark.parametrize(("holds", "after", "says"), [
    (None, 7 * DAY - 1, True), (None, 7 * DAY, False),
    (timedelta(hours=2), 2 * HOUR - 1, True), (timedelta(hours=2), 2 * HOUR, False),
])  # fmt: skip
def test_it_is_said_only_while_it_holds(late: Any, holds: timedelta | None, after: float, says: bool):
    """After its end a held text is dropped by the next message, and the audit of that turn names it."""
    scene = late(seat(Text("Too late.", holds=holds))).after(2 * DAY)
    [waiting] = scene.stored.outbox
    scene.at += after
    again = scene.one.handle(said("again"))
    assert ("Too late." in again.replies[0].text) is says
    assert all(each.id != waiting.id for each in scene.stored.outbox)
    assert [detail["lapsed"] for detail in scene.audited() if "lapsed" in detail] == ([] if says else [[waiting.id]])


@KINDS
def test_a_template_goes_and_the_question_is_held(late: Any):
    """Of several replies, those with a template go; the question waits, and no text answers it before it was read."""
    scene = late(seat(FREE, asks=Text("Which row?"))).after(2 * DAY)
    assert [getattr(reply, "name", None) for reply in scene.post.sent] == ["seat_free"]
    [held] = scene.stored.outbox
    assert held.rest == "window"
    answered = scene.one.handle(said("seven"))
    assert [reply.text for reply in answered.replies] == ["Which row?"]
    assert scene.stored.run is not None
    assert scene.stored.run.step == "next"


@KINDS
def test_an_opt_out_drops_what_is_held(late: Any):
    """A held text is dropped with the consent, and is not said once the member wants messages again."""
    scene = late(seat(Text("Too late."))).after(2 * DAY)
    assert [waiting.rest for waiting in scene.stored.outbox] == ["window"]
    scene.one.do("handle_event", OptedOut(id="o", channel=CHANNEL))
    assert scene.stored.outbox == ()
    assert scene.audited()[-1]["consent"] == "taken back"
    scene.one.do("handle_event", OptedOut(id="s", channel=CHANNEL, wish="start"))
    said_then = [reply.text for reply in scene.one.handle(said("again")).replies]
    assert said_then
    assert not any("Too late." in text for text in said_then)


@KINDS
def test_a_held_question_is_dropped_with_its_state(late: Any):
    """A held question is not asked after its state was left, and the words before it are still said."""
    scene = late(seat(Text("Too late."), asks=Text("Which row?"), then=HOUR)).after(2 * DAY)
    [held] = scene.stored.outbox
    scene.after(2 * HOUR)
    said_then = "\n".join(reply.text for reply in scene.one.handle(said("again")).replies)
    assert "Too late." in said_then
    assert "Which row?" not in said_then
    assert [held.id] in [detail.get("lapsed") for detail in scene.audited()]


@KINDS
def test_a_held_question_is_dropped_also_after_a_refusal(kind: Kind):
    """A question beside a refused template comes after its words, and is still dropped with its state."""
    scene = Late(kind, seat(FREE, asks=Text("Which row?"), then=HOUR))
    refusing = lambda channel, replies: Never("blocked", address=True)  # noqa: E731  # one line says it
    other = scene.shell(senders={"whatsapp": refusing}, cache=0)
    scene.record(scene.one)
    scene.at += 2 * DAY
    other.wake(scene.outcome.member_id)
    said_now = [each for waiting in scene.stored.outbox for each in replies_from_raw(waiting.replies)]
    assert ([str(reply) for reply in said_now], {waiting.rest for waiting in scene.stored.outbox}) == (
        ["seat.free", "Which row?"], {"held"},
    )  # fmt: skip
    scene.after(2 * HOUR)
    said_then = "\n".join(reply.text for reply in scene.one.handle(said("again")).replies)
    assert "Row 7 is free." in said_then
    assert "Which row?" not in said_then
    for shell in scene.shells:
        shell.close()


@KINDS
def test_a_text_that_waits_until_the_window_is_over_is_held(late: Any, kind: Kind):
    """What no worker has sent inside the window goes by its end: the decision is that of the delivery."""
    scene = late(seat(Text("Too late."), after=HOUR))
    other = Shell(kind, scene.bot, scene.memory, cache=0)
    other.manager._base.clock.follow(lambda: scene.at)
    scene.record(scene.one)
    scene.at += HOUR
    other.wake(scene.outcome.member_id)  # it delivers nothing
    assert [waiting.rest for waiting in scene.stored.outbox] == [""]
    scene.after(DAY)
    assert scene.post.sent == []
    assert [waiting.rest for waiting in scene.stored.outbox] == ["window"]
    other.close()


@KINDS
def test_a_late_delivery_of_a_lapsed_text_is_none(late: Any, kind: Kind):
    """A text whose end has come before a worker sends it is dropped, and the audit says so."""
    scene = late(seat(Text("Too late.", holds=timedelta(minutes=5)), after=HOUR))
    other = Shell(kind, scene.bot, scene.memory, cache=0)
    other.manager._base.clock.follow(lambda: scene.at)
    scene.record(scene.one)
    scene.at += HOUR
    other.wake(scene.outcome.member_id)
    [waiting] = scene.stored.outbox
    scene.after(HOUR)
    assert (scene.post.sent, scene.stored.outbox) == ([], ())
    assert scene.audited()[-1]["lapsed"] == [waiting.id]
    other.close()


@KINDS
def test_a_held_reminder_ends_with_the_reminder(late: Any):
    """The end of a reminder is that of its words: what it is about is over then."""

    def planned(turn: Turn[NoData]) -> Any:
        at = turn.now + timedelta(days=2)
        return remind(at, "visit", Text("Tomorrow."), until=at + timedelta(hours=3))

    flow: Flow[NoData] = Flow(
        "visit",
        initial="ask",
        states=[State("ask", ask=Text("Ready?"), reads=str, reminds=planned), State("end", final=True)],
        transitions=[Transition("answer", "ask", "end")],
    )
    scene = late(Bot(flow, session=30 * DAY)).after(2 * DAY)
    [waiting] = scene.stored.outbox
    assert waiting.until == instant(1e9) + timedelta(days=2, hours=3)
    scene.at += 4 * HOUR
    assert "Tomorrow." not in [reply.text for reply in scene.one.handle(said("again")).replies]
    assert [detail["lapsed"] for detail in scene.audited() if "lapsed" in detail] == [[waiting.id]]


@KINDS
def test_a_late_webhook_opens_no_window(late: Any):
    """A message counts from when it was sent, not from when the channel has delivered it."""
    sent_at = datetime.fromtimestamp(1e9 - 20 * HOUR, UTC)
    scene = late(seat(Text("Too late."), after=6 * HOUR), Message(CHANNEL, "hi", "hi", sent_at=sent_at)).after(6 * HOUR)
    assert scene.post.sent == []


@KINDS
def test_the_note_is_written_once_an_hour(late: Any):
    """Messages of one hour leave the note as it is; the first of another hour moves it, also where it is refused."""
    scene = late(seat(FREE, after=20 * DAY))
    [first] = scene.stored.heard
    assert first.at == instant(1e9).replace(minute=0, second=0)
    scene.one.handle(said("what"))
    assert scene.stored.heard == (first,)
    scene.at += HOUR
    scene.one.handle(said("how"))
    [then] = scene.stored.heard
    assert (then.address, then.at - first.at) == (first.address, timedelta(hours=1))


@KINDS
def test_a_lost_reply_of_the_store_changes_nothing(kind: Kind):
    """A worker whose commit of a held text is repeated, or that dies after it, leaves one held text."""
    scene = Late(kind, seat(Text("Too late.")))
    perform, lost = scene.memory.perform, [0]

    def losing(request: Request) -> Any:
        answer = perform(request)
        if isinstance(request, Commit) and request.document is not None and b'"window"' in request.document:
            lost[0] += 1
            return perform(request)
        return answer

    scene.memory.perform = losing  # type: ignore[method-assign]  # the store answers each commit twice
    scene.after(2 * DAY)
    assert lost[0] == 1
    assert len(scene.stored.outbox) == 1
    scene.one.close()


def test_templates_with_other_parameters_are_refused():
    """A template takes parameters of its text only, and what is no template, no end or no window is refused."""
    with pytest.raises(FlowError, match="takes 'seat'"):
        Text("seat.free", row=7, templates={"whatsapp": TextTemplate("seat_free", ("row", "seat"))})
    wrong: list[Any] = [{"templates": {"whatsapp": "seat_free"}}, {"templates": ["seat_free"]}, {"holds": 7}]
    wrong.append({"holds": timedelta()})
    for given in wrong:
        with pytest.raises(FlowError, match="give"):
            Text("seat.free", **given)
    templates: list[Any] = [("", (), ("en",)), ("a", "row", ("en",)), ("a", (), ()), ("a", (), ("",))]
    for template in templates:
        with pytest.raises(FlowError, match="give"):
            TextTemplate(*template)
    flow: Flow[NoData] = Flow("a", initial="a", states=[State("a", final=True)], transitions=[])
    windows: list[Any] = [{"pigeon": DAY}, {"whatsapp": -1.0}, [DAY]]
    for each in windows:
        with pytest.raises(FlowError):
            Bot(flow, windows=each)


def test_each_kind_of_reply_with_words_has_a_template():
    """The template of a question or a file is that of its words, and its parameters are written as in the words."""
    price = Text("x", price=Money(Decimal("2.50"), "USD"), templates={"whatsapp": TextTemplate("price", ("price",))})
    bot = seat(FREE)
    replies = bot.say([Buttons(price, ()), Media("image", "https://example.org/a.png", price), Text("y")], {}, CHANNEL)
    made = as_templates(replies, "whatsapp", "en")
    assert [getattr(each, "params", None) for each in made[:2]] == [("2.50 USD",), ("2.50 USD",)]
    assert made[2] == replies[2]
    assert as_templates(replies, "telegram", "en") == replies


def test_a_late_text_is_stored_with_its_templates():
    """What is kept of a text has its templates and its end, and is read back as the same text."""
    texts = [FREE, Text("a", holds=timedelta(hours=2)), Text("a", b=1, holds=timedelta(seconds=1))]
    texts += [Text("a", templates={"sms": TextTemplate("b")})]
    assert replies_from_raw(replies_to_keep(texts)) == tuple(texts)


def thanks(_: Turn[Any], fact: Reacted) -> Text:
    """Thank for a reaction, with a template if it has an emoji."""
    return Text("Thanks.", templates={"whatsapp": TextTemplate("thanks")} if fact.emoji else {})


@KINDS
@pytest.mark.parametrize(("emoji", "sent"), [("", []), ("x", ["thanks"])])
def test_words_about_a_late_fact_are_late_words(late: Any, emoji: str, sent: list[str]):
    """Outside the window the reaction to a fact goes as its template by a worker, and else it is held."""
    scene = late(seat(Text("Free."), on={Reacted: thanks}))
    scene.record(scene.one)
    scene.at += DAY
    outcome = scene.one.do("handle_event", Reacted(id="r", channel=CHANNEL, message_id="m", emoji=emoji))
    assert (outcome.status, outcome.sent, scene.post.sent) == ("advanced", False, [])
    scene.one.wake(scene.outcome.member_id)
    assert [reply.name for reply in scene.post.sent if isinstance(reply, Template)] == sent
    assert len(scene.post.sent) == len(sent)
    assert [waiting.rest for waiting in scene.stored.outbox] == ([] if sent else ["window"])


@KINDS
def test_words_about_a_fact_go_where_it_was_told(kind: Kind):
    """A member who was heard on another channel since is answered on the channel of the fact, as the outcome says."""

    def login(turn: Turn[NoData]) -> Any:
        return turn.changes(member=attrs.evolve(turn.member, id="m-ann", guest=False))

    flow: Flow[NoData] = Flow(
        "greet", initial="name",
        states=[State("name", ask=Text("Name?"), reads=str), State("end", final=True)],
        transitions=[Transition("answer", "name", "end", prepare=login)],
    )  # fmt: skip
    scene, places = Scene(kind, Bot(flow, on={Reacted: lambda turn, fact: Text("Thanks.")})), list[str]()

    def take(channel: Channel, replies: Sequence[Reply]) -> Sent:
        places.append(channel.type)
        return Sent()

    with scene.shell(senders={"whatsapp": take, "telegram": take}) as shell:
        for channel in (CHANNEL, Channel("telegram", "5")):
            for text in ("hi", "ann"):
                shell.handle(Message(channel, f"{channel.type}-{text}", text))
        places.clear()
        outcome = shell.do("handle_event", Reacted(id="r", channel=CHANNEL, message_id="m", emoji="x"))
    assert (outcome.member_id, outcome.sent, outcome.channel, places) == ("m-ann", True, CHANNEL, ["whatsapp"])


@KINDS
@pytest.mark.parametrize("account", ["", "15550001111"])
def test_the_window_of_a_named_address_is_its_own(kind: Kind, account: str):
    """Words for an address go while its own window is open, wherever the member was heard since, with any account."""

    def login(turn: Turn[NoData]) -> Any:
        return turn.changes(member=attrs.evolve(turn.member, id="m-ann", guest=False))

    flow: Flow[NoData] = Flow(
        "greet", initial="name",
        states=[State("name", ask=Text("Name?"), reads=str), State("rest", ask=Text("Rest?"))],
        transitions=[Transition("answer", "name", "rest", prepare=login), Transition("again", "rest", "name")],
    )  # fmt: skip
    scene, post = Scene(kind, Bot(flow, session=30 * DAY, accounts="shared")), Post()
    with scene.shell(senders={"whatsapp": post, "telegram": post}, cache=0) as shell:
        for channel in (CHANNEL.with_account(account), Channel("telegram", "5")):
            for text in ("hi", "ann"):
                shell.handle(Message(channel, f"{channel.type}-{text}", text))
        post.sent.clear()
        assert shell.do("tell", CHANNEL, "News.", key="1").held == ""
        assert [str(reply) for reply in post.sent] == ["News."]
        scene.at += 2 * DAY
        assert shell.do("tell", CHANNEL, "More.", key="2").held == "window"


@pytest.mark.embedded
def test_a_worker_on_a_server_sends_a_template_and_holds_the_rest(valkey_url: str):
    """A worker finds a timer that is late for the window: its template goes, and the question waits for a message."""
    sent, came = list[Reply](), threading.Event()

    def send(channel: Channel, replies: Sequence[Reply]) -> Sent:
        sent.extend(replies)
        if any(isinstance(reply, Template) for reply in replies):
            came.set()
        return Sent()

    bot = seat(FREE, after=0.2, asks=Text("Which one?"), windows={"whatsapp": 1.0})  # it is over at once
    with FlowStateManager.from_url(valkey_url, bot, senders={"whatsapp": send}) as manager:
        member = manager.handle(said("hi")).member_id
        worker = Worker(manager)
        thread = threading.Thread(target=worker.run)
        thread.start()
        assert came.wait(60)
        worker.stop()
        thread.join()
        assert [type(reply) for reply in sent] == [Buttons, Template]
        state = manager.state(member)
        assert state is not None
        assert [(waiting.rest, waiting.leased_until) for waiting in state.outbox if waiting.rest] == [("window", None)]
        assert "Which one?" in [reply.text for reply in manager.handle(said("again")).replies]
