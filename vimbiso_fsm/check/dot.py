"""Diagrams as text for Graphviz (https://graphviz.org/doc/info/lang.html), and as SVG by its program `dot`.

Each node has the id `state_NAME` and each edge the id `edge_N`, N being its place in the diagram, so that a page can
mark them.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

from vimbiso_fsm.check.diagram import Diagram, Edge, Node

_HEAD: Final = """\
  bgcolor="transparent"; rankdir=TB; nodesep=0.35; ranksep=0.5; fontname="Helvetica,Arial,sans-serif"
  node [fontname="Helvetica,Arial,sans-serif" fontsize=12 fontcolor="#1f2933" shape=box style="rounded,filled"]
  node [color="#5b6b7b" fillcolor="#f5f7fa" margin="0.16,0.08"]
  edge [fontname="Helvetica,Arial,sans-serif" fontsize=10 fontcolor="#3e4c59" color="#7b8794" arrowsize=0.7]
  "" [shape=circle style=filled fillcolor="#1f2933" width=0.16 height=0.16 fixedsize=true label=""]"""
_LOOKS: Final = {
    "question": "",
    "call": ' fillcolor="#fff3d6" color="#b7791f"',
    "flow": ' fillcolor="#e3f0ff" color="#2b6cb0"',
    "step": ' fillcolor="#ffffff" style="rounded,filled,dashed"',
    "final": ' fillcolor="#e3f6e8" color="#2f855a" peripheries=2',
    "cancelled": ' fillcolor="#fde8e8" color="#c53030" peripheries=2',
}
_WIDTH: Final = 28
"""Characters after which the label of an edge goes on in a new line."""
_LONGEST: Final = 60
"""Characters of one word of it that are shown."""


def dot(diagram: Diagram) -> str:
    """Return a diagram in the language of Graphviz. Edges that never fired are dashed."""
    lines = [f"digraph {_quoted(diagram.name)} {{", _HEAD]
    lines.append(f'  "" -> {_quoted(diagram.initial)} [label={_label(diagram.begins)}]')
    lines += map(_node, diagram.nodes)
    lines += (_edge(place, edge) for place, edge in enumerate(diagram.edges))
    return "\n".join([*lines, "}"]) + "\n"


def _node(node: Node) -> str:
    lines = [_escaped(node.name)]
    if node.note:
        lines.append(f"({node.kind} {_escaped(node.note)})")
    if node.members:
        lines.append(f"{node.members:,} member{'s' if node.members > 1 else ''}")
    label = '"' + r"\n".join(lines) + '"'
    return f"  {_quoted(node.name)} [id={_quoted(f'state_{node.name}')} label={label}{_LOOKS[node.kind]}]"


def _edge(place: int, edge: Edge) -> str:
    never = " style=dashed" if edge.fired == 0 else ""
    return f'  {_quoted(edge.source)} -> {_quoted(edge.dest)} [id="edge_{place}" label={_label(edge.text)}{never}]'


def _label(text: str) -> str:
    """Return a text in lines of a bounded width, broken at spaces. Longer words are cut.

    A space at both ends of a line keeps it off the edge.
    """
    lines = [""]
    for full in text.split():
        word = full if len(full) <= _LONGEST else f"{full[:_LONGEST]}…"
        if lines[-1] and len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return '"' + r"\n".join(f" {_escaped(line)} " for line in lines if line) + '"'


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def svg(diagram: Diagram) -> str:
    """Return a diagram as an SVG element without a declaration, made by the program `dot`.

    Raises:
        FileNotFoundError: Graphviz is not installed.
        subprocess.CalledProcessError: `dot` has failed.
    """
    program = shutil.which("dot")
    if program is None:
        raise FileNotFoundError("the program dot is not on the path")
    text = dot(diagram).encode()
    done = subprocess.run([program, "-Tsvg"], input=text, capture_output=True, check=True)  # noqa: S603  # a fixed program
    drawn = done.stdout.decode()
    return drawn[drawn.index("<svg") :]
