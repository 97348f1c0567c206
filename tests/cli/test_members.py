"""`vimbiso members`, on a server: where members stand, and who is stuck."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from types import ModuleType

import pytest

from tests.cli_runs import embedded, invoke
from vimbiso_fsm import Bot, Channel, Flow, FlowStateManager, Message, NoData, Refused, State, Text, Transition, Turn
from vimbiso_fsm.cli.members import fits
from vimbiso_fsm.operations.members import Standing, Stuck
from vimbiso_fsm.store.redis_atomic import AtomicStateManager
from vimbiso_fsm.testing.chat import STORE_SECRET

pytestmark = [pytest.mark.embedded, embedded]


def never(turn: Turn[NoData]) -> bool | Refused:
    """Refuse each answer."""
    return Refused("seat.never")


def bot() -> Bot:
    """Return a bot with a question that refuses each text, and one that can be left."""
    states: list[State[NoData]] = [State("held", ask=Text("?"), reads=str), State("lost", ask=Text("."))]
    ways: list[Transition[NoData]] = [
        Transition("answer", "held", "lost", conditions=never),
        Transition("lose", "held", "lost"),
        Transition("hold", "lost", "held"),
    ]
    texts = {"en": {"seat.never": "Not now."}}
    return Bot([Flow("seat", initial="held", states=states, transitions=ways)], texts=texts)


@pytest.fixture
def store(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store with a member at `seat.held` who was refused three times, and two at `seat.lost`."""
    module = ModuleType("members_bot")
    module.bot = bot()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "members_bot", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("VIMBISO_SECRET", STORE_SECRET)
    with AtomicStateManager.from_url(valkey_url, secret=STORE_SECRET) as opened:
        manager = FlowStateManager(bot(), opened)
        for number, said in (("1", ("hi", "apple", "pear", "plum")), ("2", ("hi", "lose")), ("3", ("hi", "lose"))):
            for at, text in enumerate(said):
                manager.handle(Message(Channel("whatsapp", f"26377000000{number}"), f"{number}{at}", text))
        yield valkey_url


def listed(url: str, *words: str) -> list[dict[str, object]]:
    """Return the list as JSON."""
    code, out, err = invoke("members", "--flows", "members_bot", "--redis", url, "--json", *words)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_members_are_listed_with_their_place(store: str) -> None:
    """All members, those at a flow or a state, and those who are stuck, with the reason; none with a word of theirs."""
    assert len(listed(store)) == len(listed(store, "--at", "seat")) == 3
    assert {each["step"] for each in listed(store, "--at", "seat.lost")} == {"lost"}
    (stuck,) = listed(store, "--stuck")
    assert (stuck["flow"], stuck["step"], stuck["channel"]) == ("seat", "held", "whatsapp")
    assert stuck["stuck"] == [{"reason": "refused", "since": None, "times": 3, "what": ""}]
    assert datetime.fromisoformat(str(stuck["since"])).tzinfo
    code, out, _ = invoke("members", "--flows", "members_bot", "--redis", store, "--stuck")
    assert code == 0
    assert "seat.held" in out
    assert "refused 3 times in a row" in out
    assert "26377000000" not in out


def test_the_list_goes_on_where_it_ended(store: str) -> None:
    """A list that ends before the last member says how to go on; a cursor that was never told is refused."""
    code, _, err = invoke("members", "--flows", "members_bot", "--redis", store, "--cursor", "nowhere")
    assert code == 2
    assert "give the cursor as it was printed" in " ".join(err.replace("│", " ").split())
    assert listed(store, "--limit", "1")


@pytest.mark.parametrize(("at", "said"), [("seat.hled", "did you mean 'held'?"), ("saet", "did you mean 'seat'?")])
def test_a_misspelt_place_is_hinted_at(store: str, at: str, said: str) -> None:
    """A flow or a state that the bot never had is refused with the one that is probably meant."""
    code, _, err = invoke("members", "--flows", "members_bot", "--redis", store, "--at", at)
    assert code == 2
    assert said in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("place", "stuck", "fit"),
    [
        (None, False, True),
        (("a", ""), True, True),
        (("a", "x"), False, True),
        (("a", "y"), False, False),
        (("b", ""), False, False),
    ],
)
def test_who_fits(place: tuple[str, str] | None, stuck: bool, fit: bool) -> None:
    """Those who stand at the place fit, and of `--stuck` only those who are."""
    standing = Standing("m", "a", "x", stuck=(Stuck("call"),))
    assert fits(standing, place, stuck=stuck) is fit
    assert not fits(Standing("m", "a", "x"), place, stuck=True)
