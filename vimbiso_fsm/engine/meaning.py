"""Find the choices that a typed text can mean at the current question.

A text is compared with all of these, in the form of `messages.words.normalise`:

    names       the titles, ids and words of the choices that are shown, and of the rows of the other pages
    answer      a text that the state's reader accepts
    place       the number of a choice in the list that is shown

The first that applies is the meaning. The place competes with the others where the member may have read it, because the
channel wrote numbers beside the choices, and with an id, which no member reads. It also competes with a number that
only stands in a title, as in "3 guests".

The answer to a question that was narrowed is compared with the choices of that question first. Its place comes before
the names where numbers were written, so that a number decides there. Elsewhere the member is asked again until the
answer is plain; a button or a whole title always is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import attrs

from vimbiso_fsm.channels.numbering import writes_numbers
from vimbiso_fsm.document.document import narrowed_to
from vimbiso_fsm.engine import question
from vimbiso_fsm.engine.draft import Draft
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.words import normalise, number, numbers_in, without_stop


@attrs.frozen
class _Name:
    """A name of a choice.

    Attributes:
        choice: The choice.
        word: The name, normalised.
        is_read: Whether members read it: a title, or a word of the author. An id is not read.
        is_gone: Whether the choice was shown and is there no more.
    """

    choice: str
    word: str
    is_read: bool = True
    is_gone: bool = False


def meanings(draft: Draft, text: str) -> tuple[str, ...]:
    """Return the choices that a typed text can mean, in the order of the list.

    Returns:
        One choice is the meaning. Of several, the member is asked which. None leaves the text to the state's reader.
    """
    word = normalise(text)
    if not word:
        return ()
    names, place = _names(draft), _place(draft, word)
    few = narrowed_to(draft.standing)
    if few:
        among = _among(draft, [name for name in names if name.choice in few], place, word)
        if among:
            return among
    named = _named(names, word)
    if not place or not named:
        return _place_or_answer(draft, names, place, text) if place else tuple(_choices(named))
    competes = not any(name.is_read for name in named) or _numbers_were_written(draft)
    return _in_order(names, {*_choices(named), place} if competes else _choices(named))


def pressed_bare(draft: Draft, choice: str) -> tuple[str, ...]:
    """Return the choices that a pressed id without a fence can mean.

    An id is compared as it stands. Only one that is no choice counts as a typed text.
    """
    known = {name.choice for name in _names(draft)}
    exact = [each for each in (choice, question.ROW + choice) if each in known and each[:1] != "#"]
    return tuple(exact[:1]) or meanings(draft, choice)


# Names ------------------------------------------------------------------------------------------------------------


def _names(draft: Draft) -> list[_Name]:
    """Return the names of every choice, in the order of the list."""
    run, here, found = draft.standing, draft.here, list[_Name]()
    rows: set[str] = set()
    if here.state.rows is not None:
        language = draft.bot.language(draft.member.stored_profile, draft.channel)
        for row in question.rows_of(here.state, draft.turn(run)):
            choice = question.ROW + row.id
            rows.add(choice)
            found.append(_Name(choice, normalise(draft.bot.catalogue.say(row.title, language, draft.zone).text)))
            found.append(_Name(choice, normalise(row.id), is_read=False))
    for place, shown in enumerate(run.shown, 1):
        choice, title = shown.choice, normalise(shown.title)
        is_row = choice.startswith(question.ROW)
        is_gone = is_row and choice not in rows
        found.append(_Name(choice, title, is_gone=is_gone))
        found.append(_Name(choice, f"{place}. {title}".rstrip(), is_gone=is_gone))
        if is_row:
            found.append(_Name(choice, normalise(choice[1:]), is_read=False, is_gone=is_gone))
            continue
        words = here.names.get(choice) or (normalise(choice.removeprefix("#")),)  # "#next" and its like are no buttons
        found += [_Name(choice, word) for word in words]
    return found


def _named(names: Sequence[_Name], word: str) -> list[_Name]:
    """Return the names that a word is, or that it is but for a full stop or the spelling of a number.

    Those of choices that are there no more count only if there are no others.
    """
    forms: tuple[Callable[[str], object], ...] = (str, without_stop, _number_or_word)
    for form in forms:
        found = [name for name in names if form(name.word) == form(word)]
        if found:
            return [name for name in found if not name.is_gone] or found
    return []


def _number_or_word(word: str) -> int | str:
    value = number(word)
    return word if value is None else value


def _choices(names: Iterable[_Name]) -> list[str]:
    return list(dict.fromkeys(name.choice for name in names))


def _in_order(names: Iterable[_Name], choices: Collection[str]) -> tuple[str, ...]:
    return tuple(choice for choice in _choices(names) if choice in choices)


# Places -----------------------------------------------------------------------------------------------------------


def _place(draft: Draft, word: str) -> str:
    """Return the choice that is shown at the place of this number; "" without one."""
    shown, place = draft.standing.shown, number(word)
    return shown[place - 1].choice if place is not None and 1 <= place <= len(shown) else ""


def _among(draft: Draft, names: Sequence[_Name], place: str, word: str) -> tuple[str, ...]:
    """Return the meanings of a text among the choices of a question that was narrowed; these have the `names`."""
    if place and _numbers_were_written(draft):
        return (place,)
    named = _named(names, word)
    read = [name for name in named if name.is_read]
    if named and not read and number(word) is not None:
        if not place:
            return tuple(_choices(names))  # the id of one of them, which no member has read
        named = []
    return _in_order(names, {*_choices(read or named), *_hinted(draft, word), place})


def _hinted(draft: Draft, word: str) -> set[str]:
    """Return the choices in whose titles this number stands."""
    value = number(word)
    return {shown.choice for shown in draft.standing.shown if value in numbers_in(normalise(shown.title))}


def _place_or_answer(draft: Draft, names: Sequence[_Name], place: str, text: str) -> tuple[str, ...]:
    """Return the meanings of a number that is a place and no name."""
    word = normalise(text)
    places = _in_order(names, {*_hinted(draft, word), place})
    answer = _accepted(draft, [text.strip(), str(number(word))])
    if answer is None:
        return places
    # A secret answer must not be quoted back, so that the member is not asked.
    if draft.state.into in draft.flow.secrets or not _numbers_were_written(draft):
        return ()
    return (*places, question.TYPED + answer)


def _accepted(draft: Draft, answers: Iterable[str]) -> str | None:
    """Return the first of these answers that the state's reader accepts; None without one."""
    reads = draft.reader
    if reads is None:
        return None
    return next((answer for answer in answers if not isinstance(reads(answer), Refused)), None)


def _numbers_were_written(draft: Draft) -> bool:
    """Whether the member may have read numbers beside the choices, on the channel of this turn or of the one before."""
    run = draft.standing
    reply = question.build(draft.bot, draft.here, run, draft.turn(run)).reply
    return any(writes_numbers(channel.type, reply) for channel in (draft.before.channel, draft.channel))
