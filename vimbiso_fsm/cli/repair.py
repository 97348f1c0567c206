"""`vimbiso repair`: the records that a store keeps once."""

from __future__ import annotations

import time
from typing import Annotated, Final, get_args

import typer

from vimbiso_fsm.cli.plain_text import shown
from vimbiso_fsm.cli.store_options import Data, Namespace, Redis, opened_store
from vimbiso_fsm.operations.effects import run
from vimbiso_fsm.operations.shared import repair_records
from vimbiso_fsm.store.requests import StoreRecord

RECORDS: Final[tuple[StoreRecord, ...]] = get_args(StoreRecord)
AFTERWARDS: Final = {
    "owner": "the next bot that starts becomes the owner",
    "shards": "the next manager that starts records them anew",
    "index": "a new key is used; find the members by it: vimbiso index --restore",
}
"""What follows when a record was put aside."""


def repair(
    redis: Redis = None,
    data: Data = None,
    namespace: Namespace = "",
    aside: Annotated[
        list[str] | None,
        typer.Option(
            "--aside", metavar="|".join(RECORDS), help="Put this record aside although it can be read; may be repeated."
        ),
    ] = None,
) -> None:
    """Put records of a store aside that cannot be read: of its owner, its shards, and the keys of its channel index.

    No manager starts on a store with such a record. The next one writes the record anew. With a secret in
    VIMBISO_SECRET the index has the same keys as before; a random key of the store is lost, and `vimbiso index
    --restore` names the channels of the members with the new one. What was put aside is kept for 30 days, and an
    incident of the store names it. No member's data is changed.
    """
    also: list[StoreRecord] = [name for name in RECORDS if name in (aside or ())]
    for word in aside or ():
        if word not in RECORDS:
            raise typer.BadParameter(f"{shown(word)} is no record; give {', '.join(RECORDS)}", param_hint="--aside")
    with opened_store(redis, data, namespace, None) as at:
        done = run(repair_records(time.time(), also), at.store.perform)
    for name in done:
        print(f"{name}: put aside; {AFTERWARDS[name]}")
    if not done:
        print("all records can be read")
