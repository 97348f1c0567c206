"""`python -m tests.legacy.bulk [RECORDS]`: import 100,000 records, and print the outcome."""

from __future__ import annotations

import logging
import sys

from tests.legacy.bulk.run import migrate_many

logging.disable(logging.WARNING)
figures = migrate_many(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, say=lambda line: print(line, flush=True))
print(figures)
sys.exit(not figures.sound)
