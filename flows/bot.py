"""The bot of VimbisoPay."""

from __future__ import annotations

from flows.answer_offers import accept, cancel, decline
from flows.choose_account import choose_account
from flows.credex_core import Dashboard, SimulatedCredexCore
from flows.dashboard import dashboard
from flows.language import language, named
from flows.ledger import ledger
from flows.legacy_records import legacy
from flows.login import log_in, login
from flows.members import logged_in
from flows.offer import offer, quick
from flows.onboard import onboard
from flows.prove import prove_number
from flows.refresh import refresh
from flows.texts.english import ENGLISH
from flows.texts.shona import SHONA
from flows.upgrade import upgrade
from vimbiso_fsm import Bot, Shortcut, Tokens

bot = Bot(
    flows=[
        dashboard, offer, accept, decline, cancel, ledger, upgrade, choose_account, refresh, onboard, login,
        prove_number, language,
    ],
    home=dashboard,
    entry=login,
    shortcuts=[Shortcut(offer, quick, examples="0.5=>alan"), Shortcut(language, named, examples=["language", "shona"])],
    tokens=Tokens(renew=log_in, renewed=logged_in, unauthorised="core.unauthorised"),
    texts={"en": ENGLISH, "sn": SHONA},
    services={"credex_core": SimulatedCredexCore()},
    importer=legacy,
    profile=Dashboard,
)  # fmt: skip
