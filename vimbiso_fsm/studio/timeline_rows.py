"""The rows of the panel "Timeline": moments as a page shows them. The functions are pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

from vimbiso_fsm.audit.explain import Explanation
from vimbiso_fsm.audit.timeline import Moment
from vimbiso_fsm.flow.privacy import MASK

SAID: Final = frozenset({"answer", "reason", "code", "call", "outcome", "moved_to", "count", "erased"})
"""Facts of an entry that the words of its moment say."""


@attrs.frozen
class Row:
    """A moment on the page.

    Attributes:
        moment: The moment.
        owner: The id under which it is stored, where it is another than that of the row before; "" otherwise.
        place: Where the member stood and stands, such as "pin → paying"; "" without a flow.
        mark: The class of the row: "refused", "failed" or "" for any other.
        changed: The fields that have another value after it, with both values as text.
        facts: Further facts, with their values as text.
    """

    moment: Moment
    owner: str
    place: str
    mark: str
    changed: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]

    @property
    def anchor(self) -> str:
        """The id of the row's element."""
        return f"at-{self.moment.key}" if self.moment.key else ""


def rows_of(moments: Iterable[Moment]) -> Iterator[Row]:
    """Yield the rows of moments, in their order.

    Args:
        moments: The moments, oldest first.
    """
    owner = ""
    for moment in moments:
        is_other = bool(moment.version) and moment.member_id != owner
        owner = moment.member_id if moment.version else owner
        yield Row(
            moment,
            owner if is_other else "",
            " → ".join(dict.fromkeys(filter(None, (moment.source, moment.dest)))),
            _mark(moment),
            tuple((each.name, as_text(each.before), as_text(each.after)) for each in moment.changed),
            tuple((name, as_text(fact)) for name, fact in moment.detail.items() if name not in SAID),
        )


def as_text(value: Any) -> str:
    """Return a value as text: a mask as it is, anything else as JSON."""
    return MASK if value == MASK else json.dumps(value, ensure_ascii=False)


def address(member_id: str, **query: str) -> str:
    """Return the address of a member's page.

    Args:
        member_id: The member.
        query: Parameters of the address; those that are empty are left out.
    """
    given = {name: value for name, value in query.items() if value}
    return f"/timeline/{quote(member_id, safe='')}" + (f"?{urlencode(given)}" if given else "")


def facts_of(explanation: Explanation) -> tuple[tuple[str, str], ...]:
    """Return what was committed, as an explanation tells it.

    Args:
        explanation: The explanation.
    """
    entry = explanation.entry
    return (
        ("document", entry.document),
        ("entry", explanation.digest),
        ("after", entry.previous or "none, it is the first"),
    )


def _mark(moment: Moment) -> str:
    if moment.kind in ("unreadable", "incident", "error") or moment.status == "failed" or moment.trigger == "failed":
        return "failed"
    return "refused" if moment.status == "refused" or moment.kind == "recovery" else ""
