"""What a bot knows of its members' tokens: when they were issued, when they run out, how a new one is had.

Tokens are JSON Web Tokens (RFC 7519). Their instants are read once, when a token is taken into a document, and kept
beside it; from then on a token is live or not by the store's clock alone:

    live               the member is authenticated
    run out            they are not; what a flow `requires` is judged as it will be with a new token
    before a call      a token that has run out, or will within `margin`, is renewed first
    401                the call's own answer says so: the token is renewed once, the call repeated with its key
    session's end,     the token is dropped, and nothing renews it
    logout
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
import jwt

from vimbiso_fsm.document.document import Member, TokenLife
from vimbiso_fsm.errors import VimbisoError
from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.flow.turn import Changes, Turn
from vimbiso_fsm.messages.refusals import Refused

LATEST: Final = 253_402_300_799
"""The last second that an instant can name, of the year 9999."""


class BadToken(VimbisoError, ValueError):
    """A token that is not taken. Attributes: `member_id`, `claim` (the field of the token, "" for the whole of it),
    `fault`. The token itself is not quoted."""

    def __init__(self, member_id: str, claim: str, fault: str) -> None:
        self.member_id, self.claim, self.fault = member_id, claim, fault
        where = f"claim {claim!r} of the token" if claim else "the token"
        super().__init__(f"{where} of member {member_id!r} {fault}; it was not taken, ask its issuer for another one")


def _member_id(member: Member) -> str:
    return member.id


@attrs.frozen
class Tokens:
    """The members' tokens: `Bot(tokens=Tokens(renew=…, renewed=…))`.

    `renew` proposes the call that asks for a new token. `renewed` is the `prepare` that takes its answer: the very
    function that a login uses. An answer that is `Refused` or None gives no token: the member is logged out, and goes
    through the bot's entry flow. `unauthorised`: the code of the `Refused` by which a call says that its token was not
    accepted (HTTP 401). `algorithms`: those a token may be signed with, nothing else. `key`: verifies the signature;
    without it, what came from the issuer itself is believed. `subject`: whom a member's token must name as `sub`; None
    waives that. `leeway`: seconds by which the issuer's clock may be off. `margin`: seconds before
    its end in which a token is renewed rather than used.
    """

    renew: Callable[[Turn[Any]], Call[Any]]
    renewed: Callable[[Turn[Any]], Changes[Any]]
    unauthorised: str = attrs.field(default="unauthorised", kw_only=True)
    algorithms: Sequence[str] = attrs.field(default=("HS256",), kw_only=True)
    key: str | bytes | None = attrs.field(default=None, kw_only=True, repr=False)
    subject: Callable[[Member], str] | None = attrs.field(default=_member_id, kw_only=True)
    leeway: float = attrs.field(default=5.0, kw_only=True)
    margin: float = attrs.field(default=20.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not self.algorithms or "none" in [name.lower() for name in self.algorithms]:
            raise ValueError("algorithms names none, or the algorithm 'none'; name those that the issuer signs with")
        if not (self.leeway >= 0 and self.margin >= 0):
            raise ValueError(f"leeway is {self.leeway!r} and margin {self.margin!r}; both are seconds, not negative")

    def life(self, token: str, member: Member, now: datetime) -> TokenLife:
        """When a member's token was issued and when it runs out, by its own word.

        Raises: BadToken when it is none, is not signed as it should be, lacks `exp` or `sub`, has run out, is somebody
        else's or comes from the future.
        """
        claims, leeway = self._claims(token, member.id), timedelta(seconds=self.leeway)

        def bad(claim: str, fault: str) -> BadToken:
            return BadToken(member.id, claim, fault)

        def instant(claim: str) -> datetime | None:
            value: object = claims.get(claim)
            if value is None:
                return None
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
                raise bad(claim, "is no instant")
            return datetime.fromtimestamp(value, now.tzinfo)

        if not isinstance(claims["sub"], str):
            raise bad("sub", "is no text")
        if self.subject is not None and claims["sub"] != self.subject(member):
            raise bad("sub", "names somebody else")
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

    def _claims(self, token: str, member_id: str) -> dict[str, Any]:
        """What the token says; instants are judged by the store's clock, not here."""
        options: Any = {
            "require": ["exp", "sub"],
            "verify_signature": self.key is not None,
            **dict.fromkeys(
                ("verify_exp", "verify_iat", "verify_nbf", "verify_sub", "verify_aud", "verify_iss"), False
            ),
        }
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm not in self.algorithms:
                raise BadToken(member_id, "alg", "is none of those that are accepted")
            return jwt.decode(token, self.key or "", algorithms=[*self.algorithms], options=options)
        except jwt.MissingRequiredClaimError as error:
            raise BadToken(member_id, error.claim, "is missing") from None
        except jwt.InvalidSignatureError:
            raise BadToken(member_id, "", "is not signed with the key") from None
        except (jwt.PyJWTError, RecursionError) as error:
            raise BadToken(member_id, "", f"cannot be read ({type(error).__name__})") from None

    def is_refusal(self, result: object) -> bool:
        """Whether a call's answer says that its token was not accepted."""
        return isinstance(result, Refused) and result.code == self.unauthorised
