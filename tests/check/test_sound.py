"""Nothing is found in a correct flow: a false alarm is a defect."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from tests.check.declared import sound
from tests.check.test_broken import within_home
from vimbiso_fsm import Bot, Flow
from vimbiso_fsm.check.findings import findings

CASES = [
    each
    for name, each in vars(sound).items()
    if inspect.isfunction(each) and each.__module__ == sound.__name__ and name != "one"
]
EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_nothing_is_found_in_an_unusual_flow(make: Callable[[], Any]) -> None:
    """A correct flow has no finding, and no advice."""
    made = make()
    found = findings(made if isinstance(made, Bot) else within_home(made))
    lines, first = inspect.getsourcelines(make)
    own = [each for each in found if each.code != "silencer-unused" or first <= each.line < first + len(lines)]
    assert [str(each) for each in own] == []


def test_there_are_enough_cases() -> None:
    """The unusual flows are at least twenty."""
    assert len(CASES) >= 20


def test_nothing_is_found_in_vimbisopay() -> None:
    """The flows of the repository have no finding."""
    assert [str(each) for each in findings(flows.bot)] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_is_found_in_the_examples(path: Path) -> None:
    """The examples have no finding; of an example without a bot, its flows have none."""
    if path.stem == "aiogram_bot":
        pytest.importorskip("aiogram")
    values = runpy.run_path(str(path), run_name="example")
    bots = [value for value in values.values() if isinstance(value, Bot)]
    if not bots:
        bots = [within_home(value) for value in values.values() if isinstance(value, Flow)]
    assert [str(each) for bot in bots for each in findings(bot)] == []
