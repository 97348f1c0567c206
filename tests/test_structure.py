"""`tests.structure` and `tests.figures` print the right figures."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.figures import lines_of_code, uses_of_any
from tests.structure import ROOT, Structure, arrows, circles, levels, read


def made(**imports: str) -> dict[str, frozenset[str]]:
    """Make a graph from names with the names that they import, separated by spaces."""
    return {name: frozenset(targets.split()) for name, targets in imports.items()}


def test_a_chain_has_as_many_levels_as_names() -> None:
    """The longest chain counts; a shorter one beside it adds no level."""
    graph = made(a="b c", b="c", c="d", d="", e="d")
    assert (levels(graph), arrows(graph), circles(graph)) == (4, 5, [])


def test_a_circle_is_found_and_is_one_level() -> None:
    """Names that lead to one another are a circle and one level, without the names before and behind it."""
    graph = made(a="b", b="c", c="d e", d="b", e="f", f="")
    assert circles(graph) == [frozenset("bcd")]
    assert levels(graph) == 4
    assert len(circles(made(a="b", b="a", c="d", d="c a"))) == 2


def test_an_arrow_against_the_layers_leads_upwards() -> None:
    """An arrow to a higher layer is counted; arrows within a layer, or to rooms without one, are not."""
    layers = tuple(map(frozenset, ("a", "bc", "d")))
    assert Structure(made(a="b", b="c d", c="b x", d="", x="a"), {}, layers).upward == ()
    assert Structure(made(a="", b="a", c="", d="a c"), {}, layers).upward == (("b", "a"), ("d", "a"), ("d", "c"))


def test_a_checkout_is_read_from_its_files(tmp_path: Path) -> None:
    """Rooms are modules and packages directly in the package; an import inside a function is an arrow too."""
    package = tmp_path / "vimbiso_fsm"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").write_text("from vimbiso_fsm.room.one import f\n")
    (package / "room" / "__init__.py").write_text("")
    (package / "room" / "one.py").write_text("from vimbiso_fsm.room import two\n")
    (package / "room" / "two.py").write_text("def f():\n    import vimbiso_fsm.flat\n")
    (package / "flat.py").write_text("raise RuntimeError('it is not imported')\n")
    import vimbiso_fsm  # as another test may have done

    found = read(tmp_path)
    assert sys.modules["vimbiso_fsm"] is vimbiso_fsm
    assert found.rooms == {"vimbiso_fsm.room": {"vimbiso_fsm.flat"}, "vimbiso_fsm.flat": frozenset()}
    assert (len(found.modules), levels(found.modules), arrows(found.modules)) == (5, 4, 3)


def test_this_checkout_declares_its_layers() -> None:
    """The layers of the contract are the rooms of the package, apart from the layer of the application."""
    found = read(ROOT)
    assert frozenset().union(*found.layers) == {*found.rooms, "flows"}


def test_a_line_of_code_is_no_docstring_comment_or_blank_line() -> None:
    """A line is code unless it is blank, a comment or part of a docstring; a text that is a value is code."""
    documented = '"""Any text.\n\nMore.\n"""\n\nimport os  # why\n\n# Any\n'
    source = f'{documented}X = """a\nb"""\n"""About X."""\n\n\ndef f():\n    """F."""\n'
    assert lines_of_code(source) == 4
    assert uses_of_any(source) == 0
    assert uses_of_any("from typing import Any\n\nx: list[Any] = []  # Any\n") == 2
