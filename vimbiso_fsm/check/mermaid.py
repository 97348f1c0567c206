"""Diagrams as text for Mermaid (https://mermaid.js.org/syntax/stateDiagram.html)."""

from __future__ import annotations

import re
from typing import Final

from vimbiso_fsm.check.diagram import Diagram, Edge, Node

_RESERVED: Final = re.compile(
    r"(?:accdescr|acctitle|as|class|classdef|click|default|direction|end|fork|hide|href|join|note|scale|state|style"
    r"|choice|root|width|h[0-9]+)\w*"
)
"""Names that begin with a word of Mermaid's own, which its grammar may read as that word."""

_SIGNS: Final = re.compile(r"[^\w \[\](),.'×→+-]+")
"""Signs that the text of a label may not have, or that Mermaid would read as markup."""


def mermaid(diagram: Diagram) -> str:
    """Return a diagram as a state diagram of Mermaid. Transitions that never fired end with "never fired"."""
    lines = ["stateDiagram-v2"]
    lines += filter(None, (_node(node) for node in diagram.nodes))
    lines.append(f"    [*] --> {_id(diagram.initial)}" + (f" : {_label(diagram.begins)}" if diagram.begins else ""))
    lines += (_edge(edge) for edge in diagram.edges)
    for node in diagram.nodes:
        if node.kind in ("final", "cancelled"):
            lines.append(f"    {_id(node.name)} --> [*]" + (" : cancelled" if node.kind == "cancelled" else ""))
    return "\n".join(lines) + "\n"


def _node(node: Node) -> str:
    """Return the line that names a node; empty if its id says everything."""
    note = f"<br/>({node.kind} {_label(node.note)})" if node.note else ""
    return f'    state "{node.name}{note}" as {_id(node.name)}' if note or _id(node.name) != node.name else ""


def _edge(edge: Edge) -> str:
    text = _label(edge.text) + (", never fired" if edge.fired == 0 else "")
    return f"    {_id(edge.source)} --> {_id(edge.dest)} : {text}"


def _id(name: str) -> str:
    """Return the id of a node. No name of a state or flow begins with "_", so the ids are different too."""
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def _label(text: str) -> str:
    return _SIGNS.sub("", " ".join(text.split()))
