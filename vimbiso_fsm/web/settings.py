"""The checks of settings, as validators and converters of attrs. Their errors do not quote what may be a secret."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs


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
