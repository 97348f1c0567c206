"""What the studio looks at."""

from __future__ import annotations

import attrs

from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.runtime.flow_state import AsyncFlowStateManager
from vimbiso_fsm.studio.processes import Processes
from vimbiso_fsm.studio.simulations import Simulations


def _simulations(desk: Desk) -> Simulations:
    return Simulations(desk.bot, desk.package, is_live=desk.manager is not None)


@attrs.frozen
class Desk:
    """What the studio looks at.

    Attributes:
        bot: The bot.
        manager: The manager at the live store; None if the studio has the simulator alone.
        write: Whether the studio may change the live store.
        package: The package that exports the bot, with which a changed flow is loaded anew; empty for none.
        processes: The processes whose figures are shown; None for none.
        simulations: The simulations, which touch neither the live store nor live services.
    """

    bot: Bot
    manager: AsyncFlowStateManager | None = None
    write: bool = False
    package: str = ""
    processes: Processes | None = None
    simulations: Simulations = attrs.field(
        default=attrs.Factory(_simulations, takes_self=True), init=False, repr=False, eq=False
    )
