"""The type checkers accept a correct flow, and reject a guard or a question of another flow."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "typing"
ROOT = HERE.parent.parent


def marked() -> set[int]:
    """Return the lines of `rejected.py` that must be rejected."""
    lines = (HERE / "rejected.py").read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def mypy(place: Path) -> dict[str, set[int]]:
    """Return the lines with errors by file, as `mypy --strict` reports them."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent", "--show-error-codes",
         "--config-file=", "--cache-dir", str(ROOT / ".mypy_cache" / "typing"), str(HERE / "accepted.py"), str(HERE / "rejected.py")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    found: dict[str, set[int]] = {}
    for line in done.stdout.splitlines():
        name, number, rest = line.split(":", 2)
        if " error:" in rest or rest.startswith(" error"):
            found.setdefault(Path(name).name, set()).add(int(number))
    return found


def pyright(place: Path) -> dict[str, set[int]]:
    """Return the lines with errors by file, as pyright reports them."""
    program = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which("pyright")
    if program is None:
        pytest.skip("pyright is not installed")
    # A project of its own: the repository's leaves these files out, for one of them is wrong on purpose.
    for name in ("accepted.py", "rejected.py"):
        shutil.copy(HERE / name, place / name)
    settings = {"extraPaths": [str(ROOT)], "pythonVersion": "3.11", "typeCheckingMode": "standard"}
    (place / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [program, "--outputjson", "--pythonpath", sys.executable, "--project", str(place)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    try:
        diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    except ValueError:
        pytest.skip("pyright cannot run here: " + (done.stderr or done.stdout)[-200:])
    found: dict[str, set[int]] = {}
    for diagnostic in diagnostics:
        if diagnostic["severity"] == "error":
            name = Path(diagnostic["file"]).name
            found.setdefault(name, set()).add(diagnostic["range"]["start"]["line"] + 1)
    return found


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_the_checkers_accept_and_reject_the_examples(checker, tmp_path):
    """The checkers accept the correct examples, and reject each marked line of the others and no other line."""
    found = checker(tmp_path)
    assert found.get("accepted.py", set()) == set()
    assert found.get("rejected.py", set()) == marked()
