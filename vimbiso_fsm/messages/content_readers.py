"""Readers of contents: what a member sends beside words, for `State(reads=…)`.

A reader takes the contents that it is made for, and refuses texts and other contents in words. `either` of
`messages/readers.py` makes one reader of several, among them readers of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.errors import FlowError
from vimbiso_fsm.messages.bounds import check_count
from vimbiso_fsm.messages.contents import (
    FILE_KINDS,
    MAX_INTEGER,
    MAX_ITEMS,
    Attachment,
    Contact,
    Contacts,
    Content,
    Form,
    Location,
    Order,
)
from vimbiso_fsm.messages.examples import examples_of, near_of
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.replies import Text
from vimbiso_fsm.messages.value import Value

T = TypeVar("T")

CONTENT_TEXTS: Final[Mapping[str, str]] = {
    "content.audio": "a voice message",
    "content.contact": "a contact",
    "content.contacts": "one or more contacts",
    "content.document": "a document",
    "content.either": "Please send one of these:\n{wanted}",
    "content.form": "the form, filled in",
    "content.image": "a photo",
    "content.large": "That file is too large; the limit is {limit}.",
    "content.location": "a location",
    "content.many": "That is more than we can take; please send at most {limit}.",
    "content.order": "an order from our catalogue",
    "content.sticker": "a sticker",
    "content.text": "a written answer",
    "content.type": "We cannot open a file of that kind here. Please send {wanted}.",
    "content.video": "a video",
    "content.wanted": "Please send {wanted}.",
}
"""The words of every refusal of this module; the texts of a bot may replace any of them."""

_Read: TypeAlias = Callable[[Any], Any]
"""Reads a content that a reader takes: returns the value, or the reason why it is refused."""


@attrs.frozen(eq=False, repr=False)
class Way(Value):
    """A way to answer with a content.

    Attributes:
        wanted: The key of its words, such as "content.location".
        takes: Whether it is made for a content.
        read: Reads one that it takes.
        returns: The type of the values that it returns.
    """

    wanted: str
    takes: Callable[[Content], bool]
    read: _Read
    returns: object


@attrs.frozen(eq=False, repr=False)
class ContentReader(Value, Generic[T]):
    """A reader of contents, and of texts if it has readers of them.

    Attributes:
        ways: The contents that it takes.
        texts: Its readers of texts, in the order in which they are tried.
    """

    ways: tuple[Way, ...]
    texts: tuple[Callable[[str], Any], ...] = ()

    @property
    def __name__(self) -> str:
        """The name in errors and audit entries."""
        return " or ".join(self._names())

    @property
    def examples(self) -> tuple[str, ...]:
        """The examples of its readers of texts."""
        return tuple(example for read in self.texts for example in examples_of(read))

    @property
    def near(self) -> tuple[str, ...]:
        """Texts that its readers of texts refuse, as far as none of them accepts one."""
        near = (text for read in self.texts for text in near_of(read))
        return tuple(text for text in near if isinstance(self(text), Refused))

    def takes(self, content: Content) -> bool:
        """Return whether the reader is made for a content. It may refuse the content all the same."""
        return any(way.takes(content) for way in self.ways)

    def of(self, content: Content) -> T | Refused:
        """Read a content: return its value, or the reason why it is refused."""
        for way in self.ways:
            if way.takes(content):
                return cast("T | Refused", way.read(content))
        return self._refused()

    def __call__(self, text: str) -> T | Refused:
        """Read a typed text: return its value, or the reason of the first reader of texts."""
        refused: Refused | None = None
        for read in self.texts:
            answer = read(text)
            if not isinstance(answer, Refused):
                return cast(T, answer)
            refused = answer if refused is None else refused  # not `or`: a refusal is false
        return refused if refused is not None else self._refused()

    def _names(self) -> Iterator[str]:
        yield from (way.wanted.partition(".")[2] for way in self.ways)
        yield from ["text"] if self.texts else []

    def _refused(self) -> Refused:
        """Return the reason that names what the reader takes."""
        wanted = tuple(Text(f"content.{name}") for name in dict.fromkeys(self._names()))
        return (
            Refused("content.wanted", wanted=wanted[0])
            if len(wanted) == 1
            else Refused("content.either", wanted=wanted)
        )


def _reader(wanted: str, kind: type[Any], read: _Read, returns: object) -> ContentReader[Any]:
    """Return the reader of the contents of a class."""

    def takes(content: Content) -> bool:
        return isinstance(content, kind)

    return ContentReader((Way(wanted, takes, read, returns),))


def _same(content: T) -> T:
    return content


# Files ----------------------------------------------------------------------------------------------------------------


def file(*kinds: str, types: Sequence[str] = (), most: int | None = None) -> ContentReader[Attachment]:
    """Make a reader of files: `file("image", "document", types=["image/", "application/pdf"], most=5_000_000)`.

    A picture that was sent as a document is an "image" as well, and so for sounds and videos.

    Args:
        kinds: "image", "audio", "video", "document" or "sticker"; one or more.
        types: The types that are taken, such as "application/pdf", or the beginnings of types, such as "image/"; all
            by default. The channel tells the type as the member's device named it, which proves nothing.
        most: The bytes of a file at most; None for no bound but that of `Limits`. A file whose size the channel does
            not tell is taken.

    Raises:
        FlowError: There is no kind, an unknown one, a type that is none, or a bound that is no count.
    """
    if not kinds or not set(kinds) <= set(FILE_KINDS):
        fault = f"the kinds are {', '.join(map(repr, kinds)) or 'none'}"
        raise FlowError("", "file()", fault, f"give one or more of {', '.join(FILE_KINDS)}")
    if isinstance(types, str) or not all("/" in each for each in types):
        raise FlowError("", "file()", f"types is {types!r}", 'give a list of types, such as ["image/jpeg"]')
    if most is not None:
        check_count("file()", "most", most, most=MAX_INTEGER)
    known = tuple(each.lower() for each in types)
    return ContentReader(tuple(_file_way(kind, known, most) for kind in dict.fromkeys(kinds)))


def _file_way(kind: str, types: tuple[str, ...], most: int | None) -> Way:

    def takes(content: Content) -> bool:
        return isinstance(content, Attachment) and (content.kind == kind or _sent_as_document(content) == kind)

    def read_file(content: Attachment) -> Attachment | Refused:
        if types and not content.mime_type.lower().startswith(types):
            return Refused("content.type", wanted=Text(f"content.{kind}"))
        if most is not None and content.size is not None and content.size > most:
            return Refused("content.large", limit=bytes_in_words(most))
        return content

    return Way(f"content.{kind}", takes, read_file, Attachment)


def _sent_as_document(content: Attachment) -> str:
    """Return the kind of a file that was sent as a document, by its type; "" if it is another one."""
    kind = content.mime_type.lower().partition("/")[0]
    return kind if content.kind == "document" and kind in ("image", "audio", "video") else ""


def bytes_in_words(size: int) -> str:
    """Return a number of bytes as people read it: "5 MB", "1.5 MB", "200 kB"."""
    for unit, name in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} B"


photo: Final = file("image")
"""Reads a photo: `State(reads=photo, into="front")`. The field is an `Attachment | None`."""
audio: Final = file("audio")
"""Reads a voice message or a recording."""
video: Final = file("video")
"""Reads a video."""
document: Final = file("document")
"""Reads a document."""

# Locations, contacts, forms, orders -----------------------------------------------------------------------------------

location: Final[ContentReader[Location]] = _reader("content.location", Location, _same, Location)
"""Reads a location. The field is a `Location | None`. It is where the member says, which need not be where they are."""


def _only(content: Contacts) -> Contact | Refused:
    return content.contacts[0] if len(content.contacts) == 1 else Refused("content.many", limit=1)


contact: Final[ContentReader[Contact]] = _reader("content.contact", Contacts, _only, Contact)
"""Reads one contact. The field is a `Contact | None`."""


def contacts(most: int = 10) -> ContentReader[Contacts]:
    """Make a reader of one to `most` contacts.

    Raises:
        FlowError: `most` is no count.
    """
    check_count("contacts()", "most", most, most=MAX_ITEMS)

    def read_contacts(content: Contacts) -> Contacts | Refused:
        return content if len(content.contacts) <= most else Refused("content.many", limit=most)

    return _reader("content.contacts", Contacts, read_contacts, Contacts)


form: Final[ContentReader[Form]] = _reader("content.form", Form, _same, Form)
"""Reads a form that was filled in. The field is a `Form | None`; its values are checked by a guard or a prepare."""

order: Final[ContentReader[Order]] = _reader("content.order", Order, _same, Order)
"""Reads an order from a catalogue. The field is an `Order | None`."""
