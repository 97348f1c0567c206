"""Whether the options of a reply were written with the numbers that choose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from vimbiso_fsm.channels import telegram, whatsapp
from vimbiso_fsm.messages.replies import Reply

_NATIVE: Final[Mapping[str, Callable[[Reply], bool]]] = {
    "telegram": telegram.writes_numbers,
    "whatsapp": whatsapp.writes_numbers,
}
"""The channels with buttons of their own. Every other channel may number its options."""


def writes_numbers(channel_type: str, reply: Reply) -> bool:
    """Return whether a member on a channel of this type may have read a number beside each option of a reply."""
    native = _NATIVE.get(channel_type)
    return native is None or native(reply)
