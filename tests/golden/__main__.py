"""`python -m tests.golden` writes the golden files anew, to be read before they are kept."""

from __future__ import annotations

import logging

import pytest

from tests.engines import running, valkey_program
from tests.golden.pages import FILES, KEYS, keys_of_a_store, page, pages
from tests.golden.play import STAGES


def _write(name: str, data: bytes, kept: set[str]) -> None:
    path = FILES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
        print(f"written: {name}")
    kept.add(name)


def main() -> None:
    """Write every golden file that differs, and remove those without a script."""
    logging.disable()  # the scripts let things fail
    kept = set[str]()
    for name in pages():
        _write(name, page(name), kept)
    try:
        program = valkey_program()
    except pytest.skip.Exception as reason:
        print(f"the keys are left as they are: {reason}")
        kept.update(f"{stage}/{KEYS}" for stage in STAGES)
    else:
        for stage in STAGES:
            with running(program) as server, server.client() as client:
                _write(f"{stage}/{KEYS}", keys_of_a_store(stage, server.url, client), kept)
    for path in sorted(FILES.rglob("*.*")):
        if (name := path.relative_to(FILES).as_posix()) not in kept:
            path.unlink()
            print(f"removed: {name}")


main()
