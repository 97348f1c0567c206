"""Links to files of the repository that are no pages of the site lead to the repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCE: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def _lead_out(app: Any, name: str, content: list[str]) -> None:
    page = Path(app.srcdir) / f"{name}.md"

    def target(found: re.Match[str]) -> str:
        path = (page.parent / found[1]).resolve()
        if path != Path(app.srcdir) / "README.md" and path.is_relative_to(app.srcdir) and path.is_file():
            return found[0]
        kind = "tree" if path.is_dir() else "blob"
        return f"]({SOURCE}/{kind}/main/{path.relative_to(ROOT)}{found[2] or ''})"

    content[0] = _LINK.sub(target, content[0])


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", _lead_out)
    return {"parallel_read_safe": True}
