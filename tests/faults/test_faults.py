"""Each row of the table of faults, in the short profile. `make faults` runs the deep one."""

from __future__ import annotations

import os

import pytest

from tests.faults.repeats import restored_store
from tests.faults.rows import ROWS, Profile

pytestmark = pytest.mark.embedded

SEED = int(os.environ.get("FAULTS_SEED", "1"))


@pytest.mark.parametrize("name", ROWS)
def test_everything_holds_after_each_fault(name: str):
    """After the fault of each row, everything that must hold does."""
    report = ROWS[name].run(Profile(short=True), SEED)
    again = f"python -m tests.faults --short --row {name} --seed {SEED}"
    assert not report.wrong, "\n".join([ROWS[name].holds, *report.wrong[:10], again])


def test_a_row_is_repeated_from_its_seed():
    """A row has the same counts and findings each time that it is run from one seed."""
    first, second = (restored_store(20, SEED) for _ in range(2))
    assert (first.counts, first.wrong) == (second.counts, second.wrong)
