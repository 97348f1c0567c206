"""The bot: its flows, its words, and the services that its calls are made to."""

from __future__ import annotations

from vimbiso_fsm import Bot
from vimbiso_fsm.cli.starter.diary import PaperDiary
from vimbiso_fsm.cli.starter.texts import ENGLISH
from vimbiso_fsm.cli.starter.visit import home

bot = Bot([home], texts={"en": ENGLISH}, services={"diary": PaperDiary()})
