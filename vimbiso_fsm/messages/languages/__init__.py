"""The languages in which the framework's own texts ship, with the global words and the words for days of each.

A bot speaks the languages of its texts. The framework's texts and words of these languages come with them, and the
author's replace any of them (`Catalogue.of`, `Commands.spoken`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.languages import english, french, portuguese, shona, spanish, swahili
from vimbiso_fsm.messages.templates import Templates


@attrs.frozen
class Language:
    """A language in which the framework speaks.

    Attributes:
        texts: The texts by key, the same keys in each language.
        words: Global words by command, beside those of English, which work in every language.
    """

    texts: Templates
    words: Mapping[str, tuple[str, ...]]


LANGUAGES: Final[Mapping[str, Language]] = {
    "en": Language(english.TEXTS, {}),
    "fr": Language(french.TEXTS, french.WORDS),
    "pt": Language(portuguese.TEXTS, portuguese.WORDS),
    "es": Language(spanish.TEXTS, spanish.WORDS),
    "sw": Language(swahili.TEXTS, swahili.WORDS),
    "sn": Language(shona.TEXTS, shona.WORDS),
}
"""The languages by tag."""


def shipped(tag: str) -> Language | None:
    """Return the language that a tag means, "fr" for "fr-CA"; None if the framework does not speak it."""
    found = locales.looked_up([tag], LANGUAGES)
    return None if found is None else LANGUAGES[found]
