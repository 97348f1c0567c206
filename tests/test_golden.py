"""Stored data and replies equal the golden files, byte for byte.

`python -m tests.golden` writes the files anew. Read the difference before you keep it: documents, audit and keys
outlive a release, so a difference is a change of the format, or a fault.
"""

from __future__ import annotations

import difflib

import pytest

from tests.engines import Server
from tests.golden.pages import FILES, KEYS, keys_of_a_store, page, pages
from tests.golden.play import STAGES, laid_out


def assert_golden(name: str, found: bytes) -> None:
    """Fail with the lines that differ when `found` is not the content of the golden file."""
    written = (FILES / name).read_bytes()
    if found == written:
        return
    before, now = (
        (laid_out(data) if name.endswith(".json") else data.decode()).splitlines() for data in (written, found)
    )
    different = list(difflib.unified_diff(before, now, f"tests/golden/files/{name}", "today", lineterm="", n=4))
    shown = [*different[:200], *([f"… and {len(different) - 200} lines more"] if len(different) > 200 else [])]
    advice = "When the change is meant, write the files anew with `python -m tests.golden` and read what they say."
    pytest.fail("\n".join([f"{name} is not what is written today.", *shown, advice]), pytrace=False)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", pages())
def test_each_manager_writes_the_golden_files(name: str, kind: str) -> None:
    """Each manager sends, calls and stores what the golden file contains, to the byte."""
    assert_golden(name, page(name, kind))


@pytest.mark.parametrize("stage", STAGES)
def test_a_real_store_has_the_same_keys(stage: str, server: Server) -> None:
    """Each kind of server holds the keys that the golden file names, with their types, lifetimes and shapes."""
    with server.client() as client:
        assert_golden(f"{stage}/{KEYS}", keys_of_a_store(stage, server.url, client))


def test_every_golden_file_is_compared() -> None:
    """Each golden file belongs to a script."""
    written = {path.relative_to(FILES).as_posix() for path in FILES.rglob("*.*")}
    assert written == {*pages(), *(f"{stage}/{KEYS}" for stage in STAGES)}


def test_a_difference_is_shown() -> None:
    """The failure names the file, the line that differs and the command that writes the files anew."""
    name = "stall/document.json"
    found = (FILES / name).read_bytes().replace(b'"_version":', b'"_edition":')
    shown = r'(?s)stall/document.json.*\n-  "_version":4,\n\+  "_edition":4,\n.*python -m tests.golden'
    with pytest.raises(pytest.fail.Exception, match=shown):
        assert_golden(name, found)
