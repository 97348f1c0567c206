"""Reading of stored documents: sound, absent, damaged, newer, foreign or encrypted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, TypeAlias

import attrs

from vimbiso_fsm.document.codec import document_to_raw, keep_judged, without_sent
from vimbiso_fsm.document.document import Document, Run
from vimbiso_fsm.document.json_codec import loads
from vimbiso_fsm.document.state_validator import EVERY_CHANNEL_TYPE, StateValidator
from vimbiso_fsm.document.typed_data import structure
from vimbiso_fsm.engine.upgrade import newer, unknown, upgrade
from vimbiso_fsm.errors import EncryptedState, ForeignState, NewerState, Unreadable
from vimbiso_fsm.flow.bot import Bot
from vimbiso_fsm.messages.value import Value
from vimbiso_fsm.store import ciphertext
from vimbiso_fsm.store.requests import Broken, Stored
from vimbiso_fsm.store.retention import MAX_DOCUMENT

NEWER_STATE_GRACE: Final = 3600.0
"""Seconds after which a newer release that has stored a document counts as rolled back.

Old and new workers do not run beside each other for so long.
"""


@attrs.frozen(eq=False, repr=False)
class Sound(Value):
    """A valid document of the member, upgraded to the flows of this bot."""

    document: Document


@attrs.frozen(eq=False, repr=False)
class Absent(Value):
    """No document. The member is new, or the document has expired, or was wiped or evicted, as the audit tells."""


@attrs.frozen(eq=False, repr=False)
class Damaged(Value):
    """A document that cannot be used.

    Its key is of a wrong type, it is not what was written or too large, or it is not JSON, has an invalid field, is
    another member's, or has a run that cannot be upgraded. Nothing of another member's document is used.

    Attributes:
        faults: The faults, without values.
        data: The stored bytes; empty when they are not what was written.
    """

    faults: tuple[str, ...]
    data: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(eq=False, repr=False)
class Newer(Value):
    """A document that a newer release has stored within `NEWER_STATE_GRACE`. This release cannot read it.

    Attributes:
        error: The error to raise.
    """

    error: NewerState


@attrs.frozen(eq=False, repr=False)
class Foreign(Value):
    """A well-formed document with a run of a flow that this bot never had. It is left alone.

    Another bot has stored it, or a release of this bot that has the flow. A document whose shape is broken cannot be
    told from damage, and counts as `Damaged`.

    Attributes:
        error: The error to raise.
    """

    error: ForeignState


@attrs.frozen(eq=False, repr=False)
class Encrypted(Value):
    """A document that is encrypted with a key that is not at hand. It is left alone.

    Attributes:
        error: The error to raise.
    """

    error: EncryptedState


Reading: TypeAlias = Sound | Absent | Damaged | Newer | Foreign | Encrypted


def open_document(bot: Bot, member_id: str, stored: Stored | Broken, now: datetime) -> Reading:
    """Read the stored document of a member.

    Args:
        bot: The bot whose flows the document is upgraded to.
        member_id: The member whose document is expected.
        stored: The result of a load, a commit or a quarantine.
        now: The time by which a newer release's document counts as recent.
    """
    if isinstance(stored, Broken):
        return Damaged((stored.fault, *(faults(bot, stored.document)[1] if stored.document is not None else ())))
    data = stored.document
    if data is None:
        return Absent()
    document, wrong = faults(bot, data)
    if len(data) > MAX_DOCUMENT:  # no turn could be made of it, because none could be stored
        document, wrong = None, (f"it has {len(data)} bytes, and a document has {MAX_DOCUMENT} at most", *wrong)
    if document is None:
        encrypted = encrypted_state(member_id, data)
        if encrypted is not None:
            return Encrypted(encrypted)
        foreign = foreign_state(bot, member_id, data)
        if foreign is not None:
            return Foreign(foreign)
        error = newer_state(bot, member_id, data, now)
        return Damaged(wrong, data) if error is None else Newer(error)
    if document.member_id != member_id:
        return Damaged(("it is another member's",), data)
    if document.version != stored.head.version:  # one of the two is damaged; a commit would be made on neither
        return Damaged((f"_version is {document.version}, not {stored.head.version} as in the head",), data)
    return Sound(without_sent(document, stored.sent) if stored.sent else document)


def faults(bot: Bot, data: bytes) -> tuple[Document | None, tuple[str, ...]]:
    """Read a document of any member, and upgrade it to the flows of the bot.

    Returns:
        The document and no faults, or None and the faults: no JSON, an invalid field, a flow, version or state that is
        gone, or data that does not fit the class of the flow.
    """
    try:
        raw, upgraded = upgrade(bot, loads(data))
        document = bot.validator.read(raw)
        plain = document_to_raw(document)
        if plain == raw:  # the same bytes would be written, so they are known to be valid
            keep_judged(document, plain, bot.validator)
        for run in (document.run, *document.suspended):
            if run is not None:
                _read_data(bot, run)
    except Unreadable as error:
        encrypted = ciphertext.fault_of(data)
        return None, (encrypted,) if encrypted else error.faults
    return attrs.evolve(document, upgraded=upgraded) if upgraded else document, ()


def encrypted_state(member_id: str, data: bytes | None) -> EncryptedState | None:
    """Return the error for a document or a turn record whose key is not at hand; None for other data."""
    found = ciphertext.closed(data or b"")
    return EncryptedState(member_id, found.key, found.fault) if found is not None else None


def refuse_encrypted(member_id: str, *data: bytes | None) -> None:
    """Refuse to go on without documents or turn records whose key is not at hand.

    Raises:
        EncryptedState: One of them is encrypted with such a key.
    """
    for each in data:
        error = encrypted_state(member_id, each)
        if error is not None:
            raise error


def foreign_state(bot: Bot, member_id: str, data: bytes | None) -> ForeignState | None:
    """Return the error for a well-formed document with a run of a flow that the bot never had; None for other data.

    The types of its channels and the class of its profile may be unknown as well. They are the other bot's.
    """
    try:
        found = unknown(bot, _SHAPE.read(loads(data or b"")))
    except Unreadable:
        return None
    return ForeignState(member_id, found) if found else None


_SHAPE: Final = StateValidator(None, EVERY_CHANNEL_TYPE)


def newer_state(bot: Bot, member_id: str, data: bytes | None, now: datetime) -> NewerState | None:
    """Return the error for data that a newer release has stored within `NEWER_STATE_GRACE`; None for other data."""
    try:
        raw = loads(data or b"")
        found = newer(bot, raw)
        since = datetime.fromisoformat(raw["_last_updated"]) if found else now
        if found and now - since < timedelta(seconds=NEWER_STATE_GRACE):
            return NewerState(member_id, *found)
    except (Unreadable, TypeError, KeyError, ValueError):
        return None
    return None


def _read_data(bot: Bot, run: Run) -> None:
    """Read the data of a run as the class of its flow.

    Raises:
        Unreadable: The data does not fit.
    """
    try:
        structure(run.fields, bot.definition(run).data)
    except Unreadable as error:
        raise Unreadable(f"data of flow {run.flow!r}: {fault}" for fault in error.faults) from None
