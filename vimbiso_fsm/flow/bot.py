"""The bot: the flows, and the settings that belong to no single flow."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

import attrs

from vimbiso_fsm.document.data_types import data_type
from vimbiso_fsm.document.document import Member, Run, StoredProfile
from vimbiso_fsm.document.marks import marks_of_fields
from vimbiso_fsm.document.state_validator import StateValidator
from vimbiso_fsm.document.typed_data import name_of, structure
from vimbiso_fsm.errors import FlowError, FlowFault, UnstorableType
from vimbiso_fsm.flow.calls import ServiceLimits
from vimbiso_fsm.flow.carry_on import CARRY_ON
from vimbiso_fsm.flow.commands import Commands, Shortcut, declared_links
from vimbiso_fsm.flow.flow import AnyFlow, Flow
from vimbiso_fsm.flow.inboxes import Inbox, declared_inboxes
from vimbiso_fsm.flow.machine import AnyMachine, AnyPosition, Machine
from vimbiso_fsm.flow.privacy import secret_names
from vimbiso_fsm.flow.reactions import Reactions, declared_reactions
from vimbiso_fsm.flow.session import Limits, SessionLife, session_life
from vimbiso_fsm.flow.state import AnyState
from vimbiso_fsm.flow.triggers import Trigger, declared_triggers
from vimbiso_fsm.flow.zones import ZoneOf, declared_zone, declared_zone_of, member_zone
from vimbiso_fsm.made import Made, caller
from vimbiso_fsm.messages import locales
from vimbiso_fsm.messages.catalogue import Catalogue, Templates
from vimbiso_fsm.messages.catalogue import Zone as ZoneNow
from vimbiso_fsm.messages.digests import Digests
from vimbiso_fsm.messages.message import Channel
from vimbiso_fsm.messages.proof import KINDS, PROOFS, Proof, proof_of, proven_phone
from vimbiso_fsm.messages.replies import Reply
from vimbiso_fsm.messages.told import Told
from vimbiso_fsm.messages.windows import CHANNEL_WINDOWS, check_windows, declared_windows

if TYPE_CHECKING:
    from vimbiso_fsm.flow.tokens import Tokens

C_contra = TypeVar("C_contra", contravariant=True)


def _flows(given: AnyFlow | Sequence[AnyFlow]) -> tuple[AnyFlow, ...]:
    flows = (given,) if isinstance(given, Flow) else tuple(given)
    if not flows:
        raise FlowError("", "bot", "it has no flows", "give Bot(flows=[…]) at least one")
    return flows


def _profile_class(given: type | None) -> type | None:
    fields = attrs.fields(given) if given is not None and attrs.has(given) else ()
    for field in fields:
        if field.init and field.default is attrs.NOTHING:
            fault = f"field {field.name!r} of profile class {name_of(given)} has no default"
            raise FlowError("", "bot", fault, "give it one: the profile of a new member is empty")
    try:
        data_type(given or NoneType)
    except UnstorableType as error:
        place = f"field {error.path!r} of profile class" if error.path else "profile class"
        raise FlowError("", "bot", f"{place} {error.type_name} {error.fault}", error.remedy) from None
    return given


def _check_name(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        remedy = "give at most 40 letters and digits of ASCII, spaces, '_', '.' and '-'"
        raise FlowError("", "bot", f"name is {value!r}", remedy)


_NAME: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9 _.-]{0,39})?")


def _check_accounts(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if value not in ("separate", "shared"):
        raise FlowError("", "bot", f"accounts is {value!r}", "give 'separate' or 'shared'")


def _dropped(given: Iterable[str]) -> frozenset[str]:
    if isinstance(given, str):
        raise FlowError("", "bot", f"dropped is the text {given!r}", f"give the names in a list: dropped=[{given!r}]")
    return frozenset(given)


def _channels(given: Sequence[str] | Mapping[str, Proof]) -> Mapping[str, Proof]:
    if isinstance(given, str):
        raise FlowError("", "bot", f"channels is the text {given!r}", f"give the types in a list: channels=[{given!r}]")
    found: Mapping[str, Proof] = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, "nothing")
    for type, proof in found.items():
        if proof not in KINDS:
            fault = f"the identifiers of channel {type!r} prove {proof!r}"
            raise FlowError("", "bot", fault, f"give one of {', '.join(map(repr, sorted(KINDS)))}")
    return found


def _services(given: Mapping[str, object]) -> Mapping[str, object]:
    shape: object = given
    if not isinstance(shape, Mapping) or not all(isinstance(name, str) for name in shape):
        fault = f"services is a {type(shape).__name__}" + (
            " whose keys are no names" if isinstance(shape, Mapping) else ""
        )
        raise FlowError("", "bot", fault, "give {name: service}; the name is that of the port in snake case")
    return given


def _service_limits(given: Mapping[str, ServiceLimits]) -> Mapping[str, ServiceLimits]:
    shape: object = given
    if not isinstance(shape, Mapping) or not all(isinstance(each, ServiceLimits) for each in shape.values()):
        raise FlowError("", "bot", "service_limits is no mapping of limits", "give {name: ServiceLimits(…)}")
    return given


class Importer(Protocol[C_contra]):
    """Imports what another system has stored of a member. `vimbiso_fsm.legacy.Legacy` is one.

    `C` is the context of an operation, `vimbiso_fsm.operations.context.Context`.
    """

    def check(self, bot: Bot, /) -> None:
        """Check that the bot has everything that the importer needs.

        Raises:
            FlowError: Something is missing.
        """
        ...

    def import_record(self, context: C_contra, member_id: str, channel: Channel, /) -> Awaitable[bool]:
        """Import what there is for a channel. It is awaited where nothing was ever stored of the member there.

        Args:
            context: The context of the operation.
            member_id: The owner of the channel, or the guest on it.
            channel: The channel on which the member writes.

        Returns:
            Whether something was found, so that the store has to be asked again.
        """
        ...


@attrs.frozen(eq=False, repr=False)
class Bot:
    """A set of flows, and the settings that they share.

    Attributes:
        flows: One flow or several. Sub-flows need not be named.
        name: The name of the bot, under which it owns a store: letters, digits, spaces, "_", "." and "-", at most 40.
            Without a name, a store knows the bot by its flows.
        home: The flow that a member returns to; the first flow if not given.
        entry: The flow that identifies a member. It is entered when a flow's `requires` refuses.
        commands: The words that work in every state.
        shortcuts: Messages that start a flow and answer its first questions.
        links: The flows that deep links start, by name: `{"pay": pay}` for a link with the payload "pay" or "pay_8842",
            whose rest answers the first question. `Shortcut(flow, reads)` reads more answers from the rest. A link is
            followed at every question. Anyone can write one, so each answer goes through its reader and guards.
        texts: Templates by key, or by language and key. A reply is in the `language` that the member's profile names,
            otherwise in the one that the channel reports, otherwise in English, or in the first language of the texts
            if none are English. The framework's own texts come with each language in which they ship.
        services: The services that calls are made to, by the name of the port in snake case.
        service_limits: The bounds of what one process asks of a service, by its name; `ServiceLimits()` for others.
        channels: Channel types beyond the built-in ones, or the same as a mapping to what the identifier of each proves
            ("phone", "account" or "nothing"). A type without a declaration proves nothing; one of the built-in types
            may be given another proof.
        windows: How long after a message of the member a type of channel takes words of the bot's own, in seconds.
            After that, a text goes as the template that it names (`Text(…, templates=…)`), or waits for the member's
            next message. Types that are not named take any words at any time.
        accounts: Whether a member's conversations with two accounts of the bot on a channel (phone-number ids, bots'
            names) are "separate" or one ("shared").
        session: The lifetime of a session, or the seconds without a message after which it ends.
        tokens: The settings for members' login tokens. Without them a token is opaque and lives until a flow
            removes it.
        dropped: The names of flows that earlier releases of this bot had. A stored run of one ends, and the member is
            told. A run of a flow that the bot neither has nor names here is another bot's, or a newer release's, and
            is left alone.
        zone: The time zone of members for whom `zone_of` names none: a `tzinfo`, or a name such as "Africa/Harare".
        zone_of: Returns the time zone of a member, or its name, for example from the profile; None for `zone`. It
            decides `Turn.zone`, `Turn.today` and `Turn.instant`.
        importer: What imports the data that another system has stored of a new member.
        profile: The class of the member's profile, `P` in `Turn[D, P]`. All its fields have defaults. A profile that
            cannot be structured as this class is not stored, and a stored one is damage. Its fields may be marked
            `SECRET`; `vimbiso state` then masks them.
        limits: Bounds of a conversation.
        on: The reactions to what a channel tells, by the class of the fact: `{ChatOpened: greeted}`. A reaction is a
            pure function of the turn and the fact; see `vimbiso_fsm.flow.reactions`. One of the open flow has priority.
        triggers: The triggers that other systems may pull wherever the member stands (`manager.trigger`).
        inboxes: The inboxes of people to whom the conversation may be handed over.
        made: The file and the line at which the bot was made.
        digests: The digests that stand for addresses, with the keys of the store on which a manager runs the bot.

    Raises:
        FlowError: Two flows share a name, a flow is not a `Flow`, a dropped flow is among the flows, or a setting is
            out of range.
    """

    flows: tuple[AnyFlow, ...] = attrs.field(converter=_flows)
    name: str = attrs.field(default="", validator=_check_name, kw_only=True)
    home: AnyFlow = attrs.field(default=attrs.Factory(lambda self: self.flows[0], takes_self=True), kw_only=True)
    entry: AnyFlow | None = attrs.field(default=None, kw_only=True)
    commands: Commands = attrs.field(factory=Commands, kw_only=True)
    shortcuts: Sequence[Shortcut] = attrs.field(default=(), kw_only=True)
    links: Mapping[str, AnyFlow | Shortcut] = attrs.field(factory=dict, kw_only=True)
    texts: Catalogue | Templates | Mapping[str, Templates] = attrs.field(factory=dict, kw_only=True)
    services: Mapping[str, object] = attrs.field(factory=dict, converter=_services, kw_only=True)
    service_limits: Mapping[str, ServiceLimits] = attrs.field(factory=dict, converter=_service_limits, kw_only=True)
    channels: Mapping[str, Proof] = attrs.field(factory=dict, converter=_channels, kw_only=True)
    windows: Mapping[str, float] = attrs.field(default=CHANNEL_WINDOWS, converter=declared_windows, kw_only=True)
    accounts: Literal["separate", "shared"] = attrs.field(default="separate", validator=_check_accounts, kw_only=True)
    session: SessionLife = attrs.field(factory=SessionLife, converter=session_life, kw_only=True)
    tokens: Tokens | None = attrs.field(default=None, kw_only=True)
    dropped: frozenset[str] = attrs.field(default=frozenset(), converter=_dropped, kw_only=True)
    zone: tzinfo = attrs.field(default=UTC, converter=declared_zone, kw_only=True)
    zone_of: ZoneOf | None = attrs.field(default=None, converter=declared_zone_of, kw_only=True)
    importer: Importer[Any] | None = attrs.field(default=None, kw_only=True)
    profile: type | None = attrs.field(default=None, converter=_profile_class, kw_only=True)
    limits: Limits = attrs.field(factory=Limits, kw_only=True)
    on: Reactions = attrs.field(factory=dict, converter=declared_reactions, kw_only=True)
    triggers: Sequence[Trigger] = attrs.field(default=(), kw_only=True)
    inboxes: Sequence[Inbox] = attrs.field(default=(), kw_only=True)
    made: Made = attrs.field(init=False, factory=caller)
    digests: Digests = attrs.field(init=False, factory=Digests)
    reacts: frozenset[type[Told]] = attrs.field(init=False, repr=False)
    inbox_names: Mapping[str, Inbox] = attrs.field(init=False, repr=False)
    inbox_words: Mapping[str, Inbox] = attrs.field(init=False, repr=False)
    linked: Mapping[str, Shortcut] = attrs.field(init=False, repr=False)
    everywhere: Sequence[Shortcut] = attrs.field(init=False, repr=False)
    is_heard_anywhere: bool = attrs.field(init=False, repr=False)
    pulled: Mapping[str, Trigger] = attrs.field(init=False, repr=False)
    proofs: Mapping[str, Proof] = attrs.field(init=False, repr=False)
    catalogue: Catalogue = attrs.field(init=False, repr=False)
    machines: Mapping[str, AnyMachine] = attrs.field(init=False, repr=False)
    kept: Mapping[tuple[str, int], AnyMachine] = attrs.field(init=False, repr=False)
    versions: Mapping[tuple[str, int], AnyMachine] = attrs.field(init=False, repr=False)
    validator: StateValidator = attrs.field(init=False, repr=False)
    secrets: frozenset[str] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        fill = functools.partial(object.__setattr__, self)  # the class is frozen
        fill("linked", declared_links(self.links))
        fill("pulled", declared_triggers(self.triggers))
        fill("everywhere", tuple(shortcut for shortcut in self.shortcuts if shortcut.anywhere))
        fill("flows", tuple(_all_flows(self)))
        _check_home(self.home)
        fill("proofs", {**PROOFS, **self.channels})
        check_windows(self.windows, self.proofs)
        fill("catalogue", Catalogue.of(self.texts, [flow.name for flow in self.flows]))
        fill("commands", self.commands.spoken(self.catalogue.languages))
        names, words = declared_inboxes(self.inboxes, self.commands)
        fill("inbox_names", names)
        fill("inbox_words", words)
        fill("is_heard_anywhere", bool(words or self.linked or self.everywhere))
        fill("machines", {flow.name: Machine(flow) for flow in self.flows})
        for name in sorted(self.dropped & self.machines.keys()):
            raise FlowError(name, "bot", "it is dropped and among the flows", "take it out of one of the two")
        if self.importer is not None:
            self.importer.check(self)
        fill("kept", _kept(self.flows))
        fill("versions", _Versions(self.machines, self.kept))
        for machine in (*self.machines.values(), *self.kept.values()):
            for position in machine.positions.values():
                _check_hands(machine.flow, position.state, names)
                position.prepare(self.catalogue, self.commands)
        own = (machine.flow.on for machine in (*self.machines.values(), *self.kept.values()))
        fill("reacts", frozenset(kind for on in (self.on, *own) for kind in on))
        steps = {flow.name: frozenset(flow.by_name) for flow in self.flows}
        kept = {key: frozenset(machine.flow.by_name) for key, machine in self.kept.items()}
        fill("validator", StateValidator(steps, frozenset(self.proofs), kept, self.profile))
        fill("secrets", secret_names(marks_of_fields(self.profile)))

    def __repr__(self) -> str:
        return f"Bot({[flow.name for flow in self.flows]})"

    def flow(self, name: str) -> AnyFlow:
        """Return the flow with that name.

        Raises:
            KeyError: The bot has none.
        """
        return self.machines[name].flow

    def machine(self, run: Run) -> AnyMachine:
        """Return the machine of a run: that of the current flow, or of the older definition that the run finishes on.

        Raises:
            KeyError: The bot has none.
        """
        return self.versions[run.flow, run.version]

    def position(self, run: Run) -> AnyPosition:
        """Return the state in which a run stands, by the machine of the run.

        Raises:
            KeyError: The bot, or the flow, has none.
        """
        return self.versions[run.flow, run.version].positions[run.step]

    def definition(self, run: Run) -> AnyFlow:
        """Return the definition of a run's flow: the current one, or the older one that the run finishes on.

        Raises:
            KeyError: The bot has none.
        """
        return self.versions[run.flow, run.version].flow

    def definitions(self, name: str) -> tuple[AnyFlow, ...]:
        """Return the current flow with that name, if there is one, and the older definitions that are kept."""
        current = [self.machines[name].flow] if name in self.machines else []
        return (*current, *(machine.flow for (flow, _), machine in self.kept.items() if flow == name))

    def secrets_of(self, name: str) -> frozenset[str]:
        """Return the names of the fields that are marked secret in any definition of a flow."""
        return frozenset[str]().union(*(flow.secrets for flow in self.definitions(name)))

    def route(self, channel: Channel) -> Channel:
        """Return a channel as the bot tells it from others: without the account if all accounts are one."""
        return channel if self.accounts == "separate" else channel.with_account("")

    def proves(self, channel: Channel) -> Proof:
        """Return what the identifier of a channel proves."""
        return proof_of(self.proofs.get(channel.type, "nothing"), channel.type, channel.identifier)

    def phone_of(self, channel: Channel) -> str:
        """Return the telephone number that a channel proves, as digits with the country code; empty without one."""
        return proven_phone(self.proves(channel), channel.identifier)

    def typed(self, member: Member[Any]) -> Member[Any]:
        """Return the member with a profile that is structured as the bot's profile class when it is first used."""
        if self.profile is None or isinstance(member._profile, StoredProfile):
            return member
        return attrs.evolve(member, profile=StoredProfile(member.stored_profile, self.profile, structure))

    def zone_for(self, member: Member[Any]) -> tzinfo:
        """Return the time zone of a member.

        Raises:
            WrongCallback: `zone_of` names no time zone.
        """
        return member_zone(self.zone_of, self.zone, member)

    def language(self, profile: Mapping[str, object], channel: Channel) -> str:
        """Return the language of a member's replies, as far as the catalogue has it.

        The stored profile names it. Otherwise the channel reports it.
        """
        if "language" not in profile and "language" not in channel.metadata:
            return self.catalogue.default
        return self.catalogue.language(locales.preferred(profile, channel.metadata))

    def say(
        self, replies: Iterable[Reply], profile: Mapping[str, object], channel: Channel, zone: ZoneNow | None = None
    ) -> tuple[Reply, ...]:
        """Return the replies with all texts written out in the member's language and time zone."""
        return self.catalogue.replies(replies, self.language(profile, channel), zone)

    def with_services(self, services: Mapping[str, object]) -> Bot:
        """Return this bot with some services replaced, by name.

        Raises:
            FlowError: `services` is no mapping of names to services.
        """
        if not services:
            return self
        other = attrs.evolve(self, services={**self.services, **_services(services)})
        object.__setattr__(other, "made", self.made)  # the class is frozen
        return other

    def with_digests(self, digests: Digests) -> Bot:
        """Return this bot with the digests of a store."""
        other = copy.copy(self)
        object.__setattr__(other, "digests", digests)  # the class is frozen, and nothing else depends on them
        return other


def _check_hands(flow: AnyFlow, state: AnyState, inboxes: Mapping[str, Inbox]) -> None:
    """Check that the bot has the inbox to which a state hands the conversation over."""
    if state.hands is not None and state.hands not in inboxes:
        fault = f"state {state.name!r} hands over to {state.hands!r}, which is no inbox of the bot"
        raise FlowError(flow.name, state.name, fault, "name it in Bot(inboxes=[…])")


def _check_home(home: AnyFlow) -> None:
    """Check that home goes on after each of its sub-flows, all of which the word "cancel" can end."""
    faults = [
        FlowFault(
            home.name,
            f"state {state.name!r}",
            "it has no transition 'cancelled', and the word \"cancel\" ends the flows above home",
            "say where 'cancelled' leads",
            "subflow-without-cancelled",
            state.made,
        )
        for state in home.states
        if state.flow is not None and not home.ways(state.name, "cancelled")
    ]
    if faults:
        raise FlowError.of(faults)


def _all_flows(bot: Bot) -> Iterator[AnyFlow]:
    """Yield each flow that the bot can run, once: those given, home, entry, sub-flows, the framework's own."""
    seen: dict[str, AnyFlow] = {}
    of_members = [shortcut.flow for shortcut in (*bot.shortcuts, *bot.linked.values())]
    waiting: list[object] = [*bot.flows, bot.home, bot.entry, *of_members, CARRY_ON]
    while waiting:
        flow = waiting.pop(0)
        if flow is None:
            continue
        if not isinstance(flow, Flow):
            raise FlowError("", "bot", f"a {type(flow).__name__} is not a flow", "declare flows with Flow(…)")
        known = seen.get(flow.name)
        if known is flow:
            continue
        if known is not None:
            fault = "two flows have this name"
            raise FlowError(flow.name, "bot", fault, "rename one", code="flows-same-name", made=flow.made)
        seen[flow.name] = flow
        waiting.extend(state.flow for state in flow.states)
        yield flow
    for flow in _older(tuple(seen.values())):
        if flow.name not in seen:  # a sub-flow that only an older definition has
            seen[flow.name] = flow
            yield flow


def _older(flows: Sequence[AnyFlow]) -> tuple[AnyFlow, ...]:
    """Return the older definitions on which runs of these flows finish, and their sub-flows, each once."""
    found: list[AnyFlow] = []
    waiting = [old for flow in flows for migration in flow.migrations for old in migration.kept]
    while waiting:
        old = waiting.pop(0)
        if isinstance(old, Flow) and old not in flows and old not in found:
            found.append(old)
            waiting += [state.flow for state in old.states if state.flow]
    return tuple(found)


class _Versions(dict[tuple[str, int], AnyMachine]):
    """The machines by flow and version. A version that is not kept has the machine of the current definition."""

    def __init__(self, machines: Mapping[str, AnyMachine], kept: Mapping[tuple[str, int], AnyMachine]) -> None:
        super().__init__({(machine.flow.name, machine.flow.version): machine for machine in machines.values()})
        self.update(kept)
        self._machines = machines

    def __missing__(self, key: tuple[str, int]) -> AnyMachine:
        return self._machines[key[0]]


def _kept(flows: Sequence[AnyFlow]) -> dict[tuple[str, int], AnyMachine]:
    """Return the machines of older definitions by name and version."""
    table: dict[tuple[str, int], AnyMachine] = {}
    current = {(flow.name, flow.version) for flow in flows}
    for flow in _older(flows):
        key = flow.name, flow.version
        if key in table or key in current:
            fault = f"two definitions of version {flow.version} are in use"
            raise FlowError(flow.name, "bot", fault, "keep one of each version")
        table[key] = Machine(flow)
    return table
