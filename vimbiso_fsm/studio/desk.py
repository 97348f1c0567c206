"""What the studio looks at."""

from __future__ import annotations

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.studio.processes import Processes


@attrs.frozen
class Desk:
    """What the studio looks at.

    Attributes:
        bot: The bot.
        manager: The manager at the live store; None if the studio has the simulator alone.
        write: Whether the studio may change the live store.
        package: The package that exports the bot, with which a changed flow is loaded anew; empty for none.
        processes: The processes whose figures are shown; None for none.
    """

    bot: Bot
    manager: AsyncFlowStateManager | None = None
    write: bool = False
    package: str = ""
    processes: Processes | None = None
