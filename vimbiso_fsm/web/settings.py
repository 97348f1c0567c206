"""The checks of settings, as validators and converters of attrs. Their errors do not quote what may be a secret."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import attrs

MAX_BODY: Final = 3 << 20
"""Bytes of the body of a webhook. Meta's have up to 3 MB."""


def optional_secret(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check a secret, which may be empty."""
    if not isinstance(value, str) or not all("!" <= each <= "~" for each in value):
        raise ValueError(f"{attribute.name} is no text of printable ASCII characters without spaces")


def secret(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check a secret without which nothing can be sent."""
    if not value:
        raise ValueError(f"{attribute.name} is empty; without it nothing can be sent")
    optional_secret(_, attribute, value)


def without_slash(value: str) -> str:
    """Return an address without a slash at its end."""
    return value.rstrip("/")


def address(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """Check the address of an API."""
    parts = urlsplit(value)
    is_bare = not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_bare:
        fault = "give https://HOST, without a user, a query or a fragment"
        raise ValueError(f"{attribute.name} is not the address of an API; {fault}")


def missing_settings(channel: object, verify_token: str) -> list[str]:
    """Return the names of settings that are empty, and without which a channel accepts no request.

    Args:
        channel: The channel: a client of an `Api`, or one of the embedder's own, whose settings are not known.
        verify_token: The token of Meta's handshake.
    """
    api: object = getattr(channel, "api", None)
    missing = [*getattr(api, "missing_secrets", ())]
    return [*missing, "verify_token"] if getattr(api, "shakes_hands", False) and not verify_token else missing
