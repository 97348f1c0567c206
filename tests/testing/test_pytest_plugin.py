"""The pytest plugin, in a project of its own and a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pytest_vimbiso
from vimbiso_fsm.audit.short_form import AuditStep
from vimbiso_fsm.testing.flow_coverage import Seen, end_recording, record, unrecorded
from vimbiso_fsm.testing.flow_session import FlowSession

ROOT = Path(pytest_vimbiso.__file__).parents[1]

FLOWS = """
import attrs
from vimbiso_fsm import Bot, Flow, Refused, State, Text, Transition, readers

@attrs.frozen
class Visit:
    day: str = ""

def open_then(turn):
    return turn.data.day != "sunday" or Refused("visit.closed")

bot = Bot([Flow(
    "visit", data=Visit, initial="day",
    states=[
        State("day", ask=Text("visit.day"), reads=readers.choice("friday", "sunday"), into="day"),
        State("sure", ask=Text("visit.sure")),
        State("booked", say=Text("visit.booked"), final=True),
        State("dropped", say=Text("visit.dropped"), final=True, cancels=True),
    ],
    transitions=[
        Transition("answer", "day", "sure", conditions=open_then),
        Transition("yes", "sure", "booked"),
        Transition("no", "sure", "dropped"),
    ],
)], texts={
    "visit.day": "Which day?", "visit.sure": "Sure?", "visit.booked": "Booked.", "visit.dropped": "Dropped.",
    "visit.closed": "We are closed then.", "visit.sure.yes": "Yes", "visit.sure.no": "No",
})
"""
TESTS = """
def test_a_visit(conversation):
    assert conversation("whatsapp:1").say("hi", "friday").place == "visit.sure"
    assert conversation().channel.type == "telegram"

def test_that_fails(conversation):
    assert conversation("whatsapp:1").say("hi", "sunday").place == "visit.sure"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one flow and two tests, one of which fails."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.vimbiso]\nflows = "clinic"\nwho = ["telegram:77"]\n[tool.pytest.ini_options]\n'
    )
    (tmp_path / "clinic.py").write_text(FLOWS)
    (tmp_path / "test_visit.py").write_text(TESTS)
    return tmp_path


def run(project: Path, *options: str) -> tuple[int, str]:
    """Run pytest in the project; return its exit status and what it printed."""
    command = [sys.executable, "-m", "pytest", "-p", "pytest_vimbiso", "-p", "no:cacheprovider", *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_flow_is_tested_without_a_line_of_test_code(project: Path) -> None:
    """The items appear, and approved walks are written and compared: another way is a difference, other words are not.

    A test that fails shows its transcript.
    """
    status, said = run(project, "-v", "-rs")
    assert status == 1
    for item in ("check PASSED", "walk PASSED", "approved SKIPPED", "faults SKIPPED"):
        assert f"flows::visit::{item}" in said
    assert "pytest --approve-walks writes visit.txt" in said
    assert "> sunday\n    We are closed then." in said
    assert "transitions 3/3  guards 1/1" in said
    passing = ("--deselect", "test_visit.py::test_that_fails", "-v")
    status, said = run(project, *passing, "--approve-walks")
    assert status == 0, said
    assert "flows::visit::faults PASSED" in said
    walk = (project / "tests/walks/visit.txt").read_text(encoding="utf-8")
    assert "> friday\n    = visit.sure; day\n    - visit: answer day -> sure\n" in walk
    assert "    x visit.closed\n" in walk
    assert "    [yes] [no]\n" in walk
    assert "Which day" not in walk
    changed = FLOWS.replace('"Booked."', '"It is yours."').replace('"yes", "sure", "booked"', '"yes", "sure", "end"')
    changed = changed.replace('"no", "sure", "dropped"', '"no", "sure", "booked"').replace('"end"', '"dropped"')
    (project / "clinic.py").write_text(changed)
    status, said = run(project, *passing, "-n2")
    assert status == 1
    assert "-    - visit: yes sure -> booked" in said
    assert "remove the file" not in said
    (project / "tests/walks/renamed.txt").write_text(walk, encoding="utf-8")
    status, said = run(project, *passing)
    assert "renamed.txt: the approved walk of no flow of the bot; remove the file" in said
    assert "+    - visit: yes sure -> dropped" in said
    assert "yours" not in said


def test_a_finding_fails_the_walk_and_coverage_is_a_gate(project: Path) -> None:
    """The item `walk` fails with the finding and its conversation; `--flow-coverage` fails the session."""
    (project / "clinic.py").write_text(FLOWS.replace("return turn", "return 1 // 0 and turn"))
    status, said = run(project, "-q", "-k", "walk", "--flow-coverage", "100")
    assert status == 1
    assert "guard-raises" in said
    assert "> friday" in said
    assert "--flow-coverage 100 is not reached" in said


def test_without_its_table_the_plugin_imports_nothing(tmp_path: Path) -> None:
    """A project without the table pays nothing: neither the library nor its items are there."""
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert not [name for name in sys.modules if name.startswith('vimbiso_fsm')]\n"
    )
    status, said = run(tmp_path, "-v")
    assert status == 0, said
    assert "flows::" not in said


def test_a_wrong_key_is_named() -> None:
    """An unknown key, or a missing one, ends the run with the keys that there are."""
    config: Any = None
    for table in ({"flow": "clinic"}, {"flows": "clinic", "whom": []}):
        with pytest.raises(pytest.UsageError, match="it takes flows, who, turns, walks"):
            FlowSession(config, table)


def test_flows_that_cannot_be_made_are_one_failure(project: Path) -> None:
    """An error of the package of the flows fails one item; a command that names tests does not even import it."""
    (project / "clinic.py").write_text("bot = 1 // 0")
    (project / "test_visit.py").write_text("def test_other(): pass")
    status, said = run(project, "-v")
    assert status == 1
    assert "flows::made FAILED" in said
    assert "1 failed, 1 passed" in said
    status, said = run(project, "test_visit.py::test_other")
    assert status == 0
    assert "1 passed" in said


def test_steps_are_recorded_until_the_end() -> None:
    """A step counts with its guards while steps are recorded, and not in a block that is unrecorded."""
    seen = Seen()
    with unrecorded():
        record(seen)
        AuditStep("visit", "r", "day", "sure", "answer", (("open_then", "accepted"), ("other", "refused x")), 1, "f")
        with unrecorded():
            AuditStep("visit", "r", "day", "sure", "answer")
        AuditStep("visit", "r", "", "day", "start")
        end_recording()
        AuditStep("visit", "r", "day", "sure", "answer")
    assert seen == {
        ("fired", "visit", "f", "day", "answer", "sure"): 1,
        ("yes", "visit", "f", "open_then"): 1,
        ("no", "visit", "f", "other"): 1,
    }
