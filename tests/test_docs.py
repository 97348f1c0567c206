"""Every page is true: its Python runs, what it quotes stands in the code, what it prints is what is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"(?:<!-- from (?P<source>\S+) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


def _blocks(quoted: bool) -> Iterator[tuple[Path, str, str]]:
    for page in PAGES:
        for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            if bool(block["source"]) == quoted:
                yield page, block["source"] or "", block["code"]


def _names(blocks: list[tuple[Path, str, str]]) -> list[str]:
    return [f"{page.name}-{place}" for place, (page, _, _) in enumerate(blocks)]


RUN, QUOTED = list(_blocks(quoted=False)), list(_blocks(quoted=True))


@pytest.mark.parametrize(("page", "source", "code"), RUN, ids=_names(RUN))
def test_python_on_a_page_runs(page: Path, source: str, code: str, tmp_path: Path) -> None:
    """A block of Python runs as it stands, in a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}{source}: {done.stderr[-2000:]}"
    assert done.stdout
    shown = page.read_text(encoding="utf-8").partition(code)[2]
    printed = re.match(r"```\s+It prints:\s+```text\n(.*?)```", shown, re.DOTALL)
    assert printed is None or done.stdout.startswith(printed[1])


@pytest.mark.parametrize(("page", "source", "code"), QUOTED, ids=_names(QUOTED))
def test_quoted_code_stands_in_the_file(page: Path, source: str, code: str) -> None:
    """A block marked as quoted stands in the named file, piece by piece."""
    text = (ROOT / source).read_text(encoding="utf-8")
    for piece in code.strip().split("\n\n\n"):
        assert piece in text, f"{page.name} quotes what {source} does not say: {piece[:80]}"


def test_the_readme_shows_what_its_commands_print() -> None:
    """The conversation at the top of the README is printed as shown there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = re.search(r"^printf '(.*)' \| make -s chat$", readme, re.MULTILINE)
    shown = re.search(r"what they print: begin -->\n```text\n(.*?)```", readme, re.DOTALL)
    assert said
    assert shown
    done = subprocess.run(
        [sys.executable, "-m", "vimbiso_fsm.cli", "chat"],
        input=said[1].replace("\\n", "\n"),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == shown[1].strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project leads to a file that is there."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_guarantees_name_the_rows_that_try_to_break_them() -> None:
    """Each row of the fault suite stands behind a promise, and none is named that is not there."""
    from tests.faults.rows import ROWS

    page = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("**Rows**")]
    assert {name for line in lines for name in re.findall(r"`([a-z-]+)`", line)} <= set(ROWS)
    assert {name for name in ROWS if f"`{name}`" not in page} == set()
