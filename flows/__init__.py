"""The conversations of VimbisoPay, one a file, and the bot that holds them."""

from flows.bot import bot

__all__ = ["bot"]
