"""Messages, replies and refusals: the values that are said, and their words in each language."""
