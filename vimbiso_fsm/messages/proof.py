"""What the identifier of a channel proves of its speaker. All types of channels that are always known stand here.

An identifier is opaque: ten digits may be an account of Telegram or a telephone number. Only a channel whose platform
has verified the number proves one. An author's own type of channel proves nothing, unless `Bot(channels=…)` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

Proof: TypeAlias = Literal["phone", "account", "nothing"]
"""What an identifier proves.

"phone": the speaker has the telephone number that it is, as far as the platform has verified it.
"account": the speaker has the account of the platform. It stays theirs, but says nothing of a number.
"nothing": any sender could have made it.
"""

PROOFS: Final[Mapping[str, Proof]] = {
    "whatsapp": "phone",
    "sms": "phone",
    "telegram": "account",
    "ussd": "nothing",
    "terminal": "nothing",
    "web": "nothing",
    "rest": "nothing",
    "messenger": "nothing",
    "signal": "nothing",
    "viber": "nothing",
    "matrix": "nothing",
    "slack": "nothing",
    "discord": "nothing",
    "email": "nothing",
    "voice": "nothing",
}
"""The types of channels that are always known, and what the identifiers of each prove.

Types for which this library has no module prove nothing, because that depends on the module that makes their messages.
"""

KINDS: Final[frozenset[str]] = frozenset(get_args(Proof))
"""All proofs."""

_NUMBER: Final = re.compile(r"\+?([1-9][0-9]{6,14})")


_OTHERWISE: Final[Mapping[str, Proof]] = {"whatsapp": "account"}
"""What an identifier that is no number proves on a channel that proves numbers; on others, such as SMS, nothing."""


def proof_of(declared: Proof, type: str, identifier: str) -> Proof:
    """Return what one identifier proves, where its type of channel proves `declared`.

    A channel that proves numbers can have other identifiers too, such as the user ids of WhatsApp.
    """
    if declared != "phone" or _NUMBER.fullmatch(identifier):
        return declared
    return _OTHERWISE.get(type, "nothing")


def proven_phone(proof: Proof, identifier: str) -> str:
    """Return the telephone number that an identifier proves, as digits with the country code; empty without one."""
    found = _NUMBER.fullmatch(identifier) if proof == "phone" else None
    return found[1] if found else ""
