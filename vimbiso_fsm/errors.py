"""Everything this library raises.

Expected outcomes are values (`Refused`, `Conflict`, `Duplicate` …); an exception is a fault. Each says what was
given, what is wrong and what to do, and carries the facts as attributes. No message quotes what a member wrote, a
token or a phone number.
"""

from __future__ import annotations


class VimbisoError(Exception):
    """The root of all errors of this library."""


class FlowError(VimbisoError, ValueError):
    """A flow or a bot is declared wrongly; raised when it is made, never while a member waits.

    Attributes: `flow`, `place` (the state or slot, may be empty), `fault`, `remedy`.
    """

    flow: str
    place: str
    fault: str
    remedy: str

    def __init__(self, flow: str, place: str, fault: str, remedy: str = "") -> None:
        self.flow, self.place, self.fault, self.remedy = flow, place, fault, remedy
        where = f"flow {flow!r}" + (f", {place}" if place else "")
        super().__init__(f"{where}: {fault}" + (f"; {remedy}" if remedy else ""))


class WrongCallback(VimbisoError, TypeError):
    """A callback of a flow returned a value of a wrong type.

    Attributes:
        callback: The kind and the name of the callback.
        returned: The name of the type that it returned.
        wanted: What it must return.
    """

    callback: str
    returned: str
    wanted: str

    def __init__(self, callback: str, returned: str, wanted: str) -> None:
        self.callback, self.returned, self.wanted = callback, returned, wanted
        super().__init__(f"{callback} returned a {returned}; it must return {wanted}")


class BadToken(VimbisoError, ValueError):
    """A token was not accepted. The message does not quote the token.

    Attributes:
        member_id: The member whose token it is.
        claim: The claim of the token that is at fault; empty if it is the token as a whole.
        fault: What is wrong with it.
    """

    member_id: str
    claim: str
    fault: str

    def __init__(self, member_id: str, claim: str, fault: str) -> None:
        self.member_id, self.claim, self.fault = member_id, claim, fault
        where = f"claim {claim!r} of the token" if claim else "the token"
        super().__init__(f"{where} of member {member_id!r} {fault}; it was not taken, ask its issuer for another one")


class InvalidMessage(VimbisoError, ValueError):
    """The input is no valid message: a mistake of the caller or a malformed payload. Attributes: `field`, `fault`."""

    field: str
    fault: str

    def __init__(self, field: str, fault: str) -> None:
        self.field, self.fault = field, fault
        super().__init__(f"message {field}: {fault}")


class InvalidState(VimbisoError, ValueError):
    """A document breaks the rule book. Attributes: `faults`, a tuple of `state_validator.Fault`."""

    faults: tuple[object, ...]

    def __init__(self, faults: tuple[object, ...]) -> None:
        self.faults = faults
        super().__init__("the document is not valid: " + "; ".join(str(fault) for fault in faults))


class NotStorable(VimbisoError, TypeError):
    """A value that cannot be written down and read back (a live object, say). Attributes: `path`, `type_name`."""

    path: str
    type_name: str

    def __init__(self, path: str, type_name: str) -> None:
        self.path, self.type_name = path, type_name
        super().__init__(
            f"{path} holds a {type_name}, which cannot be stored; keep plain values, attrs classes, "
            "Decimal, Money, date, datetime or Enum members in a document"
        )


class DamagedDocument(VimbisoError):
    """The stored data is no valid document. Attributes: `member_id`, `fault`."""

    member_id: str
    fault: str

    def __init__(self, member_id: str, fault: str) -> None:
        self.member_id, self.fault = member_id, fault
        super().__init__(f"the stored document of member {member_id!r} is damaged: {fault}")


class NotAnswered(VimbisoError):
    """A message could not be handled to its end.

    Attributes:
        reply_key: The catalogue key of the reply for the member.
        reply: The words of that reply in the member's language. The manager that raises the error sets them.
        reference: The reference that the reply names. The manager that raises the error sets it.
    """

    reply_key = "store.unavailable"
    reply: str = ""
    reference: str = ""


class DocumentTooLarge(NotAnswered):
    """A document over the size limit; nothing was written. Attributes: `size`, `limit` (bytes)."""

    size: int
    limit: int

    def __init__(self, size: int, limit: int) -> None:
        self.size, self.limit = size, limit
        super().__init__(
            f"the document has {size} bytes, the limit is {limit}; nothing was stored; keep bulky data "
            "elsewhere and its key in the flow"
        )


class StoreUnavailable(NotAnswered, ConnectionError):
    """The store could not be reached or refused the work; nothing was stored. Attributes: `fault`."""

    fault: str

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(f"the store is not available: {fault}; nothing was saved")


class CommitUnknown(NotAnswered):
    """The commit was sent and its answer was lost, also on the bounded repeats.

    The same message may be handled again: its token makes it take effect once. Attributes: `member_id`, `token`,
    `fault`.
    """

    reply_key = "store.unknown"

    member_id: str
    token: str
    fault: str

    def __init__(self, member_id: str, token: str, fault: str) -> None:
        self.member_id, self.token, self.fault = member_id, token, fault
        super().__init__(
            f"it is not known whether turn {token} of member {member_id!r} was stored: {fault}; "
            "handle the same message again, it takes effect once"
        )


class Contended(NotAnswered):
    """Other writers won every race within the bound.

    Nothing of this message was stored. Attributes: `member_id`, `seconds`, `attempts`.
    """

    reply_key = "store.contended"

    member_id: str
    seconds: float
    attempts: int

    def __init__(self, member_id: str, seconds: float, attempts: int) -> None:
        self.member_id, self.seconds, self.attempts = member_id, seconds, attempts
        fault = (
            f"member {member_id!r} was changed by others {attempts} times within {seconds:g} s"
            if attempts
            else f"the messages before this one took more than {seconds:g} s"
        )
        super().__init__(f"{fault}; nothing of this message was stored; handle it again")


class NewerState(NotAnswered):
    """A worker of a newer release has stored the member's state just now: it is theirs to go on with.

    Nothing was stored. Attributes: `member_id`, `flow`, `version` (of the run).
    """

    reply_key = "store.newer"

    member_id: str
    flow: str
    version: int

    def __init__(self, member_id: str, flow: str, version: int) -> None:
        self.member_id, self.flow, self.version = member_id, flow, version
        super().__init__(
            f"member {member_id!r} is in flow {flow!r} at version {version}, of a newer release than this one; "
            "nothing was stored; handle the message again with that release, or end the workers of this one"
        )


class VersionConflict(VimbisoError):
    """A writer that will not decide again held an old version. Attributes: `member_id`, `expected`, `found`."""

    member_id: str
    expected: int
    found: int

    def __init__(self, member_id: str, expected: int, found: int) -> None:
        self.member_id, self.expected, self.found = member_id, expected, found
        super().__init__(
            f"member {member_id!r} is at version {found}, the change was made on version {expected}; "
            "nothing was stored; load again and re-apply the change"
        )


class ServiceError(VimbisoError):
    """A service is missing, or of the wrong kind for this shell. Attributes: `service`, `fault`."""

    service: str
    fault: str

    def __init__(self, service: str, fault: str) -> None:
        self.service, self.fault = service, fault
        super().__init__(f"service {service!r}: {fault}")


class EmbeddedServerError(VimbisoError):
    """The embedded server could not be started, joined or stopped.

    Attributes:
        path: The folder of the server.
        fault: What is wrong, and what to do about it.
    """

    path: str
    fault: str

    def __init__(self, path: str, fault: str) -> None:
        self.path, self.fault = path, fault
        super().__init__(f"the embedded server in {path}: {fault}")
