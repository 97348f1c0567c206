"""The turn that a callback of a flow sees, and what the callback may return.

A callback is pure: it reads a `Turn` and returns a value. A guard returns `True` to accept, `False` to decline
silently, or `Refused` to decline with a reason for the member. A `call` callback proposes an effect, which runs after
the turn is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, Generic, TypeAlias, TypeVar, cast

import attrs

from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.document import Member, P_co, StoredProfile, language_of
from vimbiso_fsm.document.typed_data import unstructure
from vimbiso_fsm.messages.locales import preferred
from vimbiso_fsm.messages.message import Channel, Message
from vimbiso_fsm.messages.proof import PROOFS, Proof, proof_of, proven_phone
from vimbiso_fsm.messages.refusals import Refused
from vimbiso_fsm.messages.value import Value

D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)
R = TypeVar("R")


def _declared(channel: Channel) -> Proof:
    return proof_of(PROOFS.get(channel.type, "nothing"), channel.type, channel.identifier)


def _utc(member: Member[Any]) -> tzinfo:
    return UTC


def _english(profile: Mapping[str, object], channel: Channel) -> str:
    return "en"


LanguageOf: TypeAlias = Callable[[Mapping[str, object], Channel], str]
"""Returns the language of the replies to a member with a stored profile on a channel."""


@attrs.frozen(eq=False, repr=False)
class Changes(Value, Generic[D_co]):
    """The result of a `prepare` that changes the member; made by `Turn.changes`.

    Attributes:
        data: The flow's new data.
        member: The new member.
        reminders: The changes of the member's reminders, in order.
    """

    data: D_co = attrs.field(repr=False)
    member: Member[Any]
    reminders: Sequence[Any] = ()


@attrs.frozen(eq=False, repr=False)
class Turn(Value, Generic[D_co, P_co]):
    """One message while it is decided, for a flow with data `D` and a bot with the profile class `P`.

    `Turn[Offer]` suits a bot without a profile class: `turn.member.profile` is then the stored mapping.

    Attributes:
        data: The flow's typed data. The answer is already in its field.
        member: The member whose turn it is.
        channel: The channel that the message came from.
        now: The store's clock, in UTC.
        flow: The name of the flow.
        state: The name of the state.
        trigger: The trigger that is fired; empty for callbacks that belong to no transition.
        answer: What was read or chosen, or what a call or a sub-flow returned.
        reason: Why a call failed; set on trigger `failed`.
        message: The message that the turn takes in; None in a turn of a timer, of a call or of a fact. Its marks say
            how it came about: `payload`, `referral`, `forwarded`, `replied_to`.
        by: The name of the system that pulled the trigger (`manager.trigger`); empty in all other turns.
    """

    data: D_co = attrs.field(repr=False)
    member: Member[P_co]
    channel: Channel
    now: datetime
    flow: str
    state: str
    trigger: str = ""
    answer: Any = attrs.field(default=None, repr=False)
    reason: Refused | None = None
    message: Message | None = attrs.field(default=None, eq=False, repr=False)
    by: str = ""
    _zone_of: Callable[[Member[Any]], tzinfo] = attrs.field(default=_utc, alias="zone_of", eq=False, repr=False)
    _proof_of: Callable[[Channel], Proof] = attrs.field(default=_declared, alias="proof_of", eq=False, repr=False)
    _language_of: LanguageOf = attrs.field(default=_english, alias="language_of", eq=False, repr=False)

    @property
    def language(self) -> str:
        """The language of the replies: the member's, as far as the bot has texts in it, otherwise the bot's."""
        return self._language_of(self.member.stored_profile, self.channel)

    @property
    def tags(self) -> tuple[str, ...]:
        """The language tags that the profile and the channel name, such as "fr-CA", the preferred one first."""
        return preferred(self.member.stored_profile, self.channel.metadata)

    @property
    def proves(self) -> Proof:
        """What the identifier of the channel proves of its speaker: "phone", "account" or "nothing"."""
        return self._proof_of(self.channel)

    @property
    def phone(self) -> str:
        """The telephone number that the channel proves, as digits with the country code; empty if it proves none.

        `channel.identifier` is no number to rely on. Where this is empty, let the speaker prove a number, by a code
        that a service sends to it.
        """
        return proven_phone(self.proves, self.channel.identifier)

    @property
    def zone(self) -> tzinfo:
        """The member's time zone, by `Bot(zone_of=…)`, otherwise that of the bot.

        Raises:
            WrongCallback: `Bot.zone_of` names no time zone.
        """
        return self._zone_of(self.member)

    @property
    def local(self) -> datetime:
        """The store's clock in the member's time zone."""
        return self.now.astimezone(self.zone)

    @property
    def today(self) -> date:
        """The date in the member's time zone."""
        return self.local.date()

    def instant(self, day: date, at: time = time()) -> datetime:
        """Return the instant, in UTC, at which the member's clock shows a date and a time.

        The result is in UTC so that a difference is one of elapsed time: `turn.instant(day, at) - timedelta(hours=2)`
        is two hours before, also in the night in which the clocks change. Of a time that the clock shows twice, it is
        the first, or with `fold=1` the second. A time that the clock skips is read by the clock before the change.

        Args:
            day: The date.
            at: The time of day, without a time zone; midnight if not given.

        Raises:
            WrongCallback: `Bot.zone_of` names no time zone.
        """
        local = datetime.combine(day, at, self.zone)
        found = local.astimezone(UTC)
        if local.fold and found.astimezone(self.zone).replace(tzinfo=None) != datetime.combine(day, at):
            return local.replace(fold=0).astimezone(UTC)  # a skipped time has no second reading
        return found

    def changes(
        self, *, data: D | None = None, member: Member[Any] | None = None, reminders: Sequence[Any] = ()
    ) -> Changes[D]:
        """Return the result of a `prepare` that changes the member, at a login or a change of account for example.

        Args:
            data: The flow's new data; unchanged if not given.
            member: The new member; unchanged if not given.
            reminders: Reminders to set and to cancel: `remind(…)`, `cancel_reminder(…)`.
        """
        return Changes(
            cast(D, self.data) if data is None else data, self.member if member is None else member, reminders
        )

    def unlink(self) -> Changes[Any]:
        """Return the result of a `prepare` that has learned from a service that the channel is not the member's.

        The session ends, and the channel is unlinked: its speaker goes on as a guest, at whom the message is decided
        again. A `prepare` that makes another member of the answer of a service does the same, such as a login that
        answers another member than the one that the channel leads to. For a guest nothing is changed.
        """
        return self.changes(member=None if self.member.guest else attrs.evolve(self.member, id=""))


Callback: TypeAlias = Callable[[Turn[D, Any]], R]
"""A pure function of a turn with data `D`, in a bot with any profile class."""

Guard: TypeAlias = Callback[D, bool | Refused]
"""A pure callback that accepts, declines or refuses."""


def settled(before: Member[Any], after: Member[Any]) -> Member[Any]:
    """Return the member that a `prepare` made, with its profile as it is stored.

    A profile that is an instance of the profile class replaces the fields of that class; fields of the stored profile
    that the class does not have are kept.

    Raises:
        Misfit: A value of the profile is not of its field's type.
    """
    given, kept = after._profile, before._profile
    if given is kept and after.language == before.language:
        return after
    fields: Any = given.fields if isinstance(given, StoredProfile) else given
    typed = None
    if isinstance(kept, StoredProfile) and isinstance(given, kept.kind):
        kind: Any = kept.kind
        typed = data_type(kind).settled(given, "profile")
        fields = {**kept.fields, **unstructure(typed)}
    if after.language != before.language:
        typed, fields = None, {**fields, "language": after.language}
    profile = StoredProfile(fields, kept.kind, kept.read, typed) if isinstance(kept, StoredProfile) else fields
    return attrs.evolve(after, profile=profile, language=language_of(fields))


def authenticated(turn: Turn[object, object]) -> bool | Refused:
    """Guard: the member is logged in. A refusal leads to the bot's entry flow, and back."""
    return turn.member.authenticated or Refused("member.login")


@attrs.frozen(eq=False, repr=False)
class FailedWith(Value):
    """A guard for trigger `failed` that accepts some reasons; made by `failed_with`.

    Attributes:
        codes: The codes of the reasons.
    """

    codes: tuple[str, ...]

    @property
    def __name__(self) -> str:
        """The name in errors and audit entries."""
        return f"because {' or '.join(self.codes)}"

    def __call__(self, turn: Turn[object, object], /) -> bool:
        """Return whether the call failed with one of the reasons."""
        return turn.reason is not None and turn.reason.code in self.codes


def failed_with(*codes: str) -> FailedWith:
    """Return a guard for trigger `failed` that accepts these reasons: `failed_with("call.unsure")`.

    Args:
        codes: The codes of the `Refused` that the call returned. They are `failed_with(…).codes`.
    """
    return FailedWith(codes)
