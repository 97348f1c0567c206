"""`python -m tests.migration [RECORDS]`: take 100,000 old records over, and say what came of them."""

from __future__ import annotations

import logging
import sys

from tests.legacy.bulk.run import migrate_many

logging.disable(logging.WARNING)
figures = migrate_many(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, say=lambda line: print(line, flush=True))
print(figures)
sys.exit(not figures.sound)
