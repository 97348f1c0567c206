"""Web chat: the format of a conversation in a browser, over a web socket whose frames are JSON.

A visitor is known by a cookie that the server has signed. It proves that the visitor is the one to whom it was issued,
and nothing else: no telephone number and no account. A page sends four types of frames:

    say    `id` with `text`, `choice` or `content`: a message. Its id is the page's, which sends the message again until
           it is answered; it takes effect once
    open   `id`: the page has nothing to show yet. The bot begins, or asks the open question again
    got    `key`: the page has shown what was pushed under this key
    ping   the page is there
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import attrs

from vimbiso_fsm.channels import rest
from vimbiso_fsm.channels.delivery import TEXT, Delivery, header, read_object, same_secret, take
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import Location
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.told import ChatOpened

TYPE: Final = "web"
"""The type of the channel, unless a chat has another one."""
COOKIE: Final = "vimbiso-chat"
"""The name of the cookie of a visitor, unless a chat has another one."""
COOKIE_LIFE: Final = 30 * 86_400
"""Seconds for which a cookie counts after it was issued."""
CLOCK_MARGIN: Final = 300
"""Seconds by which the clock of the process that has issued a cookie may be ahead."""
VISITOR_LENGTH: Final = (16, 64)
"""The characters of the name of a visitor, at least and at most."""
KEY_LENGTH: Final = 64
"""Characters of the key of what was pushed."""

_TIME_DIGITS: Final = 11
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "say": frozenset({"type", "id", "text", "choice", "content"}),
    "open": frozenset({"type", "id"}),
    "got": frozenset({"type", "key"}),
    "ping": frozenset({"type"}),
}
"""The fields of each type of frame."""


@attrs.frozen
class Got:
    """The page has shown what was pushed under a key."""

    key: str


@attrs.frozen
class Ping:
    """The page is there."""


Frame: TypeAlias = Delivery | Got | Ping
"""What a frame says: a delivery has one message, or the fact that a page was opened."""


def sign(visitor: str, *, secret: str, at: int) -> str:
    """Return the value of the cookie that makes a browser that of a visitor.

    Args:
        visitor: The name of the visitor: an unguessable text of letters, digits, "-" and "_".
        secret: The secret of the chat.
        at: The current time, in seconds since the epoch.
    """
    known = f"{visitor}.{at}"
    digest = hmac.new(secret.encode(), b"vimbiso web chat\0" + known.encode(), hashlib.sha256).hexdigest()
    return f"{known}.{digest}"


def visitor_of(
    headers: Mapping[str, str],
    *,
    secret: str | Iterable[str],
    now: datetime | None,
    cookie: str = COOKIE,
    life: float = COOKIE_LIFE,
) -> str | None:
    """Return the visitor whose cookie a request has; None if it has none that counts, or several.

    Args:
        headers: The headers of the request.
        secret: The secret, or several while one takes the place of another. Without one no cookie counts.
        now: The current instant, with a time zone. Without it no cookie counts.
        cookie: The name of the cookie.
        life: Seconds for which a cookie counts.
    """
    pairs = [each.strip(" ") for each in (header(headers, "cookie") or "").split(";")]
    own = [pair for pair in pairs if pair.startswith(f"{cookie}=")]
    if len(own) != 1 or now is None:
        return None
    visitor, _, rest_of = own[0].removeprefix(f"{cookie}=").partition(".")
    at = rest_of.partition(".")[0]
    is_time = at.isascii() and at.isdigit() and len(at) <= _TIME_DIGITS
    secrets = [each for each in ([secret] if isinstance(secret, str) else secret) if each]
    expected = [f"{cookie}={sign(visitor, secret=each, at=int(at) if is_time else 0)}" for each in secrets]
    is_signed = [same_secret(own[0], each) for each in expected]  # each one is compared
    is_current = is_time and -CLOCK_MARGIN <= now.timestamp() - int(at) <= life
    return visitor if any(is_signed) and is_current and _is_visitor(visitor) else None


def _is_visitor(name: str) -> bool:
    least, most = VISITOR_LENGTH
    return least <= len(name) <= most and name.isascii() and name.replace("-", "a").replace("_", "a").isalnum()


def verify(
    headers: Mapping[str, str], raw: bytes, url: str = "", *, secret: str | Iterable[str], now: datetime | None = None
) -> bool:
    """Return whether a request has the cookie of a visitor. See `visitor_of`; `raw` and `url` are no part of it."""
    return visitor_of(headers, secret=secret, now=now) is not None


def is_from(headers: Mapping[str, str], base: str) -> bool:
    """Return whether a request comes from a page of the bot. A browser says so in the header `Origin`.

    Args:
        headers: The headers of the request.
        base: The address of the app, such as "https://bot.example.org".
    """
    parts = urlsplit(base)
    return header(headers, "origin") == f"{parts.scheme}://{parts.netloc}".lower()


def read_frame(body: bytes, channel: Channel, *, account: str = "") -> Frame:
    """Read one frame of a page.

    Args:
        body: The bytes of the frame.
        channel: The channel of the visitor.
        account: The bot's address on the channel; empty without one.

    Raises:
        InvalidMessage: It is no frame. The field of the error names the part.
    """
    found = read_object(body)
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise InvalidMessage("type", f"is none of {', '.join(_FIELDS)}")
    rest.refuse_others(found, _FIELDS[kind], "body")
    match kind:
        case "say":
            message = rest.said(found, channel, account)
            if message.content is not None and not isinstance(message.content, Location):
                raise InvalidMessage("content.kind", "must be location: a page has no files that were stored before")
            return Delivery((message,))
        case "open":
            return Delivery(events=(ChatOpened(id=take(found, "id", TEXT), channel=channel, account=account),))
        case "got":
            key = take(found, "key", TEXT)
            if len(key) > KEY_LENGTH:
                raise InvalidMessage("key", f"has {len(key)} characters, the limit is {KEY_LENGTH}")
            return Got(key)
        case _:
            return Ping()


def parse(body: bytes, channel: Channel, *, account: str = "", now: datetime | None = None) -> Delivery:
    """Read what a page says or tells. See `read_frame`; other frames are an empty delivery.

    Raises:
        InvalidMessage: It is no frame.
    """
    frame = read_frame(body, channel, account=account)
    return frame if isinstance(frame, Delivery) else Delivery()


def render(channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
    """Write replies as objects, one each, as the REST channel does. The page shows their words as text only."""
    return rest.render(channel, replies)
