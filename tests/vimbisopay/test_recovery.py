"""Damaged documents of VimbisoPay: a member can always continue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.credex_core import Dashboard
from tests.places import PLACES, Place
from tests.strategies import json_values
from tests.vimbisopay.test_flows import ALAN, Talk
from vimbiso_fsm import InvalidState
from vimbiso_fsm.document.codec import document_to_raw
from vimbiso_fsm.document.json_codec import dumps
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.runtime.flow_state import FlowStateManager

WRONG: list[Any] = [None, 7, -1.5, "x", [], {}, True, [1], {"x": "y"}]
STANDING = [name for name, place in PLACES.items() if place.phone == ALAN and place.fault is None]


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path of each value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, held in inner:
        yield (*above, name)
        yield from paths(held, (*above, name))


def arrived(place: Place) -> Talk:
    """Return a conversation with Alan at one of his questions."""
    talk = Talk(place.phone)
    talk.say(*place.words)
    return talk


def spoil(talk: Talk, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the stored profile directly in the store."""
    document = talk.outcome.state
    member = talk.store._members[document.member_id]
    assert member.state is not None
    raw = json.loads(dumps(document_to_raw(document)))
    change(raw["profile"])
    member.state = type(member.state)(member.state.head, dumps(raw))
    talk.manager = FlowStateManager(flows.bot, talk.store, services={"credex_core": talk.core})


def goes_on(talk: Talk) -> None:
    """Check that the member gets a reply, keeps undamaged data and reaches the dashboard with a greeting."""
    before, calls = talk.outcome.state, len(talk.core.calls)
    talk.say("help")
    if talk.outcome.state.call is not None:  # it was on its way in the document before, and is taken up again
        talk.at[0] += 31
        talk.say("help")
    assert talk.outcome.status in ("advanced", "recovered"), talk.said
    assert talk.said
    after = talk.outcome.state
    for name in ("member_id", "channel", "jwt_token", "authenticated", "current_account"):
        assert getattr(after, name) == getattr(before, name), name
    assert not [call for call in talk.core.calls[calls:] if call.name not in ("login", "getLedger")]
    talk.say("menu")
    talk.say(*["no"] * (talk.place == "carry_on.offered"))
    assert talk.place == "dashboard.menu"
    structure(dict(talk.outcome.state.profile), Dashboard)
    talk.core.check_conservation()


def changed(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that replaces one value of a profile."""

    def change(profile: dict[str, Any]) -> None:
        holder: Any = profile
        for name in path[:-1]:
            holder = holder[name]
        holder[path[-1]] = value

    return change


@pytest.mark.parametrize("place", STANDING)
def test_a_profile_that_holds_something_else(place: str) -> None:
    """A profile with one value of another kind is restored, or the value does no harm."""
    whole = json.loads(dumps(dict(arrived(PLACES[place]).outcome.state.profile)))
    for number, path in enumerate(paths(whole)):
        talk = arrived(PLACES[place])
        spoil(talk, changed(path, WRONG[number % len(WRONG)]))
        goes_on(talk)
        assert talk.outcome.state.profile["firstname"] == "Alan"


@pytest.mark.parametrize("place", STANDING)
def test_a_profile_with_an_instant_without_a_zone(place: str) -> None:
    """An instant without a time zone is refused by an operator's update, and repaired where it is stored."""
    talk = arrived(PLACES[place])
    member, told = talk.outcome.state.member_id, "2026-01-01T00:00:00"
    with pytest.raises(InvalidState, match="profile is no Dashboard"):
        talk.manager.update(member, lambda found: attrs.evolve(found, profile={**found.profile, "told": told}))
    spoil(talk, changed(("told",), told))
    goes_on(talk)


@given(st.sampled_from(STANDING), st.data(), json_values)
def test_a_profile_that_holds_anything(place: str, data: st.DataObject, value: Any) -> None:
    """A profile with any JSON value at any place is restored; a text in place of a text stays."""
    talk = arrived(PLACES[place])
    where = list(paths(json.loads(dumps(dict(talk.outcome.state.profile)))))
    spoil(talk, changed(data.draw(st.sampled_from(where)), value))
    goes_on(talk)
