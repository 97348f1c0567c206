"""Findings in the flows of a bot: faults and advice, each with the file and the line that it is about."""
