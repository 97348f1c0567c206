"""Broken scripts, which prove that the suite finds faults: each is the real script without one of its laws."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Generator
from unittest import mock

from vimbiso_fsm.store import redis_atomic
from vimbiso_fsm.store import script as wire

assert redis_atomic  # it must be there to be looked through

__all__ = ["mutated", "script"]

_CUTS = {
    "no token": (b"if used and tonumber(used) > oldest then", b"if false then"),
    "no age": (b"if not appended or tonumber(appended) > now - life then break end", b"if true then break end"),
    "all ages at once": (b"for _ = 1, most do", b"for _ = 1, kept do"),
    "no digest": (b"if version ~= ARGV[4] or digest ~= ARGV[5] then", b"if version ~= ARGV[4] then"),
}


def script(mutant: str) -> bytes:
    """Return the text of the script without a law."""
    law, instead = _CUTS[mutant]
    assert wire.SCRIPT.count(law) == 1, f"the script no longer says {law!r}"
    return wire.SCRIPT.replace(law, instead)


@contextlib.contextmanager
def mutated(mutant: str) -> Generator[None]:
    """Send the broken script from this process inside the block; the real one when `mutant` is empty."""
    with contextlib.ExitStack() as stack:
        if mutant:
            broken = script(mutant)
            sha = hashlib.sha1(broken, usedforsecurity=False).hexdigest()
            library = [module for name, module in sys.modules.items() if name.startswith("vimbiso_fsm.")]
            for real, instead in ((wire.SCRIPT, broken), (wire.SHA, sha)):
                for module in library:
                    for name in [name for name, value in vars(module).items() if value is real]:
                        stack.enter_context(mock.patch.object(module, name, instead))
        yield
