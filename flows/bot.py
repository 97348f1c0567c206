"""VimbisoPay, whole."""

from __future__ import annotations

from flows import texts
from flows.credex_core import SimulatedCredexCore
from flows.dashboard import dashboard
from flows.login import login
from flows.offer import offer, quick
from flows.onboard import onboard
from vimbiso_fsm.bot import Bot
from vimbiso_fsm.commands import Shortcut

__all__ = ["bot"]

bot = Bot(
    flows=[dashboard, offer, onboard, login],
    home=dashboard,
    entry=login,
    shortcuts=[Shortcut(offer, quick)],
    texts=texts.ENGLISH,
    services={"credex_core": SimulatedCredexCore()},
)
