"""The WhatsApp Cloud API of Meta: messages, files, the sign of work, and its dated versions.

Meta takes no key that would make a repeated request harmless. The table of errors follows the page "WhatsApp error
codes", and the versions follow the changelog of the Graph API.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

import attrs

from vimbiso_fsm.channels import whatsapp
from vimbiso_fsm.channels.delivery import NUMBER, OBJECT, TEXT, Delivery, attempted, maybe
from vimbiso_fsm.errors import RequestRefused
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.web.api import Api, Fetched
from vimbiso_fsm.web.forms import multipart
from vimbiso_fsm.web.refusals import Known, Refusal, of_code, of_status
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse, NoResponse
from vimbiso_fsm.web.settings import address, optional_secret, secret, without_slash

VERSIONS: Final[Mapping[str, date]] = MappingProxyType(
    {
        "v21.0": date(2027, 1, 21),
        "v22.0": date(2027, 5, 20),
        "v23.0": date(2027, 10, 8),
        "v24.0": date(2028, 2, 18),
        "v25.0": date(2028, 7, 29),
        "v26.0": date(2028, 7, 29),  # at least: two years after its release; Meta names its end with the next version
    }
)
"""The day on which each version ends. After it Meta answers with the next version that is left."""
VERSION: Final = "v26.0"
WARN_BEFORE: Final = timedelta(days=90)
"""The time before the end of a version in which operators are warned."""

FILE_HOSTS: Final = (".facebook.com", ".fbsbx.com", ".fbcdn.net", ".whatsapp.net")
"""The ends of the names of the hosts that get the token for a file."""

_PAIR_PAUSE: Final = 6.0
"""Seconds for which one message to a member is allowed, on average."""

ERRORS: Final[Mapping[int, Known]] = MappingProxyType(
    {
        # Throttling: nothing was taken.
        4: ("busy", "the app makes too many requests", 60.0),
        17: ("busy", "the user makes too many requests", 60.0),
        613: ("busy", "too many requests", 60.0),
        80007: ("busy", "the account makes too many requests", 60.0),
        130429: ("busy", "the throughput of the number is reached", None),
        131056: ("busy", "too many messages to this member", _PAIR_PAUSE),
        # The service.
        2: ("busy", "the service is down for a time", None),
        131016: ("busy", "the service is overloaded", None),
        131057: ("busy", "the account is in maintenance", 60.0),
        133004: ("busy", "the server is not available", None),
        # An operator has to act.
        0: ("operator", "the token is not accepted", None),
        3: ("operator", "the app has not the capability", None),
        10: ("operator", "the app has not the permission", None),
        33: ("operator", "the number does not exist", None),
        102: ("operator", "the token is not accepted", None),
        190: ("operator", "the token has expired", None),
        368: ("operator", "the account is restricted for a violation of a policy", 3600.0),
        130497: ("address", "the account may not write to members of this country", None),
        131005: ("operator", "the app has not the permission", None),
        131031: ("operator", "the account is locked", 3600.0),
        131037: ("operator", "the display name of the number needs an approval", 3600.0),
        131042: ("operator", "the payment of the account fails", 3600.0),
        131045: ("operator", "the number is not registered", None),
        131048: ("operator", "the number is restricted, because many have blocked or reported it", 3600.0),
        133010: ("operator", "the number is not registered", None),
        # The member.
        131021: ("address", "the member is the sender", None),
        131026: ("address", "the member cannot be reached on WhatsApp", None),
        131030: ("address", "the member is not on the list of this test number", None),
        131047: ("address", "the member has not written for 24 hours", None),
        # The message.
        131049: ("content", "Meta does not deliver it, to keep the engagement healthy", None),
        131050: ("content", "the member wants no marketing messages", None),
        130472: ("content", "the member is part of an experiment", None),
        131051: ("content", "the type of message is not supported", None),
        131052: ("content", "the file could not be downloaded", None),
        131053: ("content", "the file could not be uploaded", None),
        132000: ("content", "the number of parameters is not that of the template", None),
        132001: ("content", "the template does not exist, or is not approved", None),
        132005: ("content", "the text of the template is too long", None),
        132007: ("content", "the template violates a policy", None),
        132012: ("content", "a parameter has not the format of the template", None),
        132015: ("content", "the template is paused", None),
        132016: ("content", "the template is disabled", None),
        132068: ("content", "the flow is blocked", None),
        132069: ("content", "the flow is throttled", None),
        100: ("content", "a parameter is invalid", None),
        131008: ("content", "a parameter is missing", None),
        131009: ("content", "the value of a parameter is invalid", None),
        135000: ("content", "a parameter is invalid", None),
        # It does not tell.
        1: ("unknown", "an unknown error of the API", None),
        131000: ("unknown", "an unknown error of WhatsApp", None),
    }
)
"""What each code of an error means: its kind, why, and the seconds to wait."""


def _version(value: object) -> str:
    """Check a version (an attrs converter)."""
    name = str(value)
    if not name.startswith("v") or not name[1:].replace(".", "", 1).isdigit() or not name.isascii():
        raise ValueError(f"version is {name[:20]!r}; give one such as {VERSION!r}")
    return name


@attrs.frozen(kw_only=True)
class CloudApi(Api):
    """The WhatsApp Cloud API.

    Attributes:
        token: The access token of a system user.
        number_id: The id of the number to send from. A member is answered from the number that they wrote to
            (`channel.account`); this one is that of the others.
        app_secret: The app secret, with which Meta signs webhooks. Without one no webhook is accepted.
        version: The version of the Graph API.
        version_until: The day on which the version ends, for one that `VERSIONS` does not know.
        list_button: The words on the button that opens a list.
        base: The address of the API.

    Raises:
        ValueError: A setting is none, or the end of the version is not known and not given.
    """

    name: ClassVar[str] = "WhatsApp Cloud API"
    works_for: ClassVar[float | None] = 20.0  # the sign ends after 25 seconds
    shakes_hands: ClassVar[bool] = True

    token: str = attrs.field(repr=False, validator=secret)
    number_id: str = attrs.field(default="", converter=str)
    app_secret: str = attrs.field(default="", repr=False, validator=optional_secret)
    version: str = attrs.field(default=VERSION, converter=_version)
    version_until: date | None = None
    list_button: str = "Menu"
    base: str = attrs.field(default="https://graph.facebook.com", converter=without_slash, validator=address)

    def __attrs_post_init__(self) -> None:
        if self._ends is None:
            raise ValueError(f"the end of version {self.version} is not known; give version_until=date(…)")

    @property
    def _ends(self) -> date | None:
        return self.version_until or VERSIONS.get(self.version)

    def warning(self, today: date) -> str:
        """Warn of the end of the version, 90 days before it."""
        ends = self._ends
        if ends is None or today < ends - WARN_BEFORE:
            return ""
        return f"version {self.version} of the Graph API ends on {ends}; test a newer one, and set version=…"

    @property
    def missing_secrets(self) -> tuple[str, ...]:
        """The names of settings that are empty, and without which `verify` accepts no request."""
        return () if self.app_secret else ("app_secret",)

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str) -> bool:
        """Return whether Meta has signed the request."""
        return whatsapp.verify(headers, raw, url, secret=self.app_secret)

    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """Read the body of a webhook request."""
        return whatsapp.parse(body, now=now)

    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """Write the payloads that send `replies`."""
        return whatsapp.render(channel, replies, list_button=self.list_button)

    def post(self, channel: Channel, payload: Mapping[str, Any]) -> HttpRequest:
        """Return the request that sends a payload."""
        return self._messages(channel.account, payload)

    def _messages(self, account: str, payload: Mapping[str, Any]) -> HttpRequest:
        content = json.dumps(payload).encode()
        headers = {**self._headers(), "Content-Type": "application/json"}
        return HttpRequest("POST", self._url(account or self.number_id, "messages"), headers, content)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _url(self, *path: str) -> str:
        return "/".join((self.base, self.version, *(quote(part or "-", safe="") for part in path)))

    def outcome(self, response: HttpResponse) -> Sent | Refusal:
        """Return what the response to a message says."""
        data = response.data() or {}
        if response.is_success:
            messages = data.get("messages")
            ids = [each.get("id") for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
            if any(isinstance(each, str) and each for each in ids):
                return Sent([each for each in ids if isinstance(each, str)])
            return of_status(response, is_vendors=False)
        error = attempted(lambda: maybe(data, "error", OBJECT))
        code = attempted(lambda: maybe(data, "error.code", NUMBER))
        if error is None or code is None:
            return of_status(response, is_vendors=False)
        known = ERRORS.get(code)
        if known is None and 200 <= code < 300:
            known = ("operator", "the app has not the permission", None)
        if known is None and error.get("is_transient") is True:
            known = ("busy", "a fault of the service for a time", None)
        return of_code(code, known, response)

    def working(self, message: Message) -> HttpRequest | None:
        """Return the request that shows that a reply is being prepared. It marks the message as read."""
        return self._messages(message.account, {**_read(message), "typing_indicator": {"type": "text"}})

    def read(self, message: Message) -> HttpRequest | None:
        """Return the request that marks a message, and those before it, as read."""
        return self._messages(message.account, _read(message))

    async def fetch(self, file_id: str, limit: int) -> Fetched:
        """Fetch a file that a member has sent. Its address is asked for, and holds for five minutes."""
        told = await HttpRequest("GET", self._url(file_id), self._headers())
        file = None if isinstance(told, NoResponse) or not told.is_success else told.data()
        url = None if file is None else attempted(lambda: maybe(file, "url", TEXT))
        if file is None or url is None:
            raise self.refused(told)
        size, digest, mime_type = file.get("file_size"), file.get("sha256"), file.get("mime_type")
        if isinstance(size, int) and size > limit:
            raise RequestRefused(self.name, "content", f"the file has {size} bytes, the limit is {limit}")
        if not self._is_trusted(url):
            raise RequestRefused(self.name, "operator", "the address of the file is not one of Meta")
        response = self.file_of(await HttpRequest("GET", url, self._headers(), limit=limit))
        if isinstance(digest, str) and digest != hashlib.sha256(response.body).hexdigest():
            raise RequestRefused(self.name, "unknown", "the file is not the one that was announced")
        return Fetched(response.body, mime_type if isinstance(mime_type, str) else "")

    def _is_trusted(self, url: str) -> bool:
        """Whether the token may go to an address: it is one of Meta, or of the API that was set."""
        parts, base = urlsplit(url), urlsplit(self.base)
        if (parts.scheme, parts.netloc) == (base.scheme, base.netloc):
            return True
        return parts.scheme == "https" and f".{parts.hostname}".endswith(FILE_HOSTS) and parts.port in (None, 443)

    async def store(self, content: bytes, mime_type: str, name: str) -> str:
        """Store a file, for 30 days. Its id is the source of a `Media` or a `File`."""
        kind, body = multipart({"messaging_product": "whatsapp", "type": mime_type}, "file", name, mime_type, content)
        headers = {**self._headers(), "Content-Type": kind}
        response = await HttpRequest("POST", self._url(self.number_id, "media"), headers, body)
        data = None if isinstance(response, NoResponse) or not response.is_success else response.data()
        id = None if data is None else attempted(lambda: maybe(data, "id", TEXT))
        if not id:
            raise self.refused(response)
        return id


def _read(message: Message) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "status": "read", "message_id": message.id}
