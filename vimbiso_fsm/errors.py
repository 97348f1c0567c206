"""The errors that this library raises.

An expected outcome is a value (`Refused`, `Conflict`, `Duplicate`); an exception is a fault. A message says what was
given, what is wrong and what to do, and the error carries the facts as attributes. No message quotes what a member
wrote, a login token or a phone number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import attrs

from vimbiso_fsm.made import UNKNOWN, Made, embedder


class VimbisoError(Exception):
    """The base class of all errors of this library. An error can be pickled and copied, with its attributes."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception calls the class with its `args`, which here are the message and no arguments of `__init__`.
        return type(self)._empty, (), {**vars(self), "args": self.args}

    @classmethod
    def _empty(cls) -> Self:
        return cls.__new__(cls)


# Declarations and callbacks -------------------------------------------------------------------------------------------


@attrs.frozen
class FlowFault:
    """One fault of a declaration.

    Attributes:
        flow: The name of the flow; empty if the fault is in no single flow.
        place: The state, transition or argument at fault; empty if it is the flow as a whole.
        fault: What is wrong.
        remedy: What to do; may be empty.
        code: The word for faults of this kind, such as "unreachable-state".
        made: The file and the line in which the part at fault is declared.
    """

    flow: str
    place: str
    fault: str
    remedy: str = ""
    code: str = "wrong-declaration"
    made: Made = UNKNOWN

    @property
    def file(self) -> str:
        """The path of the file; empty if it is not known."""
        return self.made.file

    @property
    def line(self) -> int:
        """The number of the line, from 1; 0 if it is not known."""
        return self.made.line

    @property
    def words(self) -> str:
        """The place, the fault and the remedy."""
        where = ", ".join(part for part in (f"flow {self.flow!r}" if self.flow else "", self.place) if part)
        return (f"{where}: " if where else "") + self.fault + (f"; {self.remedy}" if self.remedy else "")

    def __str__(self) -> str:
        return f"{self.made}: {self.code}: {self.words}" if self.file else f"{self.code}: {self.words}"


class FlowError(VimbisoError, ValueError):
    """The declaration of a flow, a bot or one of their parts is wrong. It is raised when the part is made.

    The text names all faults, each with its file and line.

    Attributes:
        faults: All faults that were found, in the order of the checks. The other attributes are those of the first one.
        flow: The name of the flow; empty if the fault is in no single flow.
        place: The state, transition or argument at fault; empty if it is the flow as a whole.
        fault: What is wrong.
        remedy: What to do; may be empty.
    """

    faults: tuple[FlowFault, ...]
    flow: str
    place: str
    fault: str
    remedy: str

    def __init__(
        self,
        flow: str,
        place: str,
        fault: str,
        remedy: str = "",
        *,
        code: str = "wrong-declaration",
        made: Made | None = None,
    ) -> None:
        self._hold([FlowFault(flow, place, fault, remedy, code, embedder() if made is None else made)])

    @classmethod
    def of(cls, faults: Sequence[FlowFault]) -> FlowError:
        """Return the error of several faults, at least one."""
        error = cls._empty()
        error._hold(faults)
        return error

    def _hold(self, faults: Sequence[FlowFault]) -> None:
        self.faults, first = tuple(faults), faults[0]
        self.flow, self.place, self.fault, self.remedy = first.flow, first.place, first.fault, first.remedy
        shown = f" ({first.made})" if first.file else ""
        lines = [f"{len(faults)} faults", *map(str, faults)] if len(faults) > 1 else [first.words + shown]
        super().__init__("\n".join(lines))


class WrongCallback(VimbisoError, TypeError):
    """A callback of a flow returned a value of a wrong type.

    Attributes:
        callback: The kind and the name of the callback, and its place.
        returned: The name of the type that it returned, or the words for what it returned.
        wanted: What it must return.
    """

    callback: str
    returned: str
    wanted: str

    def __init__(self, callback: str, returned: str, wanted: str) -> None:
        self.callback, self.returned, self.wanted = callback, returned, wanted
        article = "an " if returned[:1] in "aeiouAEIOU" else "a "
        if returned.partition(" ")[0] in _DETERMINERS:
            article = ""
        super().__init__(f"{callback} returned {article}{returned}; it must return {wanted}" + _SLIPS.get(returned, ""))


_DETERMINERS = frozenset({"a", "an", "another", "more"})
"""The first words of what a callback returned that take no article before them."""


_SLIPS = {
    "NoneType": "; is a return missing?",
    "coroutine": "; declare it with def, and leave what has to be awaited to a service",
    "generator": "; return a list",
}
"""The probable slips of an author, by the name of the type that a callback returned."""


class WrongCall(VimbisoError, TypeError):
    """What `call(…)` was given fits no method of a service. No call was proposed.

    Attributes:
        method: The method, as `call` was given it.
        fault: What is wrong.
        remedy: What to do.
    """

    method: str
    fault: str
    remedy: str

    def __init__(self, method: str, fault: str, remedy: str) -> None:
        self.method, self.fault, self.remedy = method, fault, remedy
        super().__init__(f"call({method}, …): {fault}; {remedy}")


class Stuck(VimbisoError):
    """A flow cannot go on by its own declaration.

    Attributes:
        flow: The name of the flow.
        state: The state in which the run stands.
        fault: Why it cannot go on.
        remedy: What to do.
    """

    flow: str
    state: str
    fault: str
    remedy: str

    def __init__(self, flow: str, state: str, fault: str, remedy: str) -> None:
        self.flow, self.state, self.fault, self.remedy = flow, state, fault, remedy
        super().__init__(f"flow {flow!r} is stuck in state {state!r}: {fault}; {remedy}")


class WrongMember(VimbisoError):
    """A flow changed the id of a member. Only a guest becomes a member.

    Attributes:
        member_id: The member whose id was changed.
    """

    member_id: str

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(
            f"member {member_id!r} cannot become another member, only a guest can; leave member.id as it is"
        )


class ServiceError(VimbisoError):
    """A service does not fit the bot or the manager. A call that meets it was not made.

    Attributes:
        service: The name of the service, or "deliver".
        fault: What is wrong.
        remedy: What to do.
    """

    service: str
    fault: str
    remedy: str

    def __init__(self, service: str, fault: str, remedy: str) -> None:
        self.service, self.fault, self.remedy = service, fault, remedy
        super().__init__(f"service {service!r}: {fault}; {remedy}")


class BotNotFound(VimbisoError, TypeError):
    """`flows=` is no bot, and no package that exports one.

    Attributes:
        given: The name that was given, or that of the type of another value.
    """

    given: str

    def __init__(self, given: str) -> None:
        self.given = given
        super().__init__(f"flows= is {given}; it takes a Bot, or the name of a package that exports one as 'bot'")


# Given values ---------------------------------------------------------------------------------------------------------


class WrongArgument(VimbisoError, TypeError):
    """A method of a manager was given a value of a wrong type. Nothing was done.

    Attributes:
        argument: The name of the argument.
        fault: What is wrong with it, and what to give. The value is not quoted.
    """

    argument: str
    fault: str

    def __init__(self, argument: str, fault: str) -> None:
        self.argument, self.fault = argument, fault
        super().__init__(f"argument {argument!r} {fault}")


class BadToken(VimbisoError, ValueError):
    """A login token was not accepted. The message does not quote the token.

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
        super().__init__(
            f"{where} of member {member_id!r} {fault}; it was not accepted, ask its issuer for another one"
        )


class InvalidMessage(VimbisoError, ValueError):
    """A message, or the payload that it was read from, is not valid.

    Attributes:
        field: The field at fault, or the path in the payload; empty if it is the message as a whole.
        fault: What is wrong with it.
    """

    field: str
    fault: str

    def __init__(self, field: str, fault: str) -> None:
        self.field, self.fault = field, fault
        super().__init__(f"message {field}: {fault}" if field else f"message: {fault}")


@attrs.frozen
class Fault:
    """A fault of a document. The faulty value is not quoted.

    Attributes:
        path: The place in the document.
        fault: What is wrong there.
    """

    path: str
    fault: str

    def __str__(self) -> str:
        return f"{self.path} {self.fault}"


class InvalidState(VimbisoError, ValueError):
    """A document breaks a rule of `StateValidator`. Nothing was stored.

    Attributes:
        faults: The faults, each with its path.
    """

    faults: tuple[Fault, ...]

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        super().__init__("the document is not valid: " + "; ".join(str(fault) for fault in faults))


class NotStorable(VimbisoError, TypeError):
    """A value in a document cannot be written as JSON and read back, for example a live object.

    Attributes:
        path: The path of the value.
        type_name: The name of its type.
    """

    path: str
    type_name: str

    def __init__(self, path: str, type_name: str) -> None:
        self.path, self.type_name = path, type_name
        super().__init__(
            f"{path} holds a {type_name}, which cannot be stored; keep plain values, attrs classes, "
            "Decimal, Money, date, datetime or Enum members in a document"
        )


class UnstorableType(VimbisoError, TypeError):
    """Values of a type cannot be stored and read back equal.

    Attributes:
        type_name: The type.
        path: The field of the type at fault, and the fields that it stands in; empty for the type itself.
        fault: What is wrong.
        remedy: What to do.
    """

    type_name: str
    path: str
    fault: str
    remedy: str

    def __init__(self, type_name: str, path: str, fault: str, remedy: str) -> None:
        self.type_name, self.path, self.fault, self.remedy = type_name, path, fault, remedy
        super().__init__(f"type {type_name}{f', field {path!r}' if path else ''} {fault}; {remedy}")


class Misfit(VimbisoError, TypeError):
    """A value does not fit the type that it is stored as, so that the value read back would be another one.

    Attributes:
        place: What was to be stored, such as "data of flow 'order'".
        path: The field at fault; empty if it is the value as a whole.
        fault: What is wrong. No value is quoted.
    """

    place: str
    path: str
    fault: str

    def __init__(self, place: str, path: str, fault: str) -> None:
        self.place, self.path, self.fault = place, path, fault
        where = f"{place}, field {path!r}" if path else place
        super().__init__(f"{where}: {fault}; give a value of the declared type, or declare the type of the value")


class Unreadable(VimbisoError, ValueError):
    """Stored data is not of the wanted shape.

    Attributes:
        faults: A sentence with a path for each fault. No value is quoted.
    """

    faults: tuple[str, ...]

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class VersionConflict(VimbisoError):
    """A change was made on a version of the document that is no longer the stored one. Nothing was stored.

    Attributes:
        member_id: The member.
        expected: The version on which the change was made.
        found: The stored version.
    """

    member_id: str
    expected: int
    found: int

    def __init__(self, member_id: str, expected: int, found: int) -> None:
        self.member_id, self.expected, self.found = member_id, expected, found
        super().__init__(
            f"member {member_id!r} is at version {found}, the change was made on version {expected}; "
            "nothing was stored; load again and re-apply the change"
        )


# The store ------------------------------------------------------------------------------------------------------------


class DamagedDocument(VimbisoError):
    """The stored data of a member cannot be used.

    Attributes:
        member_id: The member.
        fault: What is wrong with the data.
    """

    member_id: str
    fault: str

    def __init__(self, member_id: str, fault: str) -> None:
        self.member_id, self.fault = member_id, fault
        super().__init__(f"the stored document of member {member_id!r} is damaged: {fault}; recover the member first")


class MemberNotFound(VimbisoError, LookupError):
    """Nothing is stored of a member.

    Attributes:
        member_id: The member.
    """

    member_id: str

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(f"nothing is stored of member {member_id!r}; check the id")


class NotAMember(VimbisoError, ValueError):
    """An id names no member that channels can be linked to. Nothing was changed.

    Attributes:
        member_id: The id.
        fault: Why it does not.
        remedy: What to do.
    """

    member_id: str
    fault: str
    remedy: str

    def __init__(self, member_id: str, fault: str, remedy: str) -> None:
        self.member_id, self.fault, self.remedy = member_id, fault, remedy
        super().__init__(f"{member_id!r} {fault}; nothing was changed; {remedy}")


class ChannelTaken(VimbisoError):
    """A channel is linked to another member than the one that was to get it. Nothing was changed.

    Attributes:
        channel_type: The type of the channel.
        member_id: The member that was to get it.
        owner: The member that it is linked to.
    """

    channel_type: str
    member_id: str
    owner: str

    def __init__(self, channel_type: str, member_id: str, owner: str) -> None:
        self.channel_type, self.member_id, self.owner = channel_type, member_id, owner
        super().__init__(
            f"the {channel_type} channel is linked to member {owner!r}, so it was not linked to {member_id!r}; "
            "nothing was changed; relink it to take it from its member"
        )


class CallPending(VimbisoError):
    """A member or guest cannot be merged now, because the outcome of a call is not known. Nothing was changed.

    Attributes:
        member_id: The member or guest.
        call: The call, "service.method".
    """

    member_id: str
    call: str

    def __init__(self, member_id: str, call: str) -> None:
        self.member_id, self.call = member_id, call
        super().__init__(
            f"{member_id!r} waits for the call {call}, whose outcome is not known and would be lost; nothing was "
            "changed; do it again when the call is answered, or reset the member first"
        )


class NotRecovered(VimbisoError):
    """A member was not recovered. Nothing was changed.

    Attributes:
        member_id: The member.
        to: The version to which the member was to be put back; None if a damaged document was to be repaired.
        fault: The reason.
        barrier: The version of a later turn that forbids it, because it made a call with an effect; None if the reason
            is another one.
        remedy: What to do; may be empty.
    """

    member_id: str
    to: int | None
    fault: str
    barrier: int | None
    remedy: str

    def __init__(
        self, member_id: str, to: int | None, fault: str, barrier: int | None = None, remedy: str = ""
    ) -> None:
        self.member_id, self.to, self.fault, self.barrier, self.remedy = member_id, to, fault, barrier, remedy
        change = "recovered" if to is None else f"put back to version {to}"
        super().__init__(f"member {member_id!r} was not {change}: {fault}" + (f"; {remedy}" if remedy else ""))


class EntryNotFound(VimbisoError, LookupError):
    """The audit has no entry of a version.

    Attributes:
        member_id: The member, or "the store".
        version: The version.
        fault: Why there is none.
    """

    member_id: str
    version: int
    fault: str

    def __init__(self, member_id: str, version: int, fault: str) -> None:
        self.member_id, self.version, self.fault = member_id, version, fault
        super().__init__(f"the audit of member {member_id!r} has no entry of version {version}: {fault}")


class StateNotKept(VimbisoError, LookupError):
    """The state of a member at a version cannot be shown, or nothing can go on from it.

    Attributes:
        member_id: The member.
        version: The version.
        fault: Why.
    """

    member_id: str
    version: int
    fault: str

    def __init__(self, member_id: str, version: int, fault: str) -> None:
        self.member_id, self.version, self.fault = member_id, version, fault
        super().__init__(f"the state of member {member_id!r} at version {version} cannot be used: {fault}")


class RecordNotImported(VimbisoError, ValueError):
    """A record of the previous release was not imported. The record is unchanged.

    Attributes:
        record: The number of the record, masked but for its last three digits.
        digest: The digest of the number, as the audit of the store has it; empty where no store is known.
        field: The field at fault; empty if it is the record as a whole.
        fault: The reason.
    """

    record: str
    digest: str
    field: str
    fault: str

    def __init__(self, record: str, field: str, fault: str, digest: str = "") -> None:
        self.record, self.digest, self.field, self.fault = record, digest, field, fault
        super().__init__(f"record {record}{f' ({digest})' if digest else ''}: {field or 'it'} {fault}")

    def with_digest(self, digest: str) -> RecordNotImported:
        """Return this error with the digest of the number."""
        return RecordNotImported(self.record, self.field, self.fault, digest)


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


class SendUnknown(VimbisoError):
    """It is not known whether a channel has taken a message: the replies are sent again.

    Attributes:
        api: The name of the API.
        fault: What is known.
        code: The code of the channel, or that of HTTP; empty without one.
    """

    api: str
    fault: str
    code: str

    def __init__(self, api: str, fault: str, code: str = "") -> None:
        self.api, self.fault, self.code = api, fault, code
        super().__init__(f"{api}{f' ({code})' if code else ''}: {fault}; the message may have been taken")


class RequestRefused(VimbisoError):
    """The API of a channel has refused a request that sends no reply, such as one for a file.

    Attributes:
        api: The name of the API.
        kind: "busy", "operator", "address", "content" or "unknown"; see `vimbiso_fsm.web.refusals`.
        fault: What is wrong.
        code: The code of the channel, or that of HTTP; empty without one.
        retry_after: The seconds to wait, if the channel names them.
    """

    api: str
    kind: str
    fault: str
    code: str
    retry_after: float | None

    def __init__(self, api: str, kind: str, fault: str, code: str = "", retry_after: float | None = None) -> None:
        self.api, self.kind, self.fault, self.code, self.retry_after = api, kind, fault, code, retry_after
        super().__init__(f"{api}{f' ({code})' if code else ''}: {fault}")


# Messages that were not answered --------------------------------------------------------------------------------------


class NotAnswered(VimbisoError):
    """The base class of errors after which a message has no reply of its flow.

    Attributes:
        reply_key: The catalogue key of the reply for the member.
        reply: The words of that reply in the member's language. The manager that raises the error sets them.
        reference: The reference that the reply names. The manager that raises the error sets it.
    """

    reply_key: str = "store.unavailable"
    reply: str = ""
    reference: str = ""


class DocumentTooLarge(NotAnswered):
    """A document is larger than the limit. Nothing was stored.

    Attributes:
        size: The size of the document in bytes.
        limit: The limit in bytes.
    """

    size: int
    limit: int

    def __init__(self, size: int, limit: int) -> None:
        self.size, self.limit = size, limit
        super().__init__(
            f"the document has {size} bytes, the limit is {limit}; nothing was stored; keep bulky data "
            "elsewhere and its key in the flow"
        )


class StoreUnavailable(NotAnswered, ConnectionError):
    """The store could not be reached, or it refused the request. Nothing was stored.

    Attributes:
        fault: What is wrong, with the server's place.
    """

    fault: str

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(f"the store is not available: {fault}; nothing was stored")


@attrs.frozen
class Finding:
    """One setting or state of a server that is not as it should be.

    Attributes:
        place: The address of the server.
        setting: The setting or the state.
        found: Its value.
        wanted: The value that it should have.
        why: What happens otherwise.
        remedy: What to do; it starts with the command, if one helps.
        serious: Whether answered turns can be lost or no turn can be taken; otherwise it is a warning.
    """

    place: str
    setting: str
    found: str
    wanted: str
    why: str
    remedy: str
    serious: bool = True

    def __str__(self) -> str:
        return f"{self.place}: {self.setting} is {self.found}, not {self.wanted}: {self.why}; remedy: {self.remedy}"


class DamagedKey(StoreUnavailable):
    """A key of the store that belongs to no single member is damaged: a due set, a lease, or the entry of a channel.

    Workers and messages put it aside, record an incident and go on.

    Attributes:
        request: The request that has met the damage.
        entries: The damaged entries; empty if the key as a whole is of another type.
    """

    request: object
    entries: tuple[bytes, ...]

    def __init__(self, request: object, entries: tuple[bytes, ...] = ()) -> None:
        self.request, self.entries = request, entries
        fault = f"{len(entries)} entries are damaged" if entries else "a key has another type"
        super().__init__(f"{type(request).__name__}: {fault}; a worker or the member's next message puts them aside")


class DamagedRecord(StoreUnavailable):
    """A record that a store keeps once is damaged, so that no manager starts. Nothing was stored.

    Attributes:
        record: The record: "owner", "shards", or "index" for the keys of the digests of channels.
    """

    record: str

    def __init__(self, place: str, record: str) -> None:
        self.record = record
        super().__init__(
            f"{place}: its record {record!r} is damaged, or the replies about it make no sense; `vimbiso doctor` "
            "tells, and `vimbiso repair` puts the record aside"
        )


class MissingSecret(StoreUnavailable):
    """The channel index of the store is keyed with a secret that this manager was not given. Nothing was changed."""


class ArchiveUnavailable(StoreUnavailable):
    """The archive of older audit entries refuses. What it was asked for was not done; the store has not changed.

    Attributes:
        place: The archive, without a password.
    """

    place: str

    def __init__(self, place: str, fault: str) -> None:
        self.place = place
        super().__init__(f"the archive {place} refuses: {fault}")


class ArchiveConflict(VimbisoError):
    """The archive and the store have two entries of one version, or two chains. Neither was changed.

    One of them was put back from an older copy, or belongs to another deployment.

    Attributes:
        member_id: The member.
        version: The version of the first such entry.
        archived: The digest in the archive.
        stored: The digest in the store.
    """

    member_id: str
    version: int
    archived: str
    stored: str

    def __init__(self, member_id: str, version: int, archived: str, stored: str) -> None:
        self.member_id, self.version, self.archived, self.stored = member_id, version, archived, stored
        super().__init__(
            f"member {member_id!r}, entry {version}: the archive has {archived[:12]} and the store {stored[:12]}; "
            "nothing was archived; compare both with `vimbiso audit verify` before you remove one of them"
        )


class UnsafeStore(StoreUnavailable):
    """The store can lose what it acknowledges. It is not used.

    Attributes:
        findings: The serious findings of the doctor.
    """

    findings: tuple[Finding, ...]

    def __init__(self, findings: tuple[Finding, ...], waiver: str) -> None:
        self.findings = findings
        lines = "".join(f"\n  {finding}" for finding in findings)
        super().__init__(f"it would lose data ({waiver}):{lines}\nuntil then it is not used")


class AnotherBotsStore(StoreUnavailable):
    """The store belongs to another bot. Nothing was read of its members, and nothing was stored.

    Attributes:
        owner: The owner of the store, in words.
        bot: The bot that asked, in words.
        flows: The flows of the owner that the bot neither has nor declares as dropped.
    """

    owner: str
    bot: str
    flows: tuple[str, ...]

    def __init__(self, owner: str, bot: str, flows: tuple[str, ...]) -> None:
        self.owner, self.bot, self.flows = owner, bot, flows
        same = f"Bot(dropped={[*flows]})" if flows else "the same Bot(name=…)"
        super().__init__(
            f"it belongs to {owner}, and {bot} asks for it; give each bot a namespace of its own "
            f"(namespace=…, --namespace); if the two are one bot, declare {same}, or free the store with "
            "`vimbiso owner --release`"
        )


class UnknownLayout(StoreUnavailable):
    """The store has a layout that this release cannot use. Nothing was stored.

    Attributes:
        layout: The layout of the store; 0 if its record cannot be read.
        known: The newest layout that this release knows.
    """

    layout: int
    known: int

    def __init__(self, layout: int, known: int) -> None:
        self.layout, self.known = layout, known
        if not layout:
            fault = "the record of its owner cannot be read; put it aside with `vimbiso repair`"
        elif layout > known:
            fault = (
                f"it has layout {layout} of a newer release, and this release knows layouts up to {known}; use the "
                "newer release, or another namespace"
            )
        else:
            fault = (
                f"it has layout {layout}, which this release does not convert any more; start a release between the "
                "two first, or use another namespace"
            )
        super().__init__(fault)


class CommitUnknown(NotAnswered):
    """A commit was sent, and its reply was lost, also after repetition. It may have been stored.

    The same message may be handled again. It takes effect once, because its token is the same.

    Attributes:
        member_id: The member.
        token: The token of the turn.
        fault: What happened.
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
    """A message was not handled within the time limit, because of other writers. Nothing of it was stored.

    Attributes:
        member_id: The member; empty if the message waited for earlier ones all the time.
        seconds: The time limit in seconds.
        attempts: The number of commits that lost; 0 if the message waited for earlier ones all the time.
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


class TooManyMessages(NotAnswered):
    """A message came above a rate at which the manager takes messages in. It was not taken, and nothing was stored.

    `reply` is empty where the sender is to be told nothing: a new guest, and an address that was told before since its
    whole burst could come.

    Attributes:
        rate: The name of the rate in `Rates`: "address" or "guests".
        seconds: Seconds after which the message can be taken, if no other one comes first.
        told: Whether another message was refused since the whole burst of the rate could come.
    """

    rate: str
    seconds: float
    told: bool

    def __init__(self, rate: str, seconds: float, told: bool) -> None:
        self.rate, self.seconds, self.told = rate, seconds, told
        self.reply_key = "rate.address" if rate == "address" and not told else ""
        super().__init__(
            f"the message came above the rate {rate!r} and was not taken; handle it again after {seconds:.1f} s, let "
            "its channel deliver it again, or drop it; Rates(…) has the rates"
        )


class CallbackTimedOut(NotAnswered):
    """An author's code outside of a turn has taken too long, such as a migration, and was ended.

    What was stored before stays. Handle the message again when the code was repaired; it takes effect once.
    """

    reply_key = "failure.timed_out"

    def __init__(self) -> None:
        super().__init__(
            "code of an author has taken longer than Watchdog(stop=…), and was ended; the log names it; "
            "handle the message again when it was repaired"
        )


class NewerState(NotAnswered):
    """A worker of a newer release has stored the member's document less than an hour ago. Nothing was stored.

    Attributes:
        member_id: The member.
        flow: The flow of the run that the newer release has stored.
        version: The version of that run.
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


class EncryptedState(NotAnswered):
    """The member's data is encrypted, and its key is not at hand. Nothing was read, changed or stored.

    Attributes:
        member_id: The member.
        key: The id of the key.
        fault: Why it is not at hand.
    """

    member_id: str
    key: str
    fault: str

    def __init__(self, member_id: str, key: str, fault: str) -> None:
        self.member_id, self.key, self.fault = member_id, key, fault
        super().__init__(
            f"the data of member {member_id!r} is encrypted with key {key!r}: {fault}; nothing was changed; with the "
            "key at hand (encryption=, VIMBISO_KEYS) all goes on, and without it only a wipe or an erasure is possible"
        )


class ForeignState(NotAnswered):
    """The member's document holds a run of a flow that this bot never had. Nothing was read, changed or stored.

    Another bot has stored it, or a release of this bot that has the flow.

    Attributes:
        member_id: The member.
        flows: The names of the flows that this bot does not know.
    """

    reply_key = "store.foreign"

    member_id: str
    flows: tuple[str, ...]

    def __init__(self, member_id: str, flows: tuple[str, ...]) -> None:
        self.member_id, self.flows = member_id, flows
        names = ", ".join(map(repr, flows))
        super().__init__(
            f"member {member_id!r} is in flow {names}, which this bot never had; nothing was changed; give each bot "
            f"a namespace of its own, or, if this bot had the flow once, declare Bot(dropped=[{names}])"
        )
