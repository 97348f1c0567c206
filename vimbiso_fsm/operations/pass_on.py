"""Pass on at once what a message of the member has left for an inbox. What is left then is a worker's.

The turn is stored before, so nothing is lost where this ends early. An inbox is asked at least once, and knows by the
name of what it is given whether it has taken it before.
"""

from __future__ import annotations

from vimbiso_fsm.operations.context import Context
from vimbiso_fsm.operations.wake import Waking


async def pass_on(context: Context, member_id: str, *, delivers: bool) -> None:
    """Pass on what waits at a member and was not tried yet.

    Args:
        context: The context of the operation.
        member_id: The member.
        delivers: Whether the shell can deliver replies.
    """
    passing = _PassingOn(context, member_id, delivers)
    if await passing.load(member_id):
        while await passing.step():
            pass


class _PassingOn(Waking):
    """A waking that makes no turns but those of what it passes on."""

    async def step(self) -> bool:
        """Pass the next thing on; return whether there may be more to do."""
        if self._follow_up is not None:
            return await super().step()
        if self._turns.document.moved is not None:
            return False
        for item in self._next_passing:
            if not item.tries:
                self._follow_up = await self._pass_on(item)
                return True
        return False
