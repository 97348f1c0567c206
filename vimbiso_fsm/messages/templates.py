"""Templates: the words of one key in one language, with named fields, and their forms by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.value import Value


@attrs.frozen(eq=False, repr=False)
class Plural(Value):
    """A template that differs by number: `Plural("days", one="{days} day", other="{days} days")`.

    The categories are those of the Unicode CLDR. A language defines which of them it has and what they mean.

    Attributes:
        by: The parameter that counts, a whole number.
        other: The template of every category that is not given.
        zero: The template of the category "zero"; `one`, `two`, `few` and `many` likewise.
    """

    by: str
    other: str = attrs.field(kw_only=True)
    zero: str | None = attrs.field(default=None, kw_only=True)
    one: str | None = attrs.field(default=None, kw_only=True)
    two: str | None = attrs.field(default=None, kw_only=True)
    few: str | None = attrs.field(default=None, kw_only=True)
    many: str | None = attrs.field(default=None, kw_only=True)

    @property
    def forms(self) -> Mapping[str, str]:
        """The given templates by category."""
        return {name: form for name, form in attrs.asdict(self).items() if name != "by" and form is not None}

    def form(self, count: object, language: str) -> str:
        """Return the template for a number in a language; a count that is no whole number is "other"."""
        if type(count) is not int:
            return self.other
        form: str | None = getattr(self, locales.plural(count, language))
        return self.other if form is None else form


Template: TypeAlias = str | Plural
Templates: TypeAlias = Mapping[str, Template]
"""The templates of one language by key."""
