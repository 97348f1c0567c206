"""The parts of a WhatsApp webhook: entries, changes, and what they say and tell.

Reading goes from the outside in. Parts without which a message can be read, such as the name of its sender, are left
out if they are broken. The shapes are those of Meta's webhook reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Literal

import attrs

from vimbiso_fsm.channels import plain
from vimbiso_fsm.channels.delivery import (
    LIST,
    NUMBER,
    OBJECT,
    TEXT,
    Findings,
    Said,
    attempted,
    instant,
    is_name,
    maybe,
    one_line,
    price,
    short,
    take,
)
from vimbiso_fsm.channels.whatsapp_contents import content_of, marks_of
from vimbiso_fsm.errors import InvalidMessage
from vimbiso_fsm.messages.contents import Attachment
from vimbiso_fsm.messages.message import MAX_ID, NAMES, Channel, Message
from vimbiso_fsm.messages.told import (
    AddressChanged,
    Called,
    ChatOpened,
    Deleted,
    Edited,
    OptedOut,
    OtherFact,
    Paid,
    Reacted,
    SaidElsewhere,
    StatusChanged,
    Told,
)

USER_ID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{1,128}")
"""A business-scoped id of a user: the code of a country, a point, and letters and digits."""
NAME_LENGTH: Final = 100
"""Of a profile name that is kept; WhatsApp itself allows 25."""
WISHES: Final[Mapping[str, Literal["stop", "start"]]] = {"stop": "stop", "resume": "start"}
BURST_SECONDS: Final = 2
"""Seconds between two files that were chosen and sent together. WhatsApp gives an album no name."""


@attrs.define
class Reader:
    """Reads the parts of one webhook body, from the outside in: entries, changes, values, messages.

    Attributes:
        found: What was read.
        now: The current instant.
        burst: Sender, second and name of the latest burst of files.
    """

    found: Findings
    now: datetime | None
    burst: tuple[str, int, str] = ("", 0, "")

    def entry(self, place: str, entry: Mapping[str, Any]) -> None:
        """Read an entry."""
        self.found.each(f"{place}.changes", take(entry, "changes", LIST), self.change)

    def change(self, place: str, change: Mapping[str, Any]) -> None:
        """Read a change."""
        value, field = take(change, "value", OBJECT), maybe(change, "field", TEXT)
        account = maybe(value, "metadata.phone_number_id", TEXT) or ""
        match field:
            case None | "messages":
                self.value(f"{place}.value", value, account)
            case "calls":
                self.each_told(place, value, "calls", account, self.call)
                self.each_told(place, value, "statuses", account, self.call)
            case "user_preferences":
                self.each_told(place, value, "user_preferences", account, self.preference)
            case "user_id_update":
                self.each_told(place, value, "user_id_update", account, self.user_id)
            case _:
                self.other(field if is_name(field) else "unknown", place, account)

    def value(self, place: str, value: Mapping[str, Any], account: str) -> None:
        """Read the value of a change: messages, statuses and errors."""
        statuses, messages = maybe(value, "statuses", LIST) or [], maybe(value, "messages", LIST) or []
        errors = maybe(value, "errors", LIST) or []
        for error in errors:
            code, _ = _error([error])
            self.found.events.append(OtherFact(id=f"{place}/error/{code}", account=account, kind="error", code=code))
        if not statuses and not messages and not errors:
            self.other("nothing", place, account)
        names = _profile_names(value)
        self.found.each(f"{place}.statuses", statuses, lambda _, told: self.status(told, account))
        self.found.each(f"{place}.messages", messages, lambda _, said: self.message(said, account, names))

    def each_told(self, place: str, value: Mapping[str, Any], name: str, account: str, read: Any) -> None:
        """Read each fact in a list of a value."""
        self.found.each(f"{place}.value.{name}", maybe(value, name, LIST) or [], lambda _, told: read(told, account))

    def tell(self, event: Told) -> None:
        """Note a fact."""
        self.found.events.append(event)

    def other(self, kind: str, place: str, account: str) -> None:
        """Note a fact that has no class of its own."""
        self.tell(OtherFact(id=f"{place}/{kind}", account=account, kind=kind))

    # Said -------------------------------------------------------------------------------------------------------------

    def message(self, said: Mapping[str, Any], account: str, names: Mapping[str, str]) -> None:
        """Read what stands among the messages: a message, or a fact about one."""
        ids = _ids(said, "from_user_id", "from_parent_user_id")
        if said.get("type") == "system" and not ids:
            notice = attempted(lambda: maybe(said, "system", OBJECT)) or {}
            ids = _ids(notice, "previous_user_id", "previous_parent_user_id")
        sender = maybe(said, "from", TEXT) or next(iter(ids), "") or take(said, "from", TEXT)
        channel = _channel(sender, ids, account, names.get(sender, ""))
        kind, at = take(said, "type", TEXT), instant(said.get("timestamp"), self.now)
        id = take(said, "id", TEXT)
        fact: dict[str, Any] = {"id": id, "channel": channel, "account": account, "at": at}
        group = maybe(said, "group_id", TEXT)
        if group is not None:
            return self.tell(SaidElsewhere(**fact, place="group", place_id=short(group)))
        told = _told(kind, said, fact)
        if told is not None:
            return self.tell(told)
        content: Said = {**content_of(kind, said, sender), **marks_of(said)}
        if isinstance(content.get("content"), Attachment):
            content["burst"] = self._burst(sender, said.get("timestamp"), id)
        else:
            self.burst = ("", 0, "")
        self.found.messages.append(Message(channel, id, sent_at=at, **content))
        return None

    def _burst(self, sender: str, timestamp: object, id: str) -> str:
        """Return the name of the burst that a file belongs to."""
        digits = short(timestamp, 11)
        second = int(digits) if digits.isascii() and digits.isdigit() else 0
        before, at, name = self.burst
        if before != sender or abs(second - at) > BURST_SECONDS:
            name = digits if second else short(id)
        self.burst = (sender, second, name)
        return name

    # Told -------------------------------------------------------------------------------------------------------------

    def status(self, told: Mapping[str, Any], account: str) -> None:
        """Read a report about a message of the bot, or about a payment that it asked for."""
        status, message_id = short(told.get("status"), 64), short(told.get("id"))
        ids = _ids(told, "recipient_user_id", "recipient_parent_user_id")
        fact = self._fact(told, f"{message_id}/{status}", short(told.get("recipient_id")), account, ids)
        if told.get("recipient_type") == "group":
            fact["channel"] = None
        if told.get("type") == "payment":
            return self.tell(_payment(told, status, message_id, fact))
        code, reason = _error(told.get("errors"))
        return self.tell(StatusChanged(**fact, message_id=message_id, status=status, code=code, reason=reason))

    def call(self, told: Mapping[str, Any], account: str) -> None:
        """Read a call, or a report about one."""
        caller, ids = short(told.get("from")) or short(told.get("recipient_id")), _ids(told, "from_user_id")
        if told.get("direction") == "BUSINESS_INITIATED":
            caller, ids = short(told.get("to")) or caller, _ids(told, "to_user_id")
        call_id, status = short(told.get("id")), short(told.get("event") or told.get("status"), 64).lower()
        fact = self._fact(told, f"{call_id}/{status}", caller, account, ids or _ids(told, "recipient_user_id"))
        self.tell(Called(**fact, call_id=call_id, status=status))

    def preference(self, told: Mapping[str, Any], account: str) -> None:
        """Read whether a member wants messages of a kind, which they set in WhatsApp."""
        ids, topic, value = _ids(told, "user_id"), short(told.get("category"), 64), short(told.get("value"), 64)
        member = maybe(told, "wa_id", TEXT) or next(iter(ids), "") or take(told, "wa_id", TEXT)
        name = f"{short(member)}/{topic}/{value}/{short(told.get('timestamp'), 64)}"
        fact = self._fact(told, name, member, account, ids)
        wish = WISHES.get(value)
        if wish is None:
            return self.tell(OtherFact(**fact, kind="user_preferences"))
        return self.tell(OptedOut(**fact, wish=wish, topic=topic.replace("_", " ")))

    def user_id(self, told: Mapping[str, Any], account: str) -> None:
        """Read the change of a business-scoped id. The number stays, so it is none of the former names."""
        former, new = take(told, "user_id.previous", TEXT), take(told, "user_id.current", TEXT)
        parents = attempted(lambda: maybe(told, "parent_user_id", OBJECT)) or {}
        fact = self._fact(told, f"{short(former)}/{short(new)}", former, account, _ids(parents, "previous"))
        self.tell(AddressChanged(**fact, new=short(new), names=_ids(parents, "current")))

    def _fact(
        self, told: Mapping[str, Any], name: str, member: str, account: str, ids: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return what all facts have. The channel is None if the member is not told."""
        channel = attempted(lambda: _channel(member or next(iter(ids), ""), ids, account))
        return {"id": name, "channel": channel, "account": account, "at": instant(told.get("timestamp"), self.now)}


def _ids(told: Mapping[str, Any], *fields: str) -> tuple[str, ...]:
    """Return the ids of a user, in addition to the number. Broken ones are left out."""
    return tuple(filter(None, (short(told.get(field), MAX_ID) for field in fields)))


def _channel(member: str, ids: tuple[str, ...], account: str, name: str = "") -> Channel:
    """Return the channel of a member, who may come under each of the ids."""
    metadata = {**({"name": name} if name else {}), **({NAMES: [*ids]} if ids else {})}
    return Channel("whatsapp", member, metadata).with_account(account)


def _payment(told: Mapping[str, Any], status: str, charge: str, fact: Mapping[str, Any]) -> Paid:
    """Return the payment of a report."""
    payment = attempted(lambda: maybe(told, "payment", OBJECT)) or {}
    whole = attempted(lambda: maybe(payment, "amount", OBJECT)) or {}
    offset = attempted(lambda: maybe(whole, "offset", NUMBER)) or 1
    return Paid(
        **fact,
        status="paid" if status == "captured" else status or "unknown",
        amount=price(whole.get("value"), payment.get("currency"), offset),
        reference=short(payment.get("reference_id")),
        charge=charge,
    )


def _profile_names(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the profile names by number and by user id. Broken parts are left out."""
    names: dict[str, str] = {}
    with suppress(InvalidMessage):
        for contact in maybe(value, "contacts", LIST) or ():
            for known in ("wa_id", "user_id"):
                with suppress(InvalidMessage):
                    name = one_line(take(contact, "profile.name", TEXT))
                    names[take(contact, known, TEXT)] = plain.shorten(name, NAME_LENGTH)
    return names


def _error(errors: object) -> tuple[str, str]:
    """Return code and words of the first error in a list; empty texts if there is none."""
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return "", ""
    details = attempted(lambda: maybe(first, "error_data.details", TEXT))
    return short(first.get("code"), 64), short(details or first.get("message") or first.get("title"))


def _told(kind: str, said: Mapping[str, Any], fact: Mapping[str, Any]) -> Told | None:
    """Return the fact that stands among the messages; None if it is a message."""
    match kind:
        case "reaction":
            reaction = take(said, "reaction", OBJECT)
            message_id, emoji = short(reaction.get("message_id")), short(reaction.get("emoji"))
            return Reacted(**fact, message_id=message_id, emoji=emoji)
        case "request_welcome":
            return ChatOpened(**fact)
        case "edit":
            words = attempted(lambda: maybe(said, "edit.message.text.body", TEXT)) or ""
            return Edited(**fact, message_id=_original(said, kind), text=short(words, 4096))
        case "revoke":
            return Deleted(**fact, message_id=_original(said, kind))
        case "system":
            return _system(said, fact)
        case _:
            return None


def _original(said: Mapping[str, Any], kind: str) -> str:
    """Return the id of the message that was changed or taken back."""
    found = attempted(lambda: maybe(said, f"{kind}.original_message_id", TEXT))
    return short(found)


def _system(said: Mapping[str, Any], fact: Mapping[str, Any]) -> Told:
    """Return the notice of WhatsApp: another number, another id, or another kind.

    A changed number brings another id too, so all former names end, also where the new number is not told.
    """
    notice = attempted(lambda: maybe(said, "system", OBJECT)) or {}
    kind, ids = notice.get("type"), _ids(notice, "user_id", "parent_user_id")
    former = _ids(notice, "previous_user_id", "previous_parent_user_id")
    number = short(notice.get("wa_id")) or short(notice.get("new_wa_id"))
    before: Channel = fact["channel"]
    if kind not in ("user_changed_number", "user_changed_user_id") or not (number or ids):
        return OtherFact(**fact, kind=str(kind) if is_name(kind) else "system")
    new, *others = (number, *ids) if number else ids
    named = dict.fromkeys((*(each.identifier for each in before.names[1:]), *former))
    left = attrs.evolve(before, metadata={**before.metadata, NAMES: [*named]}) if named else before
    rest: dict[str, Any] = {**fact, "channel": left}
    return AddressChanged(**rest, new=new, names=tuple(others))
