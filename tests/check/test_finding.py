"""A finding is one line: the place, the code, what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path

from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.errors import FlowFault
from vimbiso_fsm.made import Made


def test_a_finding_is_written_on_one_line():
    """The path is relative to the current directory; a conversation follows line by line."""
    made = Made(str(Path.cwd() / "flows" / "offer.py"), 88)
    found = Finding.at(made, "dead-end", "it is a dead end", "end it", flow="offer", place="state 'x'")
    line = f"{Path('flows') / 'offer.py'}:88"
    assert str(found) == f"{line}: dead-end: flow 'offer', state 'x': it is a dead end; end it"
    assert str(Finding("", 0, "trap", "it stays", conversation=("> hi",))) == "trap: it stays\n    > hi"
    assert str(Finding.at(Made("/elsewhere/offer.py", 3), "trap", "it stays")).startswith("/elsewhere/offer.py:3: trap")


def test_a_finding_has_all_of_a_fault():
    """A fault for which a declaration was refused is a finding with the same words."""
    fault = FlowFault("offer", "state 'x'", "it is a dead end", "end it", "dead-end", Made("offer.py", 4))
    found = Finding.of(fault)
    assert (found.file, found.line, found.code, found.words) == ("offer.py", 4, "dead-end", fault.words)
    assert str(fault) == str(found)
