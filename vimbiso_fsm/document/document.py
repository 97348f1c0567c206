"""The stored state of a member: the document, as attrs classes.

Its shape on the wire is `codec.py`'s business, its rules are `state_validator.py`'s. What a flow's author adds lives
in `StepData.fields`, everything the framework adds starts with `_` on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, cast

import attrs
from typing_extensions import TypeVar

from vimbiso_fsm.document.ids import guest_id
from vimbiso_fsm.messages.message import Channel


@attrs.frozen
class Address:
    """Type and identifier of a channel, without what it knows of the member."""

    type: str
    identifier: str = attrs.field(repr=False)


@attrs.frozen
class StepData:
    """What a run has gathered. `fields`: the flow's typed data, unstructured; `typed`: the same data as the flow's
    class, or None; it is kept only where it is `codec.stable`, and never stored. `attempts`: refusals in a row at this
    question. `verdict`: the latest verdict on an answer: step, ok, code."""

    flow_type: str
    channel: Address
    context: Mapping[str, Any] = attrs.field(factory=dict)
    verdict: Mapping[str, Any] = attrs.field(factory=dict)
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    typed: Any = attrs.field(default=None, eq=False, repr=False)

    @property
    def attempts(self) -> int:
        """Refusals in a row at this question."""
        return int(self.context.get("attempts", 0))

    @property
    def tries(self) -> int:
        """Tries of this state's call that are known to have done nothing, before the login that it waits for."""
        return int(self.context.get("tries", 0))


@attrs.frozen
class FlowData:
    """A run and where it stands. `id`: the run, `step`: the machine's state."""

    id: str
    step: str
    data: StepData


@attrs.frozen
class Shown:
    """One choice that was shown: what it is, and its title as the member read it."""

    choice: str
    title: str


@attrs.frozen
class Run:
    """A run with its bookkeeping.

    `version`, `fingerprint`: of the flow's declaration the run was last stepped with. `entered`: the document's
    version at which the state was entered (fences buttons and timers). The seed's document has none of the three.
    `trail`: the questions answered so far, for `back`, a sub-flow being one; `made`: whether a call with an effect was
    made before them, or may have been. `page`: of a long list. `shown`: the choices shown, in order.
    `since`: when the state was entered. `due`: when its timer fires.
    `waits`: why it is suspended ("" while it is the current one): "sub" for its
    sub-flow, "under" a quick command, "asked" because the member said something else first, "entry" until they are
    known; so may the current one, when it was taken over from an old record.
    """

    flow_data: FlowData
    version: int = 1
    fingerprint: str = ""
    entered: int = 0
    trail: tuple[str, ...] = ()
    made: bool = False
    page: int = 0
    shown: tuple[Shown, ...] = ()
    since: datetime | None = None
    due: datetime | None = None
    waits: str = ""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.flow_data.id

    @property
    def flow(self) -> str:
        """The flow's name."""
        return self.flow_data.data.flow_type

    @property
    def step(self) -> str:
        """The state the run stands in."""
        return self.flow_data.step


@attrs.frozen
class PendingCall:
    """An effect on its way. `key`: its idempotency key. `root`: the token of the message that caused it.
    `leased_until`: until then it is in the hands of whoever committed it. `again_at`: when it is taken up again though
    nobody asks, after its outcome stayed unknown. `tries`: how often it was taken up. `renewed`: whether the token it
    is made with was renewed for this try. `again`: how often recovery has gone back to it, whose answer was lost with
    the document."""

    key: str
    service: str
    method: str
    arguments: Mapping[str, Any] = attrs.field(repr=False)
    root: str
    leased_until: datetime
    tries: int = 1
    again_at: datetime | None = None
    renewed: bool = False
    again: int = 0


@attrs.frozen
class TokenLife:
    """When a token was issued and when it runs out, by its own word."""

    issued: datetime
    expires: datetime


@attrs.frozen
class Undelivered:
    """Replies that answer no message: a timer's, the session's end, a call that took long. `replies`: as
    `codec.replies_to_raw` makes them. `leased_until`: until then somebody is delivering them, or nobody may; None: they
    wait for the member's next message. `tries`: how often their delivery was begun."""

    id: str
    replies: tuple[Any, ...] = attrs.field(repr=False)
    leased_until: datetime | None = None
    tries: int = 0


@attrs.frozen
class Moved:
    """A guest has become a member: who, and the guest's version at which it happened."""

    to: str
    version: int


@attrs.frozen
class Judged:
    """What is known of a document that was judged valid. `plain`: its plain data; `rules`: the validator that judged
    it; `exposed`: the bytes of those mutable values that callbacks see, or None."""

    plain: Mapping[str, Any]
    rules: object
    exposed: bytes | None


@attrs.frozen
class Document:
    """The stored state of a member.

    `channel`: of the latest turn. `run`: where the conversation stands; `suspended`: runs to come back to, the next
    one last. `call`: an effect on its way. `token`: the life of `jwt_token`, where it is known. `deadline`: when the
    session ends unless something is said; `session_since`: when it began; `warn_at`: when the member is to be warned of
    its end. `channels`: the linked ones. `version` counts commits from 1; `last_updated` never goes back. `upgraded`:
    the runs brought to today's flows when it was read; it is not stored, the next commit's audit says it. `judged`: set
    once the document was found valid; the next document is then written and judged by what is not the same object.
    """

    member_id: str
    channel: Channel
    last_updated: datetime
    version: int = 0
    guest: bool = True
    jwt_token: str | None = attrs.field(default=None, repr=False)
    authenticated: bool = False
    token: TokenLife | None = None
    profile: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    current_account: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    run: Run | None = None
    suspended: tuple[Run, ...] = ()
    call: PendingCall | None = None
    outbox: tuple[Undelivered, ...] = ()
    deadline: datetime | None = None
    session_since: datetime | None = None
    warn_at: datetime | None = None
    channels: tuple[Address, ...] = ()
    moved: Moved | None = None
    upgraded: tuple[Mapping[str, Any], ...] = attrs.field(default=(), eq=False, repr=False)
    judged: Judged | None = attrs.field(init=False, default=None, eq=False, repr=False)

    def keep_judged(self, judged: Judged) -> None:
        """Remember that the document was found valid. It is a note, no part of the value: two equal documents may
        differ in it, and `attrs.evolve` drops it."""
        object.__setattr__(self, "judged", judged)

    @property
    def flow_data(self) -> FlowData | None:
        """The current run's state and data; None when no flow is open."""
        return self.run.flow_data if self.run else None

    @property
    def tries(self) -> int:
        """Tries of the call on its way, but for those that are known to have done nothing."""
        return self.call.tries - (self.run.flow_data.data.tries if self.run else 0) if self.call else 0

    @property
    def member(self) -> Member:
        """The person, as callbacks see them."""
        return Member(
            self.member_id,
            self.guest,
            self.authenticated,
            self.jwt_token,
            self.profile,
            self.current_account,
            language_of(self.profile),
        )

    def at(self, now: datetime) -> Document:
        """This document as it is then: nobody is authenticated with a token that has run out."""
        lapsed = self.authenticated and self.token is not None and self.token.expires <= now
        return attrs.evolve(self, authenticated=False) if lapsed else self

    def with_member(self, member: Member) -> Document:
        """This document, the member changed. Another id is not taken here: that is a move (`exchange.py`)."""
        return attrs.evolve(
            self,
            authenticated=member.authenticated,
            jwt_token=member.jwt_token,
            profile=member.stored_profile,
            current_account=member.current_account,
        )


def first_document(channel: Channel, now: datetime, *, member_id: str = "", version: int = 0) -> Document:
    """The document of somebody new on a channel: a guest, unless the channel is known to be a member's."""
    return Document(
        member_id=member_id or guest_id(channel),
        channel=channel,
        last_updated=now,
        version=version,
        guest=not member_id,
        channels=(Address(*channel.address),) if member_id else (),
    )


P_co = TypeVar("P_co", covariant=True, default=Mapping[str, Any])


@attrs.frozen
class StoredProfile(Generic[P_co]):
    """A profile as it is stored, read as the bot's profile class when it is first used.

    Attributes:
        fields: The profile as plain values by field.
        kind: The profile class.
        read: Makes an instance of a class from plain values.
    """

    fields: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    kind: type[P_co]
    read: Callable[[Mapping[str, Any], type[Any]], Any] = attrs.field(eq=False, repr=False)
    _typed: Any = attrs.field(default=None, eq=False, repr=False)

    @property
    def typed(self) -> P_co:
        """The profile as an instance of the profile class; it is read once."""
        if self._typed is None:
            object.__setattr__(self, "_typed", self.read(self.fields, self.kind))
        return cast(P_co, self._typed)


@attrs.frozen
class Member(Generic[P_co]):
    """The member that a turn is about, as callbacks see them.

    Attributes:
        id: The member id; a guest has a provisional one.
        guest: Whether the member is not identified yet.
        authenticated: Whether the member is logged in with a live token.
        jwt_token: The member's token, if there is one.
        profile: An instance of the bot's profile class; the stored mapping if the bot has none.
        current_account: The account in use, as the embedder describes it. Storable.
        language: The language tag that the profile names, None if it names none. A `prepare` changes it here.
    """

    id: str
    guest: bool = True
    authenticated: bool = False
    jwt_token: str | None = attrs.field(default=None, repr=False)
    _profile: P_co | StoredProfile[P_co] = attrs.field(alias="profile", factory=cast(Any, dict), repr=False, hash=False)
    current_account: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)
    language: str | None = None

    @property
    def profile(self) -> P_co:
        """The profile, typed if the bot has a profile class. It is structured once a turn, when it is first used."""
        profile = self._profile
        return cast(P_co, profile.typed if isinstance(profile, StoredProfile) else profile)

    @property
    def stored_profile(self) -> Mapping[str, Any]:
        """The profile as plain values by field, as the document holds it."""
        profile: Any = self._profile
        return cast("Mapping[str, Any]", profile.fields if isinstance(profile, StoredProfile) else profile)


def language_of(profile: object) -> str | None:
    """Return the language tag that a stored profile names, None if it names none."""
    language = profile.get("language") if isinstance(profile, Mapping) else None
    return language if isinstance(language, str) else None


_UNASKED, FINISHING = "unasked", "finishing"
"""Marks in a run's validation context: its question has not been asked since a deploy put it there; it ends on the old
definition, whatever is declared of the steps it comes to."""


def finishing(run: Run) -> Run:
    """The run as one that ends on the old definition of its version."""
    context = run.flow_data.data.context
    return run if FINISHING in context else _with_context(run, {**context, FINISHING: True})


def needs_asking(run: Run | None) -> bool:
    """Whether the run stands where a deploy has put it, and the member has not been asked since."""
    return run is not None and _UNASKED in run.flow_data.data.context


def asked(run: Run) -> Run:
    """The run, no longer unasked."""
    if not needs_asking(run):
        return run
    return _with_context(run, {name: v for name, v in run.flow_data.data.context.items() if name != _UNASKED})


def to_be_asked(run: Run) -> Run:
    """The run as one that must be asked; what was shown, and its timer, belonged to another question."""
    context = {name: value for name, value in run.flow_data.data.context.items() if name != "attempts"}
    return attrs.evolve(_with_context(run, {**context, _UNASKED: True}), shown=(), page=0, since=None, due=None)


def _with_context(run: Run, context: Mapping[str, Any]) -> Run:
    data = attrs.evolve(run.flow_data.data, context=context)
    return attrs.evolve(run, flow_data=attrs.evolve(run.flow_data, data=data))
