"""What the API of a channel refuses, and what the sender answers then.

    busy      too much was sent, or the channel is down for a time: `Later`
    operator  an operator has to act: a token, a payment, a number. `Later`, so that nothing is lost meanwhile
    address   the channel sends this member nothing now: `Never(address=True)`
    content   the channel will not take this message: `Never`
    unknown   it does not tell whether the message was taken: `SendUnknown`

Each API has a table from its codes to these kinds, after the pages of its vendor. The reasons are words of the tables:
the vendor's own can quote a number or words of the member.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs

from vimbiso_fsm.errors import SendUnknown
from vimbiso_fsm.messages.sending import Later, Never
from vimbiso_fsm.web.requests import HttpResponse, NoResponse

Kind: TypeAlias = Literal["busy", "operator", "address", "content", "unknown"]

Known: TypeAlias = tuple[Kind, str, float | None]
"""What a code means: the kind, why, and the seconds to wait if the vendor's pages name them."""

OF_MEMBER: Final = frozenset({"131056"})
"""The codes with which a channel asks to wait with one member, and not with the whole account."""
OPERATOR_PAUSE: Final = 300.0
"""Seconds after which a channel is asked again where an operator has to act."""


@attrs.frozen
class Refusal:
    """A message was not taken, as far as is known.

    Attributes:
        kind: What follows from it; see the module.
        reason: Why, in words for operators.
        code: The channel's code of the error; that of HTTP without one.
        seconds: The seconds to wait, if the channel names them, or its pages do.
    """

    kind: Kind
    reason: str
    code: str = ""
    seconds: float | None = None

    def answer(self, api: str) -> Later | Never:
        """Return the answer of a sender.

        Args:
            api: The name of the API.

        Raises:
            SendUnknown: It is not known whether the message was taken.
        """
        match self.kind:
            case "busy":
                return Later(self.seconds, address=self.code in OF_MEMBER)
            case "operator":
                return Later(OPERATOR_PAUSE if self.seconds is None else self.seconds)
            case "address" | "content":
                return Never(self.reason, code=self.code, address=self.kind == "address")
            case "unknown":
                raise SendUnknown(api, self.reason, self.code)


def of_code(code: int, known: Known | None, response: HttpResponse) -> Refusal:
    """Return the refusal that a code of the vendor tells; that of the status if the code is not known."""
    if known is None:
        return attrs.evolve(of_status(response, is_vendors=True), code=str(code))
    kind, reason, seconds = known
    return Refusal(kind, reason, str(code), response.retry_after if kind == "busy" and seconds is None else seconds)


def of_no_response(response: NoResponse) -> Refusal:
    """Return the refusal of a request without a response."""
    return Refusal("unknown" if response.may_have_arrived else "busy", f"no response came ({response.reason})")


def of_status(response: HttpResponse, *, is_vendors: bool) -> Refusal:
    """Return the refusal that the status of HTTP alone tells.

    Args:
        response: The response.
        is_vendors: Whether the body has the form of the vendor. Otherwise another server on the way may have answered,
            and a status 4xx says nothing of the message.
    """
    status, code = response.status, f"HTTP {response.status}"
    match status:
        case 429:
            return Refusal("busy", "too many requests", code, response.retry_after)
        case 401 | 407:
            return Refusal("operator", "the credentials are not accepted", code)
        case 413:
            return Refusal("content", "the message is too large", code)
        case 503 if response.retry_after is not None:
            return Refusal("busy", "the service is not available", code, response.retry_after)
        case _ if 300 <= status < 400:
            return Refusal("operator", "the address of the API leads to another one", code)
        case _ if 400 <= status < 500 and status != 408:
            return (
                Refusal("content", "the message is refused", code)
                if is_vendors
                else Refusal("operator", "the address of the API does not answer as it should", code)
            )
        case _:
            return Refusal("unknown", "the response does not tell whether the message was taken", code)
