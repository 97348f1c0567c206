"""The settings of encryption that commands take from the environment. No key stands on the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.encryption.keys import KeyFile, KeyRing
from vimbiso_fsm.encryption.settings import Encryption

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS: Final = "VIMBISO_KEYS"
"""The environment variable with the key ring, as `KeyRing.read` takes it, or with `@FILE` that holds it."""
SCOPE: Final = "VIMBISO_ENCRYPTION"
"""The environment variable with the scope; "whole" without it."""
MEMBER_KEYS: Final = "VIMBISO_MEMBER_KEYS"
"""The environment variable with the URL of the store of the members' own keys, or with `store` for the same store."""


def encryption_of_environment(environment: Mapping[str, str] = os.environ) -> Encryption | None:
    """Return the settings of encryption, or None without `VIMBISO_KEYS`. Wrong settings end the command."""
    given = environment.get(KEYS, "").strip()
    if not given:
        for name in (SCOPE, MEMBER_KEYS):
            if environment.get(name):
                fail(f"{name} is set without {KEYS}; give the key ring, or @FILE that holds it, in {KEYS}")
        return None
    kept = environment.get(MEMBER_KEYS, "").strip()
    member_keys = True if kept == "store" else kept or False
    try:
        keys = KeyFile(given[1:]) if given.startswith("@") else KeyRing.read(given)
    except OSError as error:
        fail(f"{KEYS}: the file cannot be read: {error.strerror}")
    except ValueError as error:  # it is no text, or no ring
        fail(f"{KEYS}: {'the file is no UTF-8' if isinstance(error, UnicodeError) else error}")
    try:
        scope = environment.get(SCOPE, "").strip() or "whole"
        return Encryption(keys, scope, member_keys)  # type: ignore[arg-type]  # it is checked
    except ValueError as error:
        fail(f"{SCOPE}: {error}")


def require_encryption() -> Encryption:
    """Return the settings of encryption; without `VIMBISO_KEYS` the command ends."""
    found = encryption_of_environment()
    if found is None:
        fail(f"no key ring is given; set {KEYS} to it, or to @FILE that holds it")
    return found
