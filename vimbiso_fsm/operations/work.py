"""What is done at a member outside a conversation, as a protocol without input and output.

A `Work` is a generator: it yields a request and is sent its result. The sync and the async manager perform the very
same ones.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from vimbiso_fsm.audit.flow_audit import CommitEvent
from vimbiso_fsm.operations.effects import Pause
from vimbiso_fsm.store.requests import Request

R = TypeVar("R")


@attrs.frozen
class Done(Generic[R]):
    """What came of it, and what observers are to be told."""

    result: R
    told: tuple[CommitEvent, ...] = ()


Work: TypeAlias = Generator[Request | Pause, Any, Done[R]]
"""Yields what is to be performed, is sent what came of it, returns what was done."""
