"""The verbs of a conversation, and what it shows."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from tests.bots import TEXTS, Bank, Order, fruit_bot
from vimbiso_fsm import Bot, Call, Caller, Flow, Member, Refused, State, Text, Transition, Turn, call
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.testing import Conversation

bot = fruit_bot()
ADA: Member[Any] = Member("ada", guest=False, authenticated=True, jwt_token="token-1", profile={"name": "Ada"})


def at_confirm(services: Any = None) -> Conversation:
    """A conversation that has come to the confirmation of an order."""
    talk = Conversation(bot, member=ADA, services=services)
    return talk.say("hi", "buy", "vip", "apple")


def test_a_conversation_shows_where_it_stands() -> None:
    """Place, data, words, choices, status, document and audit are those of the latest turn."""
    talk = at_confirm()
    assert talk.place == "order.confirm"
    assert talk.data == Order(name="vip", fruit="apple", visits=1)
    assert talk.said.splitlines()[-1] == "apple for vip?"
    assert list(talk.shown) == ["Yes please", "No", "As a gift", "Express"]
    assert talk.status == "advanced"
    assert talk.member_id == talk.state.member_id == "ada"
    assert talk.entries[-1].version == talk.state.version
    assert [call.method for call in talk.calls] == []


def test_nothing_was_said_yet() -> None:
    """Before the first message there is no place, no word and nothing to repeat."""
    talk = Conversation(bot)
    assert (talk.place, talk.said, talk.heard, talk.status, talk.shown) == ("", "", "", "", {})
    with pytest.raises(AssertionError, match="nothing was said"):
        talk.again()


def test_a_message_that_is_delivered_again_calls_nothing() -> None:
    """`again` gives the same replies, and no service is called."""
    talk = at_confirm().press("Yes please")
    said = talk.said
    assert [(call.service, call.method, dict(call.arguments)) for call in talk.calls] == [
        ("bank", "pay", {"name": "vip", "fruit": "apple"})
    ]
    talk.again()
    assert (talk.said, len(talk.calls), talk.status) == (said, 1, "duplicate")


class Till:
    """A service."""

    def pay(self) -> str:
        """Pay."""
        return "receipt-1"


def paying(turn: Turn[Any]) -> Call[str]:
    """Propose to pay."""
    return call(Till.pay)


def test_buttons_of_words_that_were_delivered_can_be_pressed() -> None:
    """They are shown beside those of the reply, also if a worker has delivered them during the verb."""
    paid: Flow[Any] = Flow(
        "paid", initial="ready",
        states=[
            State("ready", ask=Text("Ready?")), State("paying", call=paying),
            State("thanks", ask=Text("Say thanks."), reads=str, timeout=1),
            State("late", ask=Text("Are you there?")), State("over", say=Text("Bye."), final=True),
        ],
        transitions=[
            Transition("yes", "ready", "paying"), Transition("no", "ready", "over"),
            Transition(["done", "failed"], "paying", "thanks"), Transition("answer", "thanks", "over"),
            Transition("timeout", "thanks", "late"), Transition(["here", "gone"], "late", "over"),
        ],
    )  # fmt: skip
    titles = {"paid.ready.yes": "Yes", "paid.ready.no": "No", "paid.late.here": "Here", "paid.late.gone": "Gone"}
    talk = Conversation(Bot(paid, texts=titles, services={"till": Till()})).say("hi")
    assert talk.press("Yes").wait(seconds=1).press("Here").said == "Bye."
    talk = Conversation(Bot(paid, texts=titles, services={"till": Till()})).say("hi").dies().press("Yes")
    assert "Are you there?" in talk.heard
    assert talk.press("Here").said == "Bye."


def test_the_test_names_an_answer() -> None:
    """`answers` replaces the next answers of a method; then the service answers again."""
    talk = at_confirm().answers(Bank.pay, Refused("pay.down"), TimeoutError("the bank is slow"))
    talk.press("Yes please")
    assert (talk.place, "pay.down" in talk.said) == ("order.confirm", True)
    talk.press("Yes please")
    assert talk.place == "order.paying"
    talk.wait()
    assert talk.place == "home.menu"
    assert [type(call.answer) for call in talk.calls] == [Refused, TimeoutError, str]
    assert talk.calls[1].key == talk.calls[2].key != talk.calls[0].key
    assert "Paid: receipt-1" in talk.heard


def test_time_fires_timers_and_ends_the_session() -> None:
    """`wait` fires what is due on the way, in order; without a span it goes to the next due instant."""
    talk = at_confirm()
    assert talk.wait(seconds=59).heard == ""
    assert talk.place == "order.confirm"
    began = talk.now
    assert "Too slow." in talk.wait(seconds=1).heard
    assert (talk.now - began).total_seconds() == 1
    assert talk.wait(hours=1).place == ""
    assert "Too slow." in at_confirm().wait().heard
    assert at_confirm().wait(days=1).place == ""


def test_waiting_passes_over_what_was_done_before_it_was_due() -> None:
    """The call has left a wake-up for a worker that takes it over; nothing is to be done then."""
    talk = at_confirm().press("Yes please")
    paid, began = talk.entries[-1].version, talk.now
    talk.wait()
    assert talk.entries[-1].version > paid
    assert (talk.now - began).total_seconds() == 300
    assert "* 300 seconds pass" in talk.transcript
    assert talk.wait(days=400).wait().wait().place == ""


def test_a_worker_dies_between_commit_and_reply() -> None:
    """The message is delivered again, another worker takes the call up, and the effect happens once."""
    talk = at_confirm().dies().press("Yes please")
    assert "Paid: receipt-1" in talk.said
    assert [call.method for call in talk.calls] == ["pay"]
    assert talk.place == "home.menu"
    assert talk.say("buy").place == "order.name"


def test_faults_are_played_again() -> None:
    """A lost reply, a death and a repeated message have their effect again when the transcript is played."""
    talk = at_confirm().loses().press("Yes please").again().say("buy").dies().say("vip")
    assert [call.method for call in talk.calls] == ["pay"]
    played = at_confirm().play(talk.transcript.split("= order.confirm")[1].partition("\n")[2])
    assert played.transcript == talk.transcript
    assert "* the reply to the commit is lost" in talk.transcript


def test_a_press_of_an_unknown_title_names_the_choices() -> None:
    """The failure of a press has the near title, or all of them, and the transcript."""
    talk = at_confirm()
    with pytest.raises(AssertionError, match="did you mean 'Yes please'") as raised:
        talk.press("Yes pleas")
    assert "> vip" in str(raised.value)
    with pytest.raises(AssertionError, match="there are 'Yes please', 'No'"):
        talk.press("Whatever")


def test_the_services_of_the_bot_are_copied() -> None:
    """A conversation leaves no trace in the services of the bot, and uses those that it is given as they are."""
    own = bot.services["bank"]
    assert isinstance(own, Bank)
    before = list(own.calls)
    talk = at_confirm().press("Yes please")
    assert own.calls == before
    copied = talk.services["bank"]
    assert isinstance(copied, Bank)
    assert len(copied.calls) == len(before) + 1
    given = Bank()
    at_confirm({"bank": given}).press("Yes please")
    assert len(given.calls) == 1


def test_a_transcript_is_a_script() -> None:
    """What was said can be played again, and gives the same transcript."""
    talk = at_confirm().press("No").wait(minutes=1).on("telegram:77").say("hi")
    again = Conversation(bot, member=ADA).play(talk.transcript.partition("\n")[2])
    assert again.transcript == talk.transcript
    assert "= order.confirm; name: vip; fruit: apple; visits: 1\n" in talk.transcript


def test_a_secret_is_masked_in_the_transcript() -> None:
    """The transcript shows the data of a run, but no secret of it."""
    talk = Conversation(bot, member=ADA).say("hi", "buy", "ada", "1234")
    places = [line for line in talk.transcript.splitlines() if line.startswith("=")]
    assert places[-1] == "= pick.list"
    assert not any("1234" in line for line in places)


class AsyncBank(Bank):
    """A bank whose methods are coroutines."""

    async def pay(self, name: str, fruit: str, *, caller: Caller = Caller()) -> str | Refused:  # type: ignore[override]  # noqa: B008
        await asyncio.sleep(0)
        return super().pay(name, fruit, caller=caller)


def test_async_services_are_awaited() -> None:
    """The same class talks to async services, also their exceptions are answers."""
    bank = AsyncBank()
    bank.script = [TimeoutError("slow")]
    talk = at_confirm({"bank": bank}).press("Yes please")
    assert talk.place == "order.paying"
    assert "Paid: receipt-2" in talk.wait().heard


@pytest.mark.asyncio
async def test_a_test_may_be_async_itself() -> None:
    """Inside a running loop, async services are awaited on another one."""
    assert "Paid: receipt-1" in at_confirm({"bank": AsyncBank()}).press("Yes please").said


def broken(turn: Turn[Order]) -> bool:
    """Raise, as a guard with a fault does."""
    return bool(1 // turn.data.visits)


def test_an_exception_of_the_bots_code_is_raised() -> None:
    """An exception of a callback is raised whole, with its place and the transcript as notes."""
    flow = Flow(
        "visit", data=Order, initial="ask",
        states=[State("ask", ask=Text("Which?"), reads=str, into="name"), State("end", final=True)],
        transitions=[Transition("answer", "ask", "end", conditions=broken)],
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError) as raised:
        Conversation(flow).say("hi", "one")
    place, transcript = raised.value.__notes__
    assert place == "It was raised in guard 'broken' of flow 'visit', state 'ask'."
    assert "> one" in transcript


def test_another_release_goes_on_with_the_member() -> None:
    """After `deploy`, another release of the bot goes on from the same store and with the same services."""
    talk = at_confirm()
    talk.deploy(attrs.evolve(bot, texts={**TEXTS, "order.dropped": "Never mind."}))
    talk.press("No")
    assert "Never mind." in talk.said
    assert talk.services["bank"] is talk.bot.services["bank"]


def test_a_message_may_be_of_any_kind() -> None:
    """`send` takes the fields of a message, and the transcript names its kind."""
    talk = at_confirm().send(kind="image").send(content=Location(-17.8, 31.0))
    assert "> (image)\n" in talk.transcript
    assert "> (location)\n" in talk.transcript


@pytest.mark.parametrize("who", ["263771234567", ""])
def test_a_channel_without_a_type_is_refused(who: str) -> None:
    """The error says how a channel is written."""
    with pytest.raises(ValueError, match="give 'type:identifier'"):
        Conversation(bot, who)


def test_a_package_names_its_bot() -> None:
    """A conversation takes the name of a package that exports a bot, and a bot of a single flow."""
    assert Conversation("flows").bot.home.name == "dashboard"
    assert isinstance(Conversation(bot).bot, Bot)
