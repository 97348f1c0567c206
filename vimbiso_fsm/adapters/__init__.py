"""Conversations in the bot of another library: one module per library, imported by its path.

Each needs the extra of its name. An adapter hands the framework what its members say, with their language, the content
and the place of the message, and makes a client that sends with the library's own: its `send` is the sender of a
manager and of a worker. What is said elsewhere than to the bot, or to a handler of the bot's own, is left to the bot.
"""
