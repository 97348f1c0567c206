"""An inbox of people over HTTP: what a member says is posted to the help desk, and what it says comes in by a POST.

Both directions are JSON, signed as the REST channel is (`channels.rest`). What passes has a name that is the same in
each attempt, and an act of the help desk has a key, so that a request that is made again has no second effect.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

import attrs

from vimbiso_fsm.channels import rest
from vimbiso_fsm.channels.delivery import TEXT, read_object, take
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.passed_on import PassedOn
from vimbiso_fsm.messages.sending import Answer, Later, Never, Sent
from vimbiso_fsm.web.requests import AsyncCarrier, Carrier, HttpRequest, HttpResponse, NoResponse
from vimbiso_fsm.web.rest import check_secrets, secrets_of
from vimbiso_fsm.web.settings import address

if TYPE_CHECKING:
    from vimbiso_fsm.web.http import AsyncTransport, Transport

POST_SECONDS: Final = 8.0
"""Seconds for one POST. A manager gives an inbox ten."""
GONE: Final = 410
"""The status with which a help desk says that it takes nothing any more: the bot takes the conversation back."""
MAX_ANSWER: Final = 1 << 16
"""Bytes of the answer of a help desk that are read. Nothing in it counts but its status."""
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "say": frozenset({"do", "member", "key", "by", "text"}),
    "take": frozenset({"do", "member", "key", "by"}),
    "back": frozenset({"do", "member", "key", "by"}),
}


@attrs.frozen
class Act:
    """What a help desk does.

    Attributes:
        do: "say" something to the member, "take" the conversation over, or give it "back" to the bot.
        member_id: The id of the conversation, as the inbox was given it.
        key: The name of the act at this member.
        by: The name of the person, for the audit.
        text: The words, if it says something.
    """

    do: str
    member_id: str
    key: str = attrs.field(repr=False)
    by: str
    text: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class HttpInbox:
    """An inbox whose people are reached over HTTP.

    Attributes:
        name: The name of the inbox, as the bot declares it.
        url: The address of the help desk, to which what passes is posted.
        secrets: What the bot and the help desk share: one random text of at least 32 characters, or several while one
            takes the place of another. Requests to the help desk are signed with the first one.

    Raises:
        ValueError: The address is none, or there is no secret, or one is too short.
    """

    name: str
    url: str = attrs.field(validator=address)
    secrets: tuple[str, ...] = attrs.field(repr=False, converter=secrets_of, validator=check_secrets)

    def request(self, passed: PassedOn, *, at: int) -> HttpRequest:
        """Return the signed request that passes something on.

        Args:
            passed: What passes.
            at: The current time, in seconds since the epoch.
        """
        channel = {"type": passed.channel.type, "identifier": passed.channel.identifier}
        body = {
            "inbox": passed.inbox, "id": passed.id, "kind": passed.kind, "at": passed.at.isoformat(),
            "member": passed.member_id, "channel": channel, "authenticated": passed.authenticated,
            "text": passed.text, "content": dict(passed.content), "by": passed.by,
        }  # fmt: skip
        raw = json.dumps(body, allow_nan=False).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Vimbiso-Signature": rest.sign(raw, secret=self.secrets[0], at=at),
        }
        return HttpRequest("POST", self.url, headers, raw, MAX_ANSWER)

    def answer(self, response: HttpResponse | NoResponse) -> Answer:
        """Return what a response means. Any other than a success or `GONE` asks to come again."""
        if isinstance(response, NoResponse):
            return Later()
        if response.is_success:
            return Sent()
        is_gone = response.status == GONE
        return Never("the help desk is gone", code=str(GONE)) if is_gone else Later(response.retry_after)

    def verify(self, headers: Mapping[str, str], raw: bytes, *, now: datetime) -> bool:
        """Return whether a request is signed, and was made within the replay window of now."""
        return rest.verify(headers, raw, secret=self.secrets, now=now)

    def parse(self, body: bytes) -> Act:
        """Read an act of the help desk.

        Raises:
            InvalidMessage: The body is no act. The field of the error names the part.
        """
        found = read_object(body)
        do = take(found, "do", TEXT)
        if do not in _FIELDS:
            raise InvalidMessage("do", f"is none of {', '.join(_FIELDS)}")
        if found.keys() - _FIELDS[do]:
            raise InvalidMessage("body", f"has an unknown field; {do!r} has {', '.join(sorted(_FIELDS[do]))}")
        return Act(
            do, take(found, "member", TEXT), take(found, "key", TEXT), take(found, "by", TEXT),
            take(found, "text", TEXT) if do == "say" else "",
        )  # fmt: skip


class InboxClient:
    """The posts to a help desk, for threads: `inboxes={"support": client.take}`.

    Args:
        inbox: The inbox.
        transport: A transport of httpx2, with a proxy or certificates for example. It is closed with the client.
        carrier: What makes the requests in place of httpx2.
        clock: Returns the current time, in seconds since the epoch.
    """

    def __init__(
        self,
        inbox: HttpInbox,
        *,
        transport: Transport | None = None,
        carrier: Carrier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if carrier is None:
            from vimbiso_fsm.web.http import Connection

            carrier = Connection(transport)
        self.inbox, self._connection, self._clock = inbox, carrier, clock

    def take(self, passed: PassedOn) -> Answer:
        """Post what passes to the help desk."""
        request = self.inbox.request(passed, at=int(self._clock()))
        return self.inbox.answer(self._connection.perform(request, time.monotonic() + POST_SECONDS))

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncInboxClient:
    """The posts to a help desk, for an event loop. See `InboxClient`."""

    def __init__(
        self,
        inbox: HttpInbox,
        *,
        transport: AsyncTransport | None = None,
        carrier: AsyncCarrier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if carrier is None:
            from vimbiso_fsm.web.http import AsyncConnection

            carrier = AsyncConnection(transport)
        self.inbox, self._connection, self._clock = inbox, carrier, clock

    async def take(self, passed: PassedOn) -> Answer:
        """Post what passes to the help desk."""
        request = self.inbox.request(passed, at=int(self._clock()))
        return self.inbox.answer(await self._connection.perform(request, time.monotonic() + POST_SECONDS))

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
