"""Print figures of the package: its size, its use of `Any`, its import time, the completeness of its types.

    python -m tests.figures [CHECKOUT…]

Lines of code are lines with code on them: no docstrings, comments or blank lines. `Any` is counted per thousand lines
of text, imports included. The import time is the fastest of nine fresh processes, without the start of Python.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "vimbiso_fsm"
ROOT = Path(__file__).resolve().parent.parent
RUNS = 9
_TIMED = (
    "import sys, time; sys.path.insert(0, sys.argv[1]); began = time.perf_counter(); "
    f"import {PACKAGE}; print(time.perf_counter() - began, {PACKAGE}.__file__)"
)
_SILENT = frozenset(
    {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
        *(tokenize.ENCODING, tokenize.ENDMARKER),
    }
)


def lines_of_code(source: str) -> int:
    """Count the lines of a module that have code on them."""
    documented = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    reader = iter(source.splitlines(keepends=True)).__next__
    tokens = tokenize.generate_tokens(reader)
    coded = {line for token in tokens if token.type not in _SILENT for line in range(token.start[0], token.end[0] + 1)}
    return len(coded - documented)


def uses_of_any(source: str) -> int:
    """Count the places of a module that name `Any`, imports included, docstrings and comments not."""
    tokens = tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__)
    return sum(token.type == tokenize.NAME and token.string == "Any" for token in tokens)


def import_time(checkout: Path) -> float:
    """Time `import vimbiso_fsm` in fresh processes.

    Args:
        checkout: The folder that holds the package.

    Returns:
        The fastest time, in seconds.
    """
    times = []
    for _ in range(RUNS):
        command = [sys.executable, "-c", _TIMED, str(checkout)]
        seconds, file = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(maxsplit=1)
        if not Path(file.strip()).is_relative_to(checkout):
            raise RuntimeError(f"{file.strip()} was imported, which is not in {checkout}")
        times.append(float(seconds))
    return min(times)


def completeness(checkout: Path) -> float:
    """Measure the types of the public names with `pyright --verifytypes`.

    Args:
        checkout: The folder that holds the package.

    Returns:
        The share of public symbols with a known type, from 0 to 1.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", PACKAGE, "--ignoreexternal", "--outputjson"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,  # an incomplete package makes the exit code 1
    )
    report = json.loads(done.stdout)["typeCompleteness"]
    if not Path(report["packageRootDirectory"]).is_relative_to(checkout):
        raise RuntimeError(f"pyright looked at {report['packageRootDirectory']}, which is not in {checkout}")
    return float(report["completenessScore"])


def lines(checkout: Path) -> Iterator[str]:
    """Yield the report."""
    sources = [file.read_text(encoding="utf-8") for file in sorted((checkout / PACKAGE).rglob("*.py"))]
    code = sum(map(lines_of_code, sources))
    text = sum(len(source.splitlines()) for source in sources)
    anys = sum(map(uses_of_any, sources))
    yield f"lines of code          {code:>8}"
    yield f"lines of text          {text:>8}"
    yield f"Any                    {anys:>8}"
    yield f"Any per 1000 of them   {1000 * anys / text:>8.1f}"
    yield f"import time, ms        {1000 * import_time(checkout):>8.1f}"
    yield f"types complete, %      {100 * completeness(checkout):>8.1f}"


def main(checkouts: list[str]) -> None:
    """Print the figures of each checkout, or of this one."""
    for place, checkout in enumerate(map(Path, checkouts or [str(ROOT)])):
        print(f"{chr(10) if place else ''}{PACKAGE} in {checkout}", flush=True)
        for line in lines(checkout.resolve()):
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
