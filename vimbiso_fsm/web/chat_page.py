"""The page of a web chat, and its files. The page makes a browser that of a visitor, by a signed cookie.

Its policy lets it run its own script and style, and speak to its own server, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from vimbiso_fsm.channels import web
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.locales import looked_up
from vimbiso_fsm.web.chat import WebChat
from vimbiso_fsm.web.endpoints import Endpoint, Shared

FILES: Final[Mapping[str, str]] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files of the page, and their media types."""
RIGHT_TO_LEFT: Final = frozenset({"ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"})
"""The languages that are written from right to left."""
LANGUAGES_READ: Final = 10
"""Languages that are read of what a browser prefers."""

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "chat.audio": "Recording",
        "chat.bot": "Bot",
        "chat.connecting": "Connecting …",
        "chat.conversation": "Conversation",
        "chat.file": "File",
        "chat.image": "Picture",
        "chat.location": "Send my location",
        "chat.map": "Show on a map",
        "chat.message": "Your message",
        "chat.no_location": "Your location could not be read; please write where you are.",
        "chat.no_script": "This page needs JavaScript.",
        "chat.offline": "No connection. What you write is kept and sent when it is back.",
        "chat.refused": "This was not taken.",
        "chat.replaced": "This conversation is open in many other tabs. Write here to go on in this one.",
        "chat.send": "Send",
        "chat.sticker": "Sticker",
        "chat.video": "Video",
        "chat.waiting": "That was not taken yet; it is sent again in a moment.",
        "chat.you": "You",
    },
    "sn": {
        "chat.audio": "Inzwi rakarekodwa",
        "chat.bot": "Bhoti",
        "chat.connecting": "Tiri kubatanidza …",
        "chat.conversation": "Hurukuro",
        "chat.file": "Faira",
        "chat.image": "Mufananidzo",
        "chat.location": "Tumira nzvimbo yandiri",
        "chat.map": "Ona pamepu",
        "chat.message": "Meseji yenyu",
        "chat.no_location": "Hatina kukwanisa kuona nzvimbo yamuri; ndapota nyorai pamuri.",
        "chat.no_script": "Peji iri rinoda JavaScript.",
        "chat.offline": "Hapana netiweki. Zvamunonyora zvinochengetwa, zvotumirwa kana yadzoka.",
        "chat.refused": "Izvi hazvina kugamuchirwa.",
        "chat.replaced": "Hurukuro iyi yakavhurwa kumwe kwakawanda. Nyorai pano kuti muenderere mberi.",
        "chat.send": "Tumira",
        "chat.sticker": "Sitika",
        "chat.video": "Vhidhiyo",
        "chat.waiting": "Hazvisati zvagamuchirwa; zvichatumirwa zvakare munguva pfupi.",
        "chat.you": "Imi",
    },
}
"""The words of the page. The texts of a bot may replace any of them, and add languages."""


def cookie_of(name: str, base: str) -> str:
    """Return the name of the cookie of a chat.

    The prefix lets a browser take it from this host alone: no other host of the domain can plant a conversation of its
    own. A browser takes it over https only.

    Args:
        name: The path of the chat.
        base: The address of the app.
    """
    return f"{'__Host-' if base.startswith('https:') else ''}vimbiso-{name}"


def words_of(bot: Bot, tags: list[str]) -> tuple[str, dict[str, str]]:
    """Return the language of the page for a visitor, and its words by key.

    Args:
        bot: The bot.
        tags: The languages that the visitor prefers.
    """
    language = bot.catalogue.language(tags)
    own = WORDS[looked_up([language], WORDS) or "en"]
    given = {key: bot.catalogue.template(key, language) for key in own}
    return language, {**own, **{key: text for key, text in given.items() if isinstance(text, str)}}


class ChatPage(Endpoint):
    """The page of a chat."""

    def __init__(self, name: str, shared: Shared, chat: WebChat) -> None:
        super().__init__(name, shared)
        self._chat, self._cookie = chat, cookie_of(name, shared.base)
        self._is_safe = shared.base.startswith("https:")
        folder = files("vimbiso_fsm.web").joinpath("page")
        self._page = Template(folder.joinpath("page.html").read_text("utf-8"))
        self._files = {each: folder.joinpath(each).read_bytes() for each in FILES}
        self._addresses = {
            each: f"{name}/{each}?{hashlib.sha256(content).hexdigest()[:16]}" for each, content in self._files.items()
        }
        parts = urlsplit(shared.base)
        socket = f"{'wss' if self._is_safe else 'ws'}://{parts.netloc}"
        self._policy = (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {socket}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
            "trusted-types 'none'"
        )

    async def file(self, request: Request) -> Response:
        """Answer with a file of the page. Its address changes with its content, so a browser keeps it."""
        name = request.url.path.rpartition("/")[2]
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
        return Response(self._files[name], headers=headers, media_type=FILES[name])

    async def _answered(self, request: Request) -> Response:
        tags = request.headers.get("accept-language", "").split(",")[:LANGUAGES_READ]
        language, words = words_of(self._shared.manager.bot, [tag.partition(";")[0].strip() for tag in tags])
        content = self._page.substitute(
            {key.removeprefix("chat."): escape(text) for key, text in words.items()},
            title=escape(self._chat.title),
            language=escape(language),
            direction="rtl" if language.partition("-")[0] in RIGHT_TO_LEFT else "ltr",
            words=escape(json.dumps({key.removeprefix("chat."): text for key, text in words.items()})),
            socket=f"{self._name}/socket",
            script=self._addresses["page.js"],
            style=self._addresses["page.css"],
            icon=self._addresses["icon.svg"],
        )
        return self._with_cookie(request, Response(content, headers=self._headers, media_type="text/html"))

    def _with_cookie(self, request: Request, response: Response) -> Response:
        """Let the browser be that of the visitor who it is by its cookie, else of a new one."""
        chat, now = self._chat, time.time()
        at = datetime.fromtimestamp(now, UTC)
        known = web.visitor_of(request.headers, secret=chat.secrets, now=at, cookie=self._cookie, life=chat.life)
        value = web.sign(known or secrets.token_urlsafe(24), secret=chat.secrets[0], at=int(now))
        response.set_cookie(
            self._cookie, value, max_age=int(chat.life), secure=self._is_safe, httponly=True, samesite="lax"
        )
        return response

    @property
    def _headers(self) -> dict[str, str]:
        return {
            "Cache-Control": "no-store",
            "Content-Security-Policy": self._policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "geolocation=(self), camera=(), microphone=()",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
