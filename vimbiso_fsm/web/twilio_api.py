"""The Messaging API of Twilio: SMS, and WhatsApp by Twilio.

Twilio takes no key that would make a repeated request harmless; a request that was answered with 429 was never
processed. The table of errors follows the pages "Error and Warning Dictionary".
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

import attrs

from vimbiso_fsm.channels import sms
from vimbiso_fsm.channels.delivery import NUMBER, TEXT, Delivery, attempted, maybe
from vimbiso_fsm.channels.sms_forms import WHATSAPP
from vimbiso_fsm.errors import RequestRefused
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.sending import Sent
from vimbiso_fsm.web.api import Api, Fetched
from vimbiso_fsm.web.refusals import Known, Refusal, of_code, of_status
from vimbiso_fsm.web.requests import HttpRequest, HttpResponse
from vimbiso_fsm.web.settings import address, optional_secret, secret, without_slash

ERRORS: Final[Mapping[int, Known]] = MappingProxyType(
    {
        # Throttling: nothing was taken.
        20429: ("busy", "too many requests", None),
        21611: ("busy", "the queue of the number is full", 60.0),
        30001: ("busy", "the queue of the account is full", 60.0),
        63018: ("busy", "the channel takes no more messages for a time", 60.0),
        63038: ("operator", "the account has reached its daily limit", 3600.0),
        # An operator has to act.
        10001: ("operator", "the account is not active", 3600.0),
        20003: ("operator", "the credentials are not accepted", None),
        20005: ("operator", "the account is not active", 3600.0),
        20404: ("operator", "the account or the number does not exist", None),
        21408: ("operator", "the account may not send to this region", 3600.0),
        21603: ("operator", "the number to send from is missing", None),
        21606: ("operator", "the number to send from is not one of the account", None),
        21659: ("operator", "the number to send from is not one of the account", None),
        21660: ("operator", "the number to send from belongs to another account", None),
        21701: ("operator", "the messaging service does not exist", None),
        21703: ("operator", "the messaging service has no numbers", None),
        30002: ("operator", "the account is suspended", 3600.0),
        30034: ("operator", "the number is not registered for its traffic", 3600.0),
        63007: ("operator", "the number to send from is not one of the channel", None),
        # The member.
        21211: ("address", "the number of the member is invalid", None),
        21214: ("address", "the number of the member cannot be reached", None),
        21217: ("address", "the number of the member is invalid", None),
        21265: ("address", "the number of the member is a short code", None),
        21266: ("address", "the member is the sender", None),
        21608: ("address", "the number of the member is not verified, as a trial account asks for", None),
        21610: ("address", "the member has unsubscribed", None),
        21612: ("address", "the number of the member cannot be reached from this one", None),
        21614: ("address", "the number of the member is no mobile number", None),
        21635: ("address", "the number of the member is a landline", None),
        63003: ("address", "the member cannot be found on the channel", None),
        63015: ("address", "the member has not joined the sandbox", None),
        63016: ("address", "the member has not written for 24 hours", None),
        63024: ("address", "the number of the member is invalid", None),
        # The message.
        21602: ("content", "the text is missing", None),
        21604: ("content", "the number of the member is missing", None),
        21605: ("content", "the text is too long", None),
        21617: ("content", "the text is too long", None),
        21619: ("content", "there is neither a text nor a file", None),
        21620: ("content", "the address of the file is invalid", None),
        21623: ("content", "there are too many files", None),
        63013: ("content", "the message violates a policy of the channel", None),
        63019: ("content", "the file could not be fetched", None),
        63032: ("content", "the member is part of an experiment", None),
    }
)
"""What each code of an error means: its kind, why, and the seconds to wait."""

SERVICE: Final = "MG"
"""The beginning of the id of a messaging service, which chooses a number to send from."""


@attrs.frozen(kw_only=True)
class TwilioApi(Api):
    """The Messaging API of Twilio. It is a sender for the channel types "sms" and "whatsapp".

    Attributes:
        account_sid: The id of the account.
        auth_token: The token of the account, with which Twilio signs webhooks as well.
        sender: The number to send from, or the id of a messaging service. A member is answered from the number that
            they wrote to (`channel.account`); this one is that of the others.
        key_sid: The id of an API key to send with, in place of the account's token.
        key_secret: The secret of that key.
        shared_key: The shared key of a webhook rule; see `sms.verify`.
        status_callback: The address to which Twilio reports the status of each message. Without one it reports where
            the number or the messaging service says.
        base: The address of the API.
        messaging_base: The address of the API for the sign of work.

    Raises:
        ValueError: A setting is none.
    """

    name: ClassVar[str] = "Twilio Messaging API"
    works_for: ClassVar[float | None] = 20.0  # the sign ends after 25 seconds

    account_sid: str = attrs.field(validator=secret)
    auth_token: str = attrs.field(repr=False, validator=secret)
    sender: str = attrs.field(default="", repr=False, converter=str)
    key_sid: str = attrs.field(default="", validator=optional_secret)
    key_secret: str = attrs.field(default="", repr=False, validator=optional_secret)
    shared_key: str = attrs.field(default="", repr=False, validator=optional_secret)
    status_callback: str = ""
    base: str = attrs.field(default="https://api.twilio.com", converter=without_slash, validator=address)
    messaging_base: str = attrs.field(
        default="https://messaging.twilio.com", converter=without_slash, validator=address
    )

    def __attrs_post_init__(self) -> None:
        if bool(self.key_sid) != bool(self.key_secret):
            raise ValueError("key_sid and key_secret belong together; give both, or neither")

    def verify(self, headers: Mapping[str, str], raw: bytes, url: str) -> bool:
        """Return whether Twilio has signed the request."""
        return sms.verify(headers, raw, url, secret=self.auth_token, shared_key=self.shared_key)

    def parse(self, body: bytes, *, now: datetime | None = None) -> Delivery:
        """Read one webhook."""
        return sms.parse(body, now=now)

    def render(self, channel: Channel, replies: Iterable[Reply]) -> list[dict[str, Any]]:
        """Write the parameters that send `replies`."""
        return sms.render(channel, replies)

    def post(self, channel: Channel, payload: Mapping[str, Any]) -> HttpRequest:
        """Return the request that sends a payload."""
        fields = {**payload, **self._from(channel)}
        if self.status_callback:
            fields["StatusCallback"] = self.status_callback
        url = f"{self.base}/2010-04-01/Accounts/{quote(self.account_sid, safe='')}/Messages.json"
        headers = {**self._headers(), "Content-Type": "application/x-www-form-urlencoded"}
        return HttpRequest("POST", url, headers, urlencode(fields).encode())

    def _from(self, channel: Channel) -> dict[str, str]:
        """Return the number to send from, or the messaging service."""
        number = channel.account or self.sender
        if number.startswith(SERVICE):
            return {"MessagingServiceSid": number}
        if channel.type == "whatsapp" and number and not number.startswith(WHATSAPP):
            number = f"{WHATSAPP}{number}"
        return {"From": number}

    def _headers(self) -> dict[str, str]:
        user, password = (self.key_sid, self.key_secret) if self.key_sid else (self.account_sid, self.auth_token)
        return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}

    def outcome(self, response: HttpResponse) -> Sent | Refusal:
        """Return what the response to a message says."""
        data = response.data() or {}
        if response.is_success:
            sid = attempted(lambda: maybe(data, "sid", TEXT))
            return Sent(sid) if sid else of_status(response, is_vendors=False)
        code = attempted(lambda: maybe(data, "code", NUMBER))
        if code is None:
            return of_status(response, is_vendors=False)
        return of_code(code, ERRORS.get(code), response)

    def working(self, message: Message) -> HttpRequest | None:
        """Return the request that shows that a reply is being prepared, to a member on WhatsApp."""
        if message.channel.type != "whatsapp":
            return None
        fields = {"messageId": message.id.partition("/")[0], "channel": "whatsapp"}
        headers = {**self._headers(), "Content-Type": "application/x-www-form-urlencoded"}
        return HttpRequest(
            "POST", f"{self.messaging_base}/v2/Indicators/Typing.json", headers, urlencode(fields).encode()
        )

    async def fetch(self, file_id: str, limit: int) -> Fetched:
        """Fetch a file that a member has sent. Twilio leads to another host, which gets no credentials."""
        if urlsplit(file_id)[:2] != urlsplit(self.base)[:2]:
            raise RequestRefused(self.name, "operator", "the address of the file is not one of Twilio")
        response = await HttpRequest("GET", file_id, self._headers(), limit=limit)
        if isinstance(response, HttpResponse) and 300 <= response.status < 400:
            target = urljoin(file_id, response.headers.get("location", ""))
            if urlsplit(target).scheme != urlsplit(self.base).scheme:
                raise RequestRefused(self.name, "operator", "the file is at an address without encryption")
            response = await HttpRequest("GET", target, limit=limit)
        response = self.file_of(response)
        return Fetched(response.body, response.headers.get("content-type", ""))
