"""Broken flows of other domains: each fault is found in its line and with its code, and nothing beside it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.check.declared import clinic, courier, hotel, library, walked
from vimbiso_fsm import Bot, Flow, FlowError, State, Text, Transition
from vimbiso_fsm.check.codes import ALL
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.findings import findings
from vimbiso_fsm.testing import walk

_MARK = re.compile(r"# HERE (?P<codes>[a-z, -]+)$")


def cases(module: ModuleType) -> list[Callable[[], Any]]:
    """Return the functions of a module that make a broken flow: those whose own lines have a mark."""
    made = [each for each in vars(module).values() if inspect.isfunction(each) and each.__module__ == module.__name__]
    return [each for each in made if marks(each)]


def marks(make: Callable[[], Any]) -> set[tuple[int, str]]:
    """Return the lines and the codes that the source of a function marks."""
    lines, first = inspect.getsourcelines(make)
    found = ((first + number, _MARK.search(line.rstrip())) for number, line in enumerate(lines))
    return {(line, code.strip()) for line, match in found if match for code in match["codes"].split(",")}


def within_home(flow: Flow[Any]) -> Bot:
    """Return a bot whose home runs the flow, with a title for each button."""
    home: Flow[Any] = Flow(
        "home",
        initial="menu",
        states=[State("menu", ask=Text("Well?")), State("running", flow=flow)],
        transitions=[Transition("go", "menu", "running"), Transition(["done", "cancelled"], "running", "menu")],
    )
    titles = {
        f"{each.name}.{state}.{trigger}": trigger.replace("_", " ")
        for each in (home, flow)
        for state, triggers in each.buttons.items()
        for trigger in triggers
    }
    return Bot(home, texts=titles)


def found_in(make: Callable[[], Any]) -> list[Finding]:
    """Return what is found in a flow or a bot, also if it is refused when it is made."""
    try:
        made = make()
        return list(findings(made if isinstance(made, Bot) else within_home(made)))
    except FlowError as error:
        return [Finding.of(fault) for fault in error.faults]


CASES = [each for module in (library, clinic, hotel, courier) for each in cases(module)]


@pytest.mark.parametrize("make", CASES, ids=lambda make: f"{make.__module__.rpartition('.')[2]}-{make.__name__}")
def test_each_fault_is_found_in_its_line(make: Callable[[], Any]) -> None:
    """What is found is what the source of the flow marks: the lines, the codes and no more."""
    found = found_in(make)
    lines, first = inspect.getsourcelines(make)
    own = [each for each in found if each.code not in ("silencer-unused", "silencer-without-reason")
           or first <= each.line < first + len(lines)]  # fmt: skip
    assert {(each.line, each.code) for each in own} == marks(make), "\n".join(map(str, found))
    assert {each.file for each in own} == {inspect.getsourcefile(make)}
    assert all(each.fault and each.code in ALL for each in own)


WALKED = cases(walked)


@pytest.mark.parametrize("make", WALKED, ids=lambda make: make.__name__)
def test_each_fault_that_a_walk_shows_is_found_in_its_line(make: Callable[[], Any]) -> None:
    """A walk finds what the source of the flow marks, and a check without a walk does not."""
    made = make()
    bot = made if isinstance(made, Bot) else within_home(made)
    own = [each for each in walk(bot, turns=400).findings if each.file == inspect.getsourcefile(make)]
    assert {(each.line, each.code) for each in own} == marks(make), "\n".join(map(str, own))
    assert not {code for _, code in marks(make)} & {each.code for each in findings(bot)}


def test_there_are_enough_cases() -> None:
    """The broken flows are at least sixty, of at least forty kinds."""
    assert len(CASES) >= 60
    assert len({code for make in CASES for _, code in marks(make)}) >= 40
