"""The lowest versions that are declared, as constraints for pip."""

from __future__ import annotations

import tomllib

from packaging.requirements import Requirement

from tests.floors import MEASURED, PROJECT, floors


def test_each_dependency_has_a_floor():
    """Each dependency and each package of an extra declares a lowest version, which `make floors` installs."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    declared = project["project"]
    words = [
        *declared["dependencies"],
        *(each for extra in declared["optional-dependencies"].values() for each in extra),
    ]
    names = {Requirement(each).name for each in words} - {declared["name"]}
    assert {*floors(project)} == names | {*MEASURED}


def test_the_lowest_of_several_bounds_is_the_floor():
    """A floor is the lower bound of a requirement, whatever other bounds and markers it has."""
    project = {"project": {"dependencies": ["a>=1.2,<2", "b[c]>=3; python_version > '3'"]}}
    assert floors(project) == {"a": "1.2", "b": "3"}
