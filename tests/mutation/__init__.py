"""Mutants of the flows in `flows/`, and which of the checks and tests find them. See `__main__`."""
