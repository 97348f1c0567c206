"""The reference of findings has each code, with an example that gives just this finding."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.check.reference import CAUSES, PAGE, page
from tests.cli_runs import run
from vimbiso_fsm.check.codes import ALL


def test_the_page_has_each_code() -> None:
    """Each code has a cause; the page is written by `python -m tests.check.reference`."""
    assert CAUSES.keys() == ALL
    assert PAGE.read_text(encoding="utf-8") == page()


UNUSED = """
from vimbiso_fsm import Bot, Flow, State, Text, Transition, Turn


def named(turn: Turn) -> bool:
    return True


def forgotten(turn: Turn) -> bool:
    return False


ask = Flow(
    "ask", initial="a",
    states=[State("a", ask=Text("Well?")), State("b", say=Text("Bye."), final=True)],
    transitions=[Transition("go", "a", "b", conditions=named)],
)
bot = Bot(ask, texts={"ask.a.go": "Go"})
"""


def test_a_callback_that_no_flow_names_is_advice(tmp_path: Path) -> None:
    """A function of a turn that nothing in the package names is found in its line."""
    (tmp_path / "unused_flows.py").write_text(UNUSED, encoding="utf-8")
    code, out, _ = run("check", "unused_flows", cwd=tmp_path)
    lines = [line for line in out.splitlines() if "callback-unused" in line]
    assert code == 0
    (line,) = lines
    assert line.startswith(
        "unused_flows.py:9: callback-unused: 'forgotten' takes a turn, and no flow names it; name it"
    )
    assert "unused_flows" not in sys.modules
