"""Findings that an author has silenced: a comment on the line of the finding, with the reason.

    State("paying", call=pay),  # vimbiso: ok confirm-skipped – tips are given back within a day

A silencer without a reason silences nothing. One that silences nothing is a finding of its own.
"""

from __future__ import annotations

import io
import linecache
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from vimbiso_fsm.check.codes import ALL
from vimbiso_fsm.check.finding import Finding

_MARK: Final = "vimbiso: ok"
_FORM: Final = re.compile(
    r"#\s*vimbiso: ok\s*(?P<codes>[a-z]+(?:-[a-z]+)*(?:\s*,\s*[a-z]+(?:-[a-z]+)*)*)?(?:\s*[–—:-]+\s*(?P<reason>\S.*))?"
)


@attrs.frozen
class _Silencer:
    line: int
    codes: tuple[str, ...]
    reason: str


def silenced(findings: Iterable[Finding], files: Iterable[str], judged: frozenset[str] = ALL) -> Iterator[Finding]:
    """Yield the findings that no silencer stands beside, and those about silencers.

    Args:
        findings: The findings.
        files: The files whose silencers are judged, beside those of the findings.
        judged: The codes that were looked for. A silencer of another one is not said to silence nothing.
    """
    found = sorted(set(findings))
    silencers = {file: _silencers(file) for file in sorted({*files, *(each.file for each in found)})}
    used: set[tuple[str, int, str]] = set()
    for finding in found:
        silencer = silencers[finding.file].get(finding.line)
        if silencer is not None and silencer.reason and finding.code in silencer.codes:
            used.add((finding.file, finding.line, finding.code))
        else:
            yield finding
    for file, known in silencers.items():
        for silencer in known.values():
            yield from _faults(file, silencer, used, judged)


def _faults(
    file: str, silencer: _Silencer, used: set[tuple[str, int, str]], judged: frozenset[str]
) -> Iterator[Finding]:
    if not silencer.reason or not silencer.codes:
        remedy = "write it after the code: # vimbiso: ok CODE – reason"
        yield Finding(file, silencer.line, "silencer-without-reason", "a finding is silenced without a reason", remedy)
        return
    for code in silencer.codes:
        if code not in ALL:
            yield Finding(
                file, silencer.line, "silencer-unused", f"{code!r} is no code of a finding", "correct or remove it"
            )
        elif code in judged and (file, silencer.line, code) not in used:
            yield Finding(file, silencer.line, "silencer-unused", f"no finding {code!r} is on this line", "remove it")


def _silencers(file: str) -> Mapping[int, _Silencer]:
    """Return the silencers of a file by their line."""
    text = "".join(linecache.getlines(file)) if file else ""
    if _MARK not in text:
        return {}
    found: dict[int, _Silencer] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            match = _FORM.search(token.string) if token.type == tokenize.COMMENT else None
            if match is not None:
                codes = tuple(code.strip() for code in (match["codes"] or "").split(",") if code.strip(" -"))
                found[token.start[0]] = _Silencer(token.start[0], codes, (match["reason"] or "").strip())
    except (tokenize.TokenError, SyntaxError):  # it was changed since it was imported
        return {}
    return found
