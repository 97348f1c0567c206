"""Nothing is found in a correct flow: a false alarm is a defect."""

from __future__ import annotations

import inspect
import runpy
import subprocess
import sys
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
ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LIBRARIES = {
    "aiogram_bot": "aiogram",
    "django_bot": "django",
    "fastapi_bot": "fastapi",
    "ptb_bot": "telegram",
    "pywa_bot": "pywa",
}
"""The library that an example is for, by the name of its file."""


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
    if path.stem in LIBRARIES:
        pytest.importorskip(LIBRARIES[path.stem])
    if path.stem == "django_bot":  # its settings are those of a whole process
        code = "import django.conf, sys; django.conf.settings.configure(); import tests.check.test_sound as test"
        code += "; print(test.found_in_example(sys.argv[1]))"
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout.strip() == "[]"
        return
    assert found_in_example(path) == []


def found_in_example(path: str | Path) -> list[str]:
    """Return what is found in the bots of an example, or in its flows."""
    values = runpy.run_path(str(path), run_name="example")
    bots = [value for value in values.values() if isinstance(value, Bot)]
    if not bots:
        bots = [within_home(value) for value in values.values() if isinstance(value, Flow)]
    return [str(each) for bot in bots for each in findings(bot)]
