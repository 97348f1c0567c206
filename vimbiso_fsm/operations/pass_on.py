"""Pass on at once what a message of the member has left for an inbox. What is left then is a worker's.

The turn is stored before, so nothing is lost where this ends early. An inbox is asked at least once, and knows by the
name of what it is given whether it has taken it before. Where something waited at an inbox already, the process that
passes that on goes on with what came since, so that nothing overtakes and nothing passes twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.wake import Waking


async def pass_on(context: Context, member_id: str, inboxes: Iterable[str]) -> None:
    """Pass on what waits at a member and was not tried yet.

    Args:
        context: The context of the operation.
        member_id: The member.
        inboxes: The inboxes at which nothing waited before.
    """
    passing = _PassingOn(context, member_id, inboxes)
    if await passing.load(member_id):
        while await passing.step():
            pass


class _PassingOn(Waking):
    """A waking that makes no turns but those of what it passes on."""

    def __init__(self, context: Context, member_id: str, inboxes: Iterable[str]) -> None:
        super().__init__(context, member_id, delivers=False)
        self._turns.passes.update(inboxes)

    async def step(self) -> bool:
        """Pass the next thing on; return whether there may be more to do."""
        if self._follow_up is not None or self._unstored is not None:
            return await super().step()
        if self._turns.document.moved is None:
            for item in self._fresh_passing:
                self._follow_up = await self._pass_on(item)
                return True
        return False
