"""The checks of settings: validators and converters of attrs, and the faults of variables of the environment.

None of them quotes what may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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


def is_app_address(value: str) -> bool:
    """Return whether a text is the address of an app, as channels call it."""
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)


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


@attrs.frozen
class Fault:
    """A setting that is missing or wrong.

    Attributes:
        name: Its variable.
        fault: What is wrong.
        remedy: What to do.
    """

    name: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} {self.fault}; {self.remedy}"


def secret_of(name: str, environment: Mapping[str, str]) -> str | Fault:
    """Return the value of a variable, or of the file that it names; empty without one."""
    given = environment.get(name, "").strip()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:  # ValueError: it is no text
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        return Fault(name, f"names a file that cannot be read: {why}", "let it be readable, or give the value itself")
