"""What was found of the mutants, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_CUMULATIVE = ("approved", "walked", "tested")
_NAMES = {"approved": "approved walks", "walked": "the whole walk", "tested": "all tests of the flows"}
_BARS = {"approved": 85, "walked": 92, "tested": 99}


def lines(shown: Mapping[str, Mapping[str, str]], equivalent: Mapping[str, str], *, tested: bool) -> Iterator[str]:
    """Yield the figures, then the mutants that are set apart or survive.

    Args:
        shown: The stages that have found each mutant.
        equivalent: The mutants that change nothing a member can see, with the reasons.
        tested: Whether the tests were tried too.
    """
    refused = [name for name, by in shown.items() if "made" in by]
    same = [name for name, by in shown.items() if name in equivalent and "made" not in by]
    rest = [name for name in shown if name not in refused and name not in same]
    yield f"{len(shown)} mutants"
    yield _figure("refused when made", len(refused), len(shown), 45)
    yield f"  {len(same)} change nothing that a member can see, {len(rest)} behave differently"
    yield _figure("found by the declaration alone", sum("declared" in shown[name] for name in rest), len(rest), 45)
    stages = _CUMULATIVE if tested else _CUMULATIVE[:2]
    for place, stage in enumerate(stages, 1):
        found = sum(any(each in shown[name] for each in stages[:place]) for name in rest)
        yield _figure(f"found by {_NAMES[stage]}", found, len(rest), _BARS[stage])
    for name in same:
        wrong = [stage for stage in stages if stage in shown[name]]
        yield f"  = {name}: {equivalent[name]}" + (f" (BUT: {', '.join(wrong)} shows it)" if wrong else "")
    for name in rest:
        by = shown[name]
        if not {"approved", "walked"} & by.keys():
            yield f"  {'+' if 'tested' in by else '!'} {name}: " + _only_by(by)
    yield from (f"  ? {name} is no mutant; remove it from equivalent.py" for name in equivalent if name not in shown)


def _only_by(by: Mapping[str, str]) -> str:
    declared = f"; the declaration shows it: {by['declared']}" if "declared" in by else ""
    return (f"no walk shows it, {by['tested']} does" if "tested" in by else "survives") + declared


def _figure(what: str, found: int, of: int, least: int) -> str:
    share = 100 * found / of if of else 100.0
    return f"  {what}: {found} of {of}, {share:.0f} % (at least {least} %)" + ("" if share >= least else "  MISSED")
