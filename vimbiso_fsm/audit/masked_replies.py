"""The replies of a turn as operators may read them: the words of the author, and a mask for everything else.

A turn record keeps replies as keys with parameters. The template of a key was written by the author, so it is shown. A
parameter may be anything that a member has said, so it is masked, and so are words that neither the catalogue nor the
declaration of a state contains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import attrs

from vimbiso_fsm.document.replies_codec import replies_from_raw
from vimbiso_fsm.errors import Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.flow.privacy import MASK
from vimbiso_fsm.flow.text_check import texts_of
from vimbiso_fsm.messages.catalogue import Catalogue
from vimbiso_fsm.messages.replies import Buttons, Menu, Reply, Text
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.messages.windows import words_of

MAX_WORDS: Final = 4_000
"""Characters of the words of one reply that are kept. Templates are shorter; a list of texts may be long."""


@attrs.frozen(eq=False, repr=False)
class MaskedReply(Value):
    """A reply with everything masked that the author has not written.

    Attributes:
        kind: The class of the reply in lower case, such as "text", "buttons", "menu" or "media".
        text: Its words in the default language of the bot; a mask where they are not the author's.
        choices: The titles of its buttons or rows, in order.
    """

    kind: str
    text: str
    choices: tuple[str, ...] = ()


class ReplyMask:
    """Masks the replies of a bot.

    Args:
        bot: The bot.
    """

    __slots__ = ("_catalogue", "_own")

    def __init__(self, bot: Bot) -> None:
        self._catalogue: Catalogue = bot.catalogue
        self._own: Collection[str] = frozenset(_declared(bot))

    def masked(self, raw: Iterable[Any]) -> tuple[MaskedReply, ...]:
        """Return the replies of a turn record.

        Args:
            raw: The replies as the record holds them.

        Raises:
            Unreadable: They have another shape.
        """
        try:
            return tuple(map(self._reply, replies_from_raw(raw)))
        except (TypeError, ValueError) as error:
            raise Unreadable([f"no replies: {type(error).__name__}"]) from None

    def words(self, key: str) -> str:
        """Return the words of a key, with each parameter masked; "" if the catalogue has none."""
        return self._text(Text(key)) if key in self._catalogue else ""

    def _reply(self, reply: Reply) -> MaskedReply:
        body = words_of(reply)
        text = MASK if body is None else self._text(body)
        return MaskedReply(type(reply).__name__.lower(), text, tuple(map(self._text, _titles(reply))))

    def _text(self, text: Text) -> str:
        if text.key in self._own and not text.params and text.key not in self._catalogue:
            return text.key[:MAX_WORDS]
        if text.text or text.key not in self._catalogue:
            return MASK  # words, which may be those of a member
        params: dict[str, Any] = dict.fromkeys(text.params, MASK)
        said = self._catalogue.say(Text(text.key, **params))
        return said.text[:MAX_WORDS]


def _declared(bot: Bot) -> Iterator[str]:
    """Yield the words that the states of a bot declare."""
    for current in bot.flows:
        for flow in bot.definitions(current.name):
            for state in flow.states:
                yield from (text.key for said in (state.ask, state.say) for text in texts_of(said))


def _titles(reply: Reply) -> Iterator[Text]:
    if isinstance(reply, Buttons):
        yield from (button.title for button in reply.buttons)
    elif isinstance(reply, Menu):
        yield from (row.title for row in reply.rows)
