"""What imports what: the core is pure, and three libraries stay behind one door each."""

# ruff: noqa: E501  # tables read best unwrapped

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vimbiso_fsm

PACKAGE = Path(vimbiso_fsm.__file__).parent
CORE = (
    "messages", "state", "codec", "state_validator", "turn", "tokens", "answers", "locales", "texts", "fitting", "flow", "machine", "commands", "question", "bot",
    "conversation", "hearing", "decision", "moving", "recovery", "update", "legacy", "converting", "turns", "exchange", "waking", "flow_audit", "store", "errors", "doctor", "versions", "check", "wording",
    "work", "reading", "operators",
)  # fmt: skip
IMPURE = {"redis", "asyncio", "time", "random", "logging"}
DOORS = {
    "babel": {"locales.py"},
    "transitions": {"machine.py"},
    "cattrs": {"codec.py"},
    "jwt": {"tokens.py"},
    "hiredis": {"pipelines.py"},
    "orjson": {"codec.py"},
    "redis": {"redis_atomic.py", "connecting.py", "connections.py", "pipelines.py", "embedded.py", "nodes.py"},
}


def imported(path: Path) -> Iterator[str]:
    """The top-level packages a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("module", CORE)
def test_the_core_is_pure(module: str):
    """No core module names redis, asyncio, time, random or logging."""
    assert not IMPURE & set(imported(PACKAGE / f"{module}.py"))


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_its_door(library: str):
    """`transitions`, `cattrs` and `redis` are imported in their modules only."""
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if library in set(imported(path))}
    assert found <= DOORS[library]
    assert found


def test_importing_loads_neither_redis_nor_asyncio():
    """`import vimbiso_fsm` is cheap and needs no server's client."""
    code = "import sys, vimbiso_fsm; print(sorted({'redis', 'asyncio', 'hiredis'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    """Every name of `__all__` can be imported."""
    assert all(hasattr(vimbiso_fsm, name) for name in vimbiso_fsm.__all__)
    assert sorted(vimbiso_fsm.__all__) == sorted(set(vimbiso_fsm.__all__))
