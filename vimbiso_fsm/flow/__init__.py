"""Declarations: flows, states, transitions, calls and the bot, checked when they are made."""
