"""The directive `flow-diagram`: a flow as an SVG picture that is drawn when the site is built.

    :::{flow-diagram} flows.offer:offer
    :::

Without Graphviz, the text for Mermaid stands there in its place.
"""

from __future__ import annotations

import shutil
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from vimbiso_fsm import Bot
from vimbiso_fsm.check.diagram import bot_diagram, flow_diagram
from vimbiso_fsm.check.dot import svg
from vimbiso_fsm.check.mermaid import mermaid


class FlowDiagram(SphinxDirective):
    """Draw the flow or the bot that is named as MODULE:NAME."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the picture."""
        module, _, name = self.arguments[0].partition(":")
        named = getattr(import_module(module), name)
        drawn = bot_diagram(named) if isinstance(named, Bot) else flow_diagram(named)
        if shutil.which("dot") is None:
            return [nodes.literal_block("", mermaid(drawn))]
        label = f'<figure class="flow-diagram" role="img" aria-label="The flow {drawn.name}">'
        return [nodes.raw("", f"{label}{svg(drawn)}</figure>", format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("flow-diagram", FlowDiagram)
    return {"parallel_read_safe": True}
