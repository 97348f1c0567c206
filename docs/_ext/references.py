"""The directives of the reference: `public-names` of a group or a module, and `commands`.

The groups are those of `vimbiso_fsm/__init__.py`, which begin with a comment such as "# Declare: flows and the bot".
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

import vimbiso_fsm
from vimbiso_fsm.cli.app import make_app

_WIDTH = 88
"""The characters in a line of the help of a command."""


def names_of_group(group: str) -> list[str]:
    """Return the public names of a group, in the order of their imports."""
    source = Path(inspect.getfile(vimbiso_fsm)).read_text(encoding="utf-8")
    found = re.search(rf"^# {group}: .*?\n(.*?)(?=^# |^__all__)", source, re.DOTALL | re.MULTILINE)
    if found is None:
        raise LookupError(f"vimbiso_fsm/__init__.py has no group {group!r}")
    words = re.sub(r"from \S+ import|[(),]", " ", found[1]).split()
    return [word for word in words if word in vimbiso_fsm.__all__]


class PublicNames(SphinxDirective):
    """Document the names of a group of `vimbiso_fsm`, those that a module exports, or some names of a module."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        """Return the documentation of each name."""
        given, *chosen = self.arguments
        if "." in given:
            named = [(given, name) for name in chosen or import_module(given).__all__]
        else:
            named = [("vimbiso_fsm", name) for name in names_of_group(given)]
        lines: list[str] = []
        for home, name in named:
            lines += [*_directive(home, name, getattr(import_module(home), name)), ""]
        container = nodes.section()
        container.document = self.state.document
        rst = StringList(["```{eval-rst}", *lines, "```"], source=given)
        self.state.nested_parse(rst, self.content_offset, container)
        return list(container.children)


def _directive(home: str, name: str, value: object) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {home}.{name}", "   :members:"]
    if inspect.isfunction(value):
        return [f".. autofunction:: {home}.{name}"]
    if inspect.ismodule(value):
        return [f".. automodule:: {value.__name__}", "   :members:"]
    return [f".. autodata:: {home}.{name}", "   :no-value:"]


class Commands(SphinxDirective):
    """Print the help of each command of `vimbiso`."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each command."""
        return [_section(words, command) for words, command in _commands((), typer.main.get_command(make_app()))]


def _commands(words: tuple[str, ...], command: Any) -> list[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        return [(words, command)]
    return [each for name in below for each in _commands((*words, name), below[name])]


def _section(words: tuple[str, ...], command: Any) -> nodes.section:
    name = " ".join(words)
    section = nodes.section("", nodes.title("", name), ids=[nodes.make_id(f"command {name}")])
    context = command.make_context(
        f"vimbiso {name}", [], resilient_parsing=True, terminal_width=88, max_content_width=88
    )
    section += nodes.literal_block("", command.get_help(context))
    return section


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
