"""`vimbiso tail`, on a server: turns as they happen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.cli_runs import embedded, invoke
from tests.engines import Server
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, NoData, State, Text, Transition
from vimbiso_fsm.cli import tail
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

pytestmark = [pytest.mark.embedded, embedded]

PIN = "4711-canary"


def bot() -> Bot:
    """Return a bot with two flows, which ask for a PIN."""
    ask: State[NoData] = State("ask", ask=Text("Your PIN?"), reads=str)
    known: State[NoData] = State("known", ask=Text("Thank you."))
    ways: list[Transition[NoData]] = [Transition("answer", "ask", "known"), Transition("again", "known", "ask")]
    return Bot([Flow("seat", initial="ask", states=[ask, known], transitions=ways)])


class Night:
    """A store, a bot at it, and what happens between the looks of the command."""

    def __init__(self, server: Server, patch: pytest.MonkeyPatch) -> None:
        self.url = server.url
        self.store = AtomicStateManager.from_url(server.url, secret=STORE_SECRET)
        self.manager = FlowStateManager(bot(), self.store)
        self._patch, self._numbers = patch, iter(range(10_000))

    def say(self, text: str, number: str = "263771234567") -> str:
        """Let a member say something; return their id."""
        message = Message(Channel("whatsapp", number), f"m{next(self._numbers)}", text)
        return self.manager.handle(message).state.member_id

    def tail(self, *words: str, happens: Iterator[Callable[[], object]]) -> tuple[int, str, str]:
        """Run the command until nothing happens any more."""

        def wait(_: float) -> None:
            then = next(happens, None)
            if then is None:
                raise KeyboardInterrupt
            then()

        self._patch.setattr(tail, "wait", wait)
        code, out, err = invoke("tail", "--redis", self.url, *words)
        lines = [line for line in out.splitlines() if '"menu"' not in line and "(menu)" not in line]
        return code, "\n".join(lines), err


@pytest.fixture
def night(valkey_url: str, valkey_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """An empty store."""
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)
    found = Night(valkey_server, monkeypatch)
    with found.store:
        yield found


def nothing() -> None:
    """Let nothing happen until the next look."""


def test_turns_are_printed_as_they_happen(night: Night) -> None:
    """Each turn after the beginning is one line, in order, without what the member said; Ctrl-C ends it."""
    member = night.say("hi")
    happens = iter([lambda: night.say(PIN), nothing, lambda: night.say("again")])
    code, out, err = night.tail(happens=happens)
    assert (code, err) == (130, "")
    first, second = out.splitlines()
    assert f" {member} whatsapp transition advanced seat ask → known (answer)" in first
    assert f" {member} whatsapp transition advanced seat known → ask (again)" in second
    assert PIN not in out
    assert "263771234567" not in out


def test_turns_of_one_member_or_flow(night: Night) -> None:
    """`--member` and `--flow` select turns; with `--json`, each is a whole entry."""
    member, _ = night.say("hi"), night.say("hi", "263779999999")

    def both() -> None:
        for number in ("263771234567", "263779999999"):
            night.say(PIN, number)

    code, out, _ = night.tail("--member", "whatsapp:+263771234567", "--json", happens=iter([both]))
    assert code == 130
    (entry,) = map(json.loads, out.splitlines())
    assert (entry["member_id"], entry["trigger"]) == (member, "answer")
    assert PIN not in out
    assert night.tail("--flow", "other", happens=iter([lambda: night.say("again")]))[1] == ""


def test_more_turns_than_one_look_reads_are_all_printed(night: Night) -> None:
    """If a member has talked more than one look reads, the entries in between are read too."""

    def talk() -> None:
        for number in range(2 * tail.LATEST):
            night.say("again" if number % 2 else PIN)

    night.say("hi")
    assert len(night.tail("--reads", "2", happens=iter([talk]))[1].splitlines()) == 2 * tail.LATEST


def test_it_goes_on_when_the_store_answers_again(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store does not answer, it is said once; then the turns of meanwhile are printed."""
    from vimbiso_fsm.errors import StoreUnavailable

    night.say("hi")
    perform, down = AtomicStateManager.perform, [False]

    def performed(store: AtomicStateManager, request: object) -> object:
        if down[0]:
            raise StoreUnavailable("it is restarted")
        return perform(store, request)  # type: ignore[arg-type]

    def goes() -> None:
        night.say(PIN)
        down[0] = True

    monkeypatch.setattr(AtomicStateManager, "perform", performed)
    code, out, err = night.tail(happens=iter([goes, nothing, nothing, lambda: down.__setitem__(0, False)]))
    assert code == 130
    assert len(out.splitlines()) == 1
    assert err.count("it is restarted") == 1


def test_it_says_how_soon_a_silent_member_is_looked_at(night: Night) -> None:
    """With more members than one look reads, it says within which time each is looked at."""
    for number in range(5):
        night.say("hi", f"26377000000{number}")
    code, _, err = night.tail("--reads", "2", "--every", "3", happens=iter([nothing, nothing]))
    assert (code, err) == (130, "each member is looked at within 15 s, and in each look while they talk\n")


@pytest.mark.parametrize(("given", "said"), [("saet", "did you mean 'seat'?"), ("seat", "")])
def test_a_flow_that_is_misspelt(night: Night, given: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that the bot never had is refused with the one that is probably meant."""
    module = ModuleType("tail_bot")
    module.bot = bot()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tail_bot", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    code, _, err = night.tail("--flow", given, "--flows", "tail_bot", happens=iter(()))
    assert code == (2 if said else 130)
    assert said in " ".join(err.replace("│", " ").split())
