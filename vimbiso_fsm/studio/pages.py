"""The pages of the studio: templates, and texts of members on them.

Every value is escaped by the templates. A text of a member may also hold characters that no page shows, or that turn
the words around them: they are shown as their numbers (the filter `seen`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import attrs
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from vimbiso_fsm.studio.board_view import spoken
from vimbiso_fsm.studio.desk import Desk

LONGEST: Final = 1_000
"""Characters of a text of a member that a page shows."""
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
"""The media types of the files, by the end of their names."""

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


@attrs.frozen
class Panel:
    """A panel of the studio, as the navigation shows it.

    Attributes:
        name: Its name, with which its addresses begin: `/NAME`.
        title: Its title.
        is_live: Whether it shows a live store, so that it is left out without one.
    """

    name: str
    title: str
    is_live: bool = False


def seen(text: object, longest: int = LONGEST) -> str:
    """Return a text with each character that is not seen, or that turns words, as its number; a long one is cut."""
    words = str(text)
    left = len(words) - longest
    cut = words if left <= 0 else f"{words[:longest]}… ({left:,} more characters)"
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", cut)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("vimbiso_fsm.studio", "page/templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["seen"], made.filters["spoken"] = seen, spoken
    made.globals["file"] = address_of
    return made


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page, or a part of one, from a template.

    Args:
        request: The request. Its app has the desk and the panels.
        template: The name of the template, such as "board.html".
        status: The status of the response.
        values: The values of the template.
    """
    state = request.app.state
    desk: Desk = state.desk
    text = _environment().get_template(template).render(desk=desk, panels=state.panels, **values)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), status)


# Files ----------------------------------------------------------------------------------------------------------------


@cache
def _content(name: str) -> bytes | None:
    folder = files("vimbiso_fsm.studio").joinpath("page", "static")
    if "/" in name or name.rpartition(".")[2] not in MEDIA_TYPES or name.startswith("."):
        return None
    found = folder.joinpath(name)
    return found.read_bytes() if found.is_file() else None


@cache
def address_of(name: str) -> str:
    """Return the address of a file of the pages. It changes with the content, so a browser keeps the file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    content = _content(name)
    if content is None:
        raise FileNotFoundError(name)
    return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:16]}"


async def static(request: Request) -> Response:
    """Answer with a file of the pages."""
    name: str = request.path_params["name"]
    content = _content(name)
    if content is None:
        return Response(status_code=404)
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    return Response(content, headers=headers, media_type=MEDIA_TYPES[name.rpartition(".")[2]])
