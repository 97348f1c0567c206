"""A callback that is probed acts nowhere; what other threads do meanwhile, and what comes later, goes on."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vimbiso_fsm.check.probe import _GATE, _Blocked


def test_a_callback_that_is_probed_writes_nothing(tmp_path: Path):
    """While the gate is closed, no file is made and no command is run; when it is open, both are."""
    for act in (
        lambda: (tmp_path / "file").write_text("x"),
        lambda: subprocess.run([sys.executable, "-V"], check=True),
    ):
        with pytest.raises(_Blocked), _GATE:
            act()
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")


def test_other_threads_go_on_during_a_probe(tmp_path: Path):
    """A thread that writes a file while another one probes a callback is not stopped."""
    began, ended = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        began.wait()
        try:
            (tmp_path / "file").write_text("x")
        except BaseException as error:
            failed.append(error)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    with _GATE:
        began.set()
        ended.wait()
    thread.join()
    assert (failed, (tmp_path / "file").read_text()) == ([], "x")


def test_after_a_probe_no_event_of_the_interpreter_runs_python(tmp_path: Path):
    """The audit hook stays for ever, so it calls nothing in Python while nothing is probed; then it stops again."""
    with _GATE:
        pass
    assert inspect.isbuiltin(_GATE._hook.func)
    with pytest.raises(_Blocked), _GATE:
        (tmp_path / "file").write_text("x")


def test_a_probe_within_a_probe_opens_nothing(tmp_path: Path):
    """The gate is closed until the outer probe ends."""
    with _GATE:
        with _GATE:
            pass
        with pytest.raises(_Blocked):
            (tmp_path / "file").write_text("x")
    (tmp_path / "file").write_text("x")
