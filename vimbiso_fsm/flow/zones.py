"""Time zones of members, from the IANA time zone database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Any, TypeAlias

from vimbiso_fsm.document.document import Member
from vimbiso_fsm.errors import FlowError, WrongCallback

Zone: TypeAlias = str | tzinfo
"""A time zone, or its name in the IANA database: "Africa/Harare"."""

ZoneOf: TypeAlias = Callable[[Member[Any]], Zone | None]
"""Returns the time zone of a member, None for that of the bot."""


def declared_zone(given: object) -> tzinfo:
    """Return the time zone that a bot declares.

    Raises:
        FlowError: The database has no time zone of that name.
    """
    found = _zone(given)
    if found is None:
        remedy = 'give a name such as "Africa/Harare"; where the system has no time zones, install the package tzdata'
        raise FlowError("", "bot", f"zone is {given!r}, which names no time zone", remedy)
    return found


def declared_zone_of(given: ZoneOf | None) -> ZoneOf | None:
    """Return the function that a bot declares for the time zones of members.

    Raises:
        FlowError: It is no function.
    """
    if given is not None and not callable(given):
        raise FlowError("", "bot", f"zone_of is {given!r}", "give a function of the member; zone= takes a time zone")
    return given


def member_zone(zone_of: ZoneOf | None, default: tzinfo, member: Member[Any]) -> tzinfo:
    """Return the time zone of a member.

    Raises:
        WrongCallback: The bot's function names no time zone.
    """
    given = zone_of(member) if zone_of is not None else None
    if given is None:
        return default
    found = _zone(given)
    if found is None:
        returned = f"{type(given).__name__} that names no time zone"
        raise WrongCallback("Bot.zone_of", returned, 'a time zone, its name such as "Africa/Harare", or None')
    return found


def _zone(given: object) -> tzinfo | None:
    if isinstance(given, tzinfo):
        return given
    if not isinstance(given, str):
        return None
    if given == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # it reads the configuration of the system, so only a bot with a zone pays for it

    try:
        return ZoneInfo(given)
    except (KeyError, ValueError, OSError):  # no such zone; a name that is no relative path; the name of a folder
        return None
