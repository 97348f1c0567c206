"""Broken scripts and rules, which prove that the suite finds faults: each is the real one without one of its laws."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Generator, Mapping
from typing import Any
from unittest import mock

from vimbiso_fsm.document.document import Run
from vimbiso_fsm.document.ids import hashed
from vimbiso_fsm.engine import pending
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.flow.calls import Call
from vimbiso_fsm.store import redis_atomic
from vimbiso_fsm.store import script as wire

assert redis_atomic  # it must be there to be looked through

__all__ = ["counted_fences", "counted_keys", "mutated", "script"]

_CUTS = {
    "no token": (b"if is_taken(state, version) then", b"if false then"),
    "tokens once": (b"tokens = tokens .. used .. used", b"tokens = tokens .. used"),
    "one key": (b"if is_used(other, state, version) then return true end", b""),
    "no age": (b"if not appended or tonumber(appended) > now - AUDIT_LIFE then break end", b"if true then break end"),
    "all ages at once": (b"KEYS[i], 0, EXPIRED_AT_ONCE - 1)", b"KEYS[i], 0, -1)"),
    "no digest": (b"if version ~= ARGV[4] or digest ~= ARGV[5] then", b"if version ~= ARGV[4] then"),
}


def script(mutant: str) -> bytes:
    """Return the text of the script without a law."""
    law, instead = (wire.with_numbers(text.decode()).encode() for text in _CUTS[mutant])
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


@contextlib.contextmanager
def counted_fences() -> Generator[None]:
    """Make the fences of questions of a run and a version, which a copy of the store counts again."""
    fence = property(lambda run: f"{run.id[-8:]}.{run.entered}.")
    with mock.patch.object(Run, "fence", fence):
        yield


@contextlib.contextmanager
def counted_keys() -> Generator[None]:
    """Make the keys of calls of a run, a state and a version."""

    def key(draft: Draft, run: Run, proposed: Call[Any], arguments: Mapping[str, Any]) -> str:
        return hashed("call", run.id, run.step, str(run.entered))

    with mock.patch.object(pending, "_key", key):
        yield
