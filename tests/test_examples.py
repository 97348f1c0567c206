"""A deeper profile deepens every property."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import USUAL, examples


@pytest.mark.parametrize(("profile", "times"), [("default", 1), ("deep", 40)])
def test_a_deeper_profile_multiplies_each_number_of_examples(profile: str, times: int) -> None:
    """A property with a number of examples of its own has forty times as many in the deep profile, as all have."""
    before = settings.get_current_profile_name()
    settings.load_profile(profile)
    try:
        assert settings().max_examples == times * USUAL
        assert examples(15).max_examples == times * 15
    finally:
        settings.load_profile(before)


def test_no_property_sets_a_number_that_a_profile_cannot_change() -> None:
    """Only `examples` and the profiles set a number of examples."""
    tests = Path(__file__).parent
    named = {path.name for path in tests.rglob("*.py") if "max_examples=" in path.read_text()}
    assert named <= {"conftest.py", "examples.py", Path(__file__).name}
