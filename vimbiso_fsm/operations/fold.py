"""Fold the audit of a member who has sent many messages that were refused."""

from __future__ import annotations

from typing import Final

from vimbiso_fsm.audit.folding import folds
from vimbiso_fsm.errors import DamagedDocument, NotAnswered
from vimbiso_fsm.store.requests import ReadAudit
from vimbiso_fsm.store.retention import FOLD_EVERY, UNFOLDED

READ: Final = UNFOLDED + 2 * FOLD_EVERY
"""Entries that are read for one fold: twice as many as have come since the last one, in case that one failed."""


async def fold(member_id: str) -> None:
    """Fold each row of refused messages among the latest entries of a member.

    The turn is stored before. Where the store fails, the entries stay as they are, and the next fold takes them.
    """
    try:
        for found in folds(member_id, await ReadAudit(member_id, READ, tolerant=True)):
            await found
    except (NotAnswered, DamagedDocument):
        return
