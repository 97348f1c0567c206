"""Login tokens of members: their instants of issue and expiry, and their renewal.

Login tokens are JSON Web Tokens (RFC 7519). The instants of a token are read once, when a document takes it, and are
stored beside it. From then on, the store's clock alone decides:

    live                          the member is authenticated
    expired                       the member is not authenticated; `requires` is evaluated as with a new token
    before a call                 a token that has expired, or will within `margin`, is renewed first
    refused by the service (401)  the token is renewed once, and the call is repeated with its key
    end of the session, logout    the token is deleted and not renewed
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from vimbiso_fsm.document.document import Member, TokenLife
from vimbiso_fsm.errors import BadToken, FlowError
from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.flow.turn import Callback, Changes
from vimbiso_fsm.messages.bounds import check_seconds
from vimbiso_fsm.messages.refusals import Refused

LATEST: Final = 253_402_300_799
"""The last second that a `datetime` can hold, in the year 9999."""


def _member_id(member: Member) -> str:
    return member.id


@attrs.frozen
class Tokens:
    """The settings for the tokens of members: `Bot(tokens=Tokens(renew=…, renewed=…))`.

    Attributes:
        renew: Proposes the call that requests a new token.
        renewed: The `prepare` that takes the result of that call; the function that a login uses. A result that is
            `Refused` or None brings no token: the member is logged out, and continues in the bot's entry flow.
        unauthorised: The code of the `Refused` with which a call says that its token was not accepted (HTTP 401).
        algorithms: The algorithms with which a token may be signed.
        key: Verifies the signature. Without it, a token from the issuer itself is believed.
        subject: Returns the `sub` that a member's token must have; None accepts any.
        leeway: Seconds by which the issuer's clock may differ.
        margin: Seconds before its end in which a token is renewed rather than used.

    Raises:
        FlowError: A setting is out of range.
    """

    renew: Callback[Any, Call[object]]
    renewed: Callback[Any, Changes[object]]
    unauthorised: str = attrs.field(default="unauthorised", kw_only=True)
    algorithms: Sequence[str] = attrs.field(default=("HS256",), kw_only=True)
    key: str | bytes | None = attrs.field(default=None, kw_only=True, repr=False)
    subject: Callable[[Member[Any]], str] | None = attrs.field(default=_member_id, kw_only=True)
    leeway: float = attrs.field(default=5.0, kw_only=True)
    margin: float = attrs.field(default=20.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not self.algorithms or "none" in [name.lower() for name in self.algorithms]:
            fault = "algorithms names none, or the algorithm 'none'"
            raise FlowError("", "Tokens", fault, "name those that the issuer signs with")
        for name in ("leeway", "margin"):
            check_seconds("Tokens", name, getattr(self, name), more=False)

    def life(self, token: str, member: Member, now: datetime) -> TokenLife:
        """Return the instants at which a token was issued and expires, as its claims say.

        Args:
            token: The encoded token.
            member: The member whose token it is.
            now: The store's clock.

        Raises:
            BadToken: It cannot be read, is not signed as required, lacks `exp` or `sub`, has expired, belongs to
                another member or comes from the future.
        """
        claims, leeway = self._claims(token, member.id), timedelta(seconds=self.leeway)

        def bad(claim: str, fault: str) -> BadToken:
            return BadToken(member.id, claim, fault)

        def instant(claim: str) -> datetime | None:
            value: object = claims.get(claim)
            if value is None:
                return None
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
                raise bad(claim, "is not an instant")
            return datetime.fromtimestamp(value, now.tzinfo)

        if not isinstance(claims["sub"], str):
            raise bad("sub", "is not a text")
        if self.subject is not None and claims["sub"] != self.subject(member):
            raise bad("sub", "names another member")
        expires, issued = instant("exp"), instant("iat")
        if expires is None:
            raise bad("exp", "is missing")
        if expires + leeway <= now:
            raise bad("exp", "has passed")
        for claim in ("iat", "nbf"):
            begins = instant(claim)
            if begins is not None and begins > now + leeway:
                raise bad(claim, "is in the future")
        return TokenLife(issued or now, expires)

    def _claims(self, token: str, member_id: str) -> dict[str, object]:
        """Return the claims of a token. Its instants are judged by the store's clock, in `life`."""
        import jwt  # here, because a bot without tokens need not load it

        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm not in self.algorithms:
                raise BadToken(member_id, "alg", "is not among those that are accepted")
            return jwt.decode(
                token,
                self.key or "",
                algorithms=[*self.algorithms],
                options={
                    "require": ["exp", "sub"],
                    "verify_signature": self.key is not None,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_sub": False,
                    "verify_aud": False,
                    "verify_iss": False,
                },
            )
        except jwt.MissingRequiredClaimError as error:
            raise BadToken(member_id, error.claim, "is missing") from None
        except jwt.InvalidSignatureError:
            raise BadToken(member_id, "", "is not signed with the key") from None
        except (jwt.PyJWTError, RecursionError) as error:
            raise BadToken(member_id, "", f"cannot be read ({type(error).__name__})") from None

    def is_refusal(self, result: object) -> bool:
        """Return whether the result of a call says that its token was not accepted."""
        return isinstance(result, Refused) and result.code == self.unauthorised
