"""What `callback-unused` finds of a mutant.

That rule reads the files of the package, and a mutant changes a flow in memory. So the names that the flow has no more
are taken out of the files here, as an author's slip would take them out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from vimbiso_fsm.check import package
from vimbiso_fsm.check.finding import Finding
from vimbiso_fsm.check.parts import callbacks_of, flows_of
from vimbiso_fsm.flow.bot import Bot

_SLOTS: Final = frozenset({"conditions", "unless", "prepare", "call", "requires"})
"""The arguments of a declaration that a mutant changes."""


def unused(bot: Bot) -> list[Finding]:
    """Return what `callback-unused` finds where the flows of a bot are what their files declare."""
    declared = {(flow.made.file, flow.made.line) for flow in flows_of(bot)}
    own = frozenset(getattr(named.callback, "__name__", "") for named in callbacks_of(bot))
    names = package._names

    def named(file: str) -> frozenset[str]:
        return package.names_in(_elsewhere(package._tree(file), file, declared)) | own

    package._names = named  # type: ignore[assignment]
    try:
        return [each for each in package.package_findings(bot) if each.code == "callback-unused"]
    finally:
        package._names = names


def _elsewhere(tree: ast.Module, file: str, declared: set[tuple[str, int]]) -> Iterator[ast.AST]:
    """Yield the nodes of a file without the names of callbacks in the declarations of flows."""
    hidden: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (file, node.lineno) in declared:
            keywords = (part for call in ast.walk(node) if isinstance(call, ast.Call) for part in call.keywords)
            for part in keywords:
                values = part.value.elts if isinstance(part.value, ast.List | ast.Tuple) else [part.value]
                hidden.update(id(value) for value in values if part.arg in _SLOTS and isinstance(value, ast.Name))
    return (node for node in ast.walk(tree) if id(node) not in hidden and not isinstance(node, ast.alias))
