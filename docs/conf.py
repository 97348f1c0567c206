"""The settings of the documentation site; `make docs` builds it into build/docs, without a network."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

project = "vimbiso_fsm"
author = "The vimbiso_fsm authors"
version = release = version_of("vimbiso_fsm")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "repository_links", "diagrams", "references"]
exclude_patterns = ["README.md", "_ext", "_static", "plots"]

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4
default_role = "code"
suppress_warnings = ["misc.highlighting_failure"]  # blocks of text that show the output of a command

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are named in the docstring of their class, and once
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "vimbiso_fsm"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "source_repository": "https://github.com/vimbiso/vimbiso_fsm/",
    "source_branch": "main",
    "source_directory": "docs/",
}
