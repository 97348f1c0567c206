"""The pages agree with the code: their Python runs, quoted code and output are those of the project, links lead on."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vimbiso_fsm import engine

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKING = sorted({*PAGES, *ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")})
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
URLS: dict[str, str] = PYPROJECT["project"]["urls"]
_BLOCK = re.compile(r"(?:<!-- from (?P<source>\S+) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)
_INLINE = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_DEFINITION = re.compile(r"^\[([^\]]+)\]: (\S+)$", re.MULTILINE)
_OWN = re.compile(r"https?://[^/]+/[^/]+/vimbiso_fsm(?=/|$)")


def _relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _targets(page: Path) -> list[str]:
    """The addresses that a page links to, without their fragments."""
    text = page.read_text(encoding="utf-8")
    found = [*_INLINE.findall(text), *(address for _, address in _DEFINITION.findall(text))]
    return [target.partition("#")[0] for target in found]


def _path_in_tree(address: str) -> str | None:
    """The path that an absolute address of this repository names; None where it names no file of it."""
    if not _OWN.match(address):
        return None
    assert address.startswith(URLS["Source"]), f"{address} is an address of another repository"
    page = address.removeprefix(URLS["Source"]).strip("/")
    if page in {"", "issues", "security/advisories/new"}:
        return None
    named = re.fullmatch(r"(?:blob|tree)/main/(.+)", page)
    assert named, f"{address} names neither a file on main nor a page of the repository that is known"
    return named[1]


def _tree() -> set[str]:
    """The paths in the tree of ARCHITECTURE.md; a line that is indented by two spaces more lies in the folder above."""
    block = re.search(r"## The tree\n.*?```text\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert block
    folders: list[str] = []
    paths = set()
    for line in block[1].splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders[depth:] = [name]
        paths.add("".join(folders))
    return paths


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
    if "encryption=" in code:
        pytest.importorskip("cryptography", reason="needs the package cryptography")
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


_SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_COMMAND_LINE = re.compile(r"^(?:\w+=\S+ )*vimbiso ((?:[^\\\n#]|\\\n)+)", re.MULTILINE)
COMMAND_LINES = sorted(
    {
        line.replace("\\\n", " ").strip()
        for page in PAGES
        for block in _SHELL.findall(page.read_text(encoding="utf-8"))
        for line in _COMMAND_LINE.findall(block)
    }
)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_on_a_page_has_the_options_of_the_command(line: str) -> None:
    """Each command line names a command and options that exist, and the bot where the command needs one."""
    from typer.main import get_command

    from vimbiso_fsm.cli.app import make_app

    words = shlex.split(line)
    command: Any = get_command(make_app())
    group = ""
    while words and (subcommand := getattr(command, "commands", {}).get(words[0])):
        group, command = command.name if command.name == "audit" else "", subcommand
        words = words[1:]
    if words[:1] == ["--help"]:
        return
    assert not getattr(command, "commands", {}), f"{words[0]!r} is no command"
    known = {option: parameter for parameter in command.params for option in parameter.opts}
    named = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert named <= known.keys()
    needs_bot = {"chat", "serve", "worker", "replay", "state", "recover", "reset", "wipe", "quarantine", "check"}
    needs_bot |= {"link", "unlink", "relink", "merge", "erase", "export", "reencrypt", "audit explain"}
    package = command.name == "check" and words[:1] and not words[0].startswith("--")
    assert f"{group} {command.name}".strip() not in needs_bot or "--flows" in named or package


@pytest.mark.parametrize(("page", "source", "code"), QUOTED, ids=_names(QUOTED))
def test_quoted_code_stands_in_the_file(page: Path, source: str, code: str) -> None:
    """A block that is marked as quoted is contained in the named file, piece by piece."""
    text = (ROOT / source).read_text(encoding="utf-8")
    for piece in code.strip().split("\n\n\n"):
        assert piece in text, f"{page.name} quotes what {source} does not say: {piece[:80]}"


def test_the_readme_shows_the_output_of_its_commands() -> None:
    """The conversation at the top of the README is printed as shown there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = re.search(r"^printf '(.*)' \| make -s chat$", readme, re.MULTILINE)
    shown = re.search(r"what they print: begin -->\n```text\n(.*?)```", readme, re.DOTALL)
    assert said
    assert shown
    done = subprocess.run(
        [sys.executable, "-m", "vimbiso_fsm.cli", "chat", "--flows", "flows", "--phone", "263779990001"],
        input=said[1].replace("\\n", "\n"),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == shown[1].strip()


@pytest.mark.parametrize("page", LINKING, ids=_relative)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project, relative or absolute, names a file that exists."""
    for target in _targets(page):
        path = _path_in_tree(target)
        if path is not None:
            assert (ROOT / path).exists(), f"{page.name} links to {target}"
        elif "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_links_to_absolute_addresses() -> None:
    """The package index shows the README without the tree around it, so a relative link would be dead there."""
    targets = _targets(ROOT / "README.md")
    assert targets
    assert [target for target in targets if "://" not in target] == []


@pytest.mark.parametrize("page", LINKING, ids=_relative)
def test_each_link_definition_is_used(page: Path) -> None:
    """A `[name]: address` line defines a link that the text contains."""
    text = " ".join(page.read_text(encoding="utf-8").split())
    for name, _ in _DEFINITION.findall(page.read_text(encoding="utf-8")):
        assert text.count(f"[{name}]") >= 2, f"{page.name} defines [{name}] and does not use it"


@pytest.mark.parametrize("name", URLS)
def test_a_project_url_leads_somewhere(name: str) -> None:
    """Each address of the package's metadata is one of the repository's, and names a file that exists."""
    path = _path_in_tree(URLS[name])
    assert URLS[name].startswith(URLS["Source"])
    assert path is None or (ROOT / path).exists()


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_record_is_short_and_complete(page: Path) -> None:
    """A record has the three sections, at most 50 lines, its number in its title and its title in the index."""
    text = page.read_text(encoding="utf-8")
    title = text.splitlines()[0]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(text.splitlines()) <= 50
    assert title.startswith(f"# {int(page.stem[:4])}. ")
    index = (page.parent / "README.md").read_text(encoding="utf-8")
    assert f"[{title.partition('. ')[2]}]({page.name})" in index


def test_decision_records_are_numbered_without_a_gap() -> None:
    """Records are numbered from 1, and no number is used twice."""
    assert [int(page.stem[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert DECISIONS


def test_the_guarantees_name_the_rows_that_try_to_break_them() -> None:
    """Each row of the fault suite is named by a guarantee, and each row that is named exists."""
    from tests.faults.rows import ROWS

    page = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("**Rows**")]
    assert {name for line in lines for name in re.findall(r"`([a-z-]+)`", line)} <= set(ROWS)
    assert {name for name in ROWS if f"`{name}`" not in page} == set()


def test_the_architecture_shows_each_module() -> None:
    """The tree names each module of the package once; the modules of the command are shown by their folder only."""
    package = ROOT / "vimbiso_fsm"
    modules = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py") if path.parent.name != "cli"}
    shown = {path for path in _tree() if path.startswith("vimbiso_fsm/") and path.endswith(".py")}
    assert shown == {name for name in modules if not re.search(r"/\w+/__init__\.py$", name)}
    assert {path for path in _tree() if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", [page for page in LINKING if page.name != "CHANGELOG.md"], ids=_relative)
def test_a_path_on_a_page_exists(page: Path) -> None:
    """A path to code in backticks is one of the repository, or one of the package when it begins with its folder."""
    named = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|lua|toml))[`:]", page.read_text(encoding="utf-8")))
    assert {name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "vimbiso_fsm"))} == set()


def test_the_architecture_names_one_file_per_rule() -> None:
    """At least twelve rules are listed, each with the one file that states it."""
    rules = re.findall(r"^\| ([A-Z].*\.) \| `(vimbiso_fsm/\w+/\w+\.py)` \|$", ARCHITECTURE, re.MULTILINE)
    assert len({rule for rule, _ in rules}) == len(rules) >= 12


def test_the_architecture_states_the_layers_of_the_contract() -> None:
    """The layers on the page are those that import-linter checks."""
    block = re.search(r"```toml\n(layers = .*?)```", ARCHITECTURE, re.DOTALL)
    assert block
    layers = [
        contract["layers"]
        for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and "containers" not in contract
    ]
    assert [tomllib.loads(block[1])["layers"]] == layers


def test_the_engine_states_the_layers_of_the_contract() -> None:
    """The docstring of the engine lists its modules in the order that import-linter checks."""
    listed = re.findall(r"^    (\w+)  ", engine.__doc__ or "", re.MULTILINE)
    [layers] = [
        contract["layers"]
        for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["vimbiso_fsm.engine"]
    ]
    assert listed == layers[::-1]


def test_the_site_has_each_page() -> None:
    """`docs/index.md` names every page in a table of contents, by itself or by a pattern."""
    docs = ROOT / "docs"
    index = (docs / "index.md").read_text(encoding="utf-8")
    named = re.findall(r"^(?:[\w -]+ <)?([a-z-]+/[\w*-]+)>?$", index, re.MULTILINE)
    listed = {page for name in named for page in docs.glob(f"{name}.md")}
    assert set(docs.rglob("*.md")) - listed == {docs / "README.md", docs / "index.md"}


def test_the_index_links_to_each_page() -> None:
    """`docs/README.md` leads to every page; the index of the decision records leads to the records.

    Pages that only the built site fills, from the code, are left out: the site has an index of its own.
    """
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in _targets(index)}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page != index and page not in DECISIONS}
    assert {page for page in pages if ":::{" not in page.read_text(encoding="utf-8")} - linked == set()
