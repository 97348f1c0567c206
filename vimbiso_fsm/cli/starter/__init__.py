"""A bot that takes appointments."""

from vimbiso_fsm.cli.starter.bot import bot

__all__ = ["bot"]
