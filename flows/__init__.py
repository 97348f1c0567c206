"""The flows of VimbisoPay, one in each module, and the bot that they belong to."""

from flows.bot import bot

__all__ = ["bot"]
