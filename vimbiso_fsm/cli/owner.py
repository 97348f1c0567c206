"""`vimbiso owner`: the bot that a store belongs to."""

from __future__ import annotations

from typing import Annotated

import typer

from vimbiso_fsm.cli.failures import fail
from vimbiso_fsm.cli.plain_text import clean
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened_store
from vimbiso_fsm.errors import UnknownLayout
from vimbiso_fsm.operations.claim import decode_owner
from vimbiso_fsm.store.requests import Claim, ReadOwner


def owner(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    release: Annotated[
        bool, typer.Option("--release", help="Take the owner away; the next bot that starts becomes the owner.")
    ] = False,
) -> None:
    """Print the bot that a store belongs to, and the layout of the store.

    No member's data is changed. A record that cannot be read is put aside by `vimbiso repair`. Exit code 1 when
    another process has changed the owner meanwhile.
    """
    with opened_store(redis, data, namespace, None) as at:
        record = at.store.perform(ReadOwner())
        if record is None:
            print("no owner")
            return
        try:
            found = decode_owner(record)
            print(clean(f"{found.words}; layout {found.layout}"))
        except UnknownLayout as error:
            print(clean(str(error)))
        if release:
            if at.store.perform(Claim(None, record)) is not None:
                fail("another process has changed the owner meanwhile; ask again")
            print("released")
