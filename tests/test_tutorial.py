"""The tutorial runs as it stands: its files are written, its changes made, and its commands print what it shows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import httpx2
import pytest

from tests.cli_runs import embedded

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "tutorial" / "clinic-appointments.md"
_FILE: Final = re.compile(r"^\*\*(?P<path>\S+)\*\*$")
_SERVING: Final = re.compile(r"serving at (http://\S+)")


@attrs.frozen
class Block:
    """A block of the page, with the file that it is about, if it is a file or a change of one."""

    kind: str
    path: str
    text: str


def blocks() -> Iterator[Block]:
    """Yield the blocks of the page, in order."""
    path, kind, lines = "", "", list[str]()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            if kind:
                yield Block(kind, path, "".join(f"{each}\n" for each in lines))
            kind, lines = ("" if kind else line[3:]), []
        elif kind:
            lines.append(line)
        elif named := _FILE.match(line):
            path = named["path"].replace("\\", "")


def changed(text: str, change: str) -> str:
    """Return a text with a change: lines that stay (" "), go ("-") and come ("+")."""
    before = "".join(f"{line[1:]}\n" for line in change.splitlines() if not line.startswith("+"))
    after = "".join(f"{line[1:]}\n" for line in change.splitlines() if not line.startswith("-"))
    assert text.count(before) == 1, f"the change is of lines that the file does not have once:\n{change}"
    return text.replace(before, after)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console, each with what it shows."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def prints(shown: str, printed: str) -> bool:
    """Return whether a command has printed what the page shows, in which "…" stands for anything."""
    pattern = ".*".join(map(re.escape, shown.strip().split("…")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with the commands of this one, and with no other setting."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, module in (("vimbiso", "vimbiso_fsm.cli"), ("pytest", "pytest -W ignore -p no:cacheprovider")):
        plugin = " -p pytest_vimbiso" if name == "pytest" else ""
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module}{plugin} "$@"\n')
        script.chmod(0o755)
    path = os.pathsep.join([str(folder), "/usr/bin", "/bin"])
    return {
        "PATH": path,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }


@pytest.mark.embedded
@embedded
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_the_tutorial_runs(tmp_path: Path, environment: dict[str, str]):
    """Its files, changes and commands in their order, in an empty folder."""
    folder = tmp_path / "clinic-bot"
    folder.mkdir()
    ran = 0
    for block in blocks():
        file = folder / block.path
        if block.kind == "diff":
            file.write_text(changed(file.read_text(), block.text))
        elif block.kind in ("py", "toml"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        elif block.kind == "console":
            for command, shown in commands(block.text):
                if "vimbiso serve" in command:
                    _serves(command, folder, environment)
                else:
                    code, printed, told = _ran(command, folder, environment)
                    assert code == 0, f"{command}\n{printed}\n{told}"
                    assert prints(shown, printed), f"{command}\n{printed}"
                ran += 1
        else:
            assert block.kind == "sh"  # the installation
    assert ran > 8
    assert (folder / "tests" / "walks" / "coming.txt").is_file()
    assert (folder / "data").is_dir()


def _ran(command: str, folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Return the exit code of a command, and what it has printed and told."""
    line = ["sh", "-c", command]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def _serves(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Check that the process serves the page of the chat, and ends in order."""
    line = f"exec env {command} --port 0"
    with subprocess.Popen(
        ["sh", "-c", line], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            address = next(found[1] for each in process.stderr if (found := _SERVING.search(each)))
            assert "</html>" in httpx2.get(f"{address}/chat").text
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            assert process.wait(60) == 0
        finally:
            process.kill()
