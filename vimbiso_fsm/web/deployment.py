"""The channels of a deployment, by the variables of its environment.

A channel is served if one of its variables is set. Its secrets stand in the environment, or in a file that the
environment names (`@FILE`), and never on a command line, which each user of the machine can read. All faults are found
at once, and each has the name of its variable and the remedy. No fault quotes a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, TypeVar

import attrs

from vimbiso_fsm.web.api import Api
from vimbiso_fsm.web.chat import WebChat
from vimbiso_fsm.web.cloud_api import CloudApi
from vimbiso_fsm.web.rest import RestChannel
from vimbiso_fsm.web.settings import Fault, secret_of
from vimbiso_fsm.web.telegram_api import TelegramApi
from vimbiso_fsm.web.twilio_api import TwilioApi

S = TypeVar("S")

VERIFY_TOKEN: Final = "VIMBISO_WHATSAPP_VERIFY_TOKEN"  # noqa: S105  # the name of a variable
"""The variable of the token of Meta's handshake, which is a setting of the app."""


@attrs.frozen
class Variable:
    """A variable of the environment.

    Attributes:
        name: Its name.
        field: The setting of the channel.
        means: What it holds and where it is found, for the remedy.
        needed: Whether the channel cannot be served without it.
    """

    name: str
    field: str
    means: str
    needed: bool = True


@attrs.frozen
class Offered:
    """A channel that can be served.

    Attributes:
        path: The path of its webhook.
        title: Its name for people.
        variables: Its variables, which begin with the same word.
        make: Makes the channel of its settings.
        types: The types of channels whose members it sends to.
        signs_address: Whether the address that it calls is a part of its proof, so that this one must be known.
    """

    path: str
    title: str
    variables: tuple[Variable, ...]
    make: Callable[..., Api | RestChannel | WebChat]
    types: tuple[str, ...] = ()
    signs_address: bool = False

    @property
    def prefix(self) -> str:
        """The beginning of the names of its variables, such as "VIMBISO_TELEGRAM_"."""
        return "_".join(self.variables[0].name.split("_")[:2]) + "_"


def _base(service: str, address: str) -> Variable:
    return Variable(f"VIMBISO_{service}_BASE", "base", f"the address of the API, by default {address}", needed=False)


def _rest(secrets: str) -> RestChannel:
    return RestChannel(secrets=secrets.split())


def _chat(secrets: str, title: str = "Chat") -> WebChat:
    return WebChat(secrets=secrets.split(), title=title)


OFFERED: Final = (
    Offered(
        "whatsapp",
        "WhatsApp Cloud API",
        (
            Variable("VIMBISO_WHATSAPP_TOKEN", "token", "the access token of a system user of the business"),
            Variable("VIMBISO_WHATSAPP_NUMBER_ID", "number_id", "the id of the number, as the API setup shows it"),
            Variable("VIMBISO_WHATSAPP_APP_SECRET", "app_secret", "the app secret, of the basic settings of the app"),
            Variable(VERIFY_TOKEN, "", "a random text, which the webhook's configuration at Meta gets too"),
            Variable("VIMBISO_WHATSAPP_LIST_BUTTON", "list_button", "the words that open a list", needed=False),
            _base("WHATSAPP", "https://graph.facebook.com"),
        ),
        CloudApi,
        ("whatsapp",),
    ),
    Offered(
        "telegram",
        "Telegram Bot API",
        (
            Variable("VIMBISO_TELEGRAM_TOKEN", "token", "the token of the bot, from @BotFather"),
            Variable("VIMBISO_TELEGRAM_SECRET_TOKEN", "secret_token", "a random text, which setWebhook gets too"),
            _base("TELEGRAM", "https://api.telegram.org"),
        ),
        TelegramApi,
        ("telegram",),
    ),
    Offered(
        "twilio",
        "Twilio (SMS, and WhatsApp by Twilio)",
        (
            Variable("VIMBISO_TWILIO_ACCOUNT_SID", "account_sid", "the id of the account, as the console shows it"),
            Variable("VIMBISO_TWILIO_AUTH_TOKEN", "auth_token", "the token of the account"),
            Variable("VIMBISO_TWILIO_SENDER", "sender", "the number to send from, or the id of a messaging service"),
            Variable("VIMBISO_TWILIO_KEY_SID", "key_sid", "the id of an API key to send with", needed=False),
            Variable("VIMBISO_TWILIO_KEY_SECRET", "key_secret", "the secret of that key", needed=False),
            Variable("VIMBISO_TWILIO_SHARED_KEY", "shared_key", "the shared key of a webhook rule", needed=False),
            _base("TWILIO", "https://api.twilio.com"),
        ),
        TwilioApi,
        ("sms", "whatsapp"),
        signs_address=True,
    ),
    Offered(
        "rest",
        "REST",
        (Variable("VIMBISO_REST_SECRETS", "secrets", "a random text of 32 characters or more; two, to change it"),),
        _rest,
    ),
    Offered(
        "chat",
        "Web chat",
        (
            Variable("VIMBISO_CHAT_SECRETS", "secrets", "a random text of 32 characters or more; two, to change it"),
            Variable("VIMBISO_CHAT_TITLE", "title", "the title of the page", needed=False),
        ),
        _chat,
        signs_address=True,
    ),
)
"""The channels, in the order in which they take the members of a type: a first one that is served sends to them."""


@attrs.frozen
class Deployed:
    """The channels that an environment asks for.

    Attributes:
        channels: The channels by their path.
        offered: What each of them is, by the path.
        verify_token: The token of Meta's handshake; empty without it.
        faults: What is missing or wrong. With a fault nothing is to be served.
    """

    channels: Mapping[str, Api | RestChannel | WebChat]
    offered: Mapping[str, Offered]
    verify_token: str = attrs.field(repr=False)
    faults: tuple[Fault, ...]

    @property
    def chat(self) -> WebChat | None:
        """The web chat, by which the manager delivers; None without one."""
        return next((each for each in self.channels.values() if isinstance(each, WebChat)), None)

    @property
    def signs_address(self) -> bool:
        """Whether the address of the app is a part of the proof of a channel."""
        return any(each.signs_address for each in self.offered.values())

    def senders(self, sends: Mapping[str, S]) -> Mapping[str, S]:
        """Return the sender of each type of channel.

        Args:
            sends: The functions that send, by the path of the channel.
        """
        found: dict[str, S] = {}
        for path, offered in self.offered.items():
            for type in offered.types:
                found.setdefault(type, sends[path])
        return MappingProxyType(found)


def deployed(environment: Mapping[str, str]) -> Deployed:
    """Read which channels an environment asks for."""
    faults = list(_unknown(environment))
    channels: dict[str, Api | RestChannel | WebChat] = {}
    served: dict[str, Offered] = {}
    verify_token = ""
    for offered in OFFERED:
        given = {each.name: environment.get(each.name, "").strip() for each in offered.variables}
        if not any(given.values()):
            continue
        served[offered.path] = offered
        read, wrong = _read(offered, given)
        verify_token = read.pop("", verify_token)
        if not wrong:
            try:
                channels[offered.path] = offered.make(**read)
            except ValueError as error:  # it names the field and does not quote its value
                wrong.append(_of_error(offered, str(error)))
        faults += wrong
    return Deployed(channels, served, verify_token, tuple(faults))


def _read(offered: Offered, given: Mapping[str, str]) -> tuple[dict[str, str], list[Fault]]:
    """Return the settings of a channel by field, and the faults of its variables."""
    read: dict[str, str] = {}
    faults: list[Fault] = []
    for each in offered.variables:
        value = secret_of(each.name, given)
        if isinstance(value, Fault):
            faults.append(value)
        elif value:
            read[each.field] = value
        elif each.needed:
            faults.append(Fault(each.name, f"is missing, and {offered.title} is asked for", f"set it to {each.means}"))
    return read, faults


def _of_error(offered: Offered, said: str) -> Fault:
    """Return the fault of a setting that the channel refuses. It begins with the name of the field."""
    field, _, rest = said.partition(" ")
    named = next((each for each in offered.variables if each.field == field), None)
    for each in offered.variables:
        rest = re.sub(rf"\b{each.field}\b", each.name, rest) if each.field else rest
    if named is None:
        return Fault(f"{offered.prefix}…", f"are refused: {said}", "see the page of the channel")
    return Fault(named.name, rest.partition("; ")[0], f"set it to {named.means}")


def _unknown(environment: Mapping[str, str]) -> Iterator[Fault]:
    """Yield a fault for each variable that looks like one of a channel and is none."""
    known = [each.name for offered in OFFERED for each in offered.variables]
    prefixes = tuple(offered.prefix for offered in OFFERED)
    for name in sorted(environment):
        if name.startswith(prefixes) and name not in known:
            near = get_close_matches(name, known, n=1)
            yield Fault(name, "is no setting", f"did you mean {near[0]}?" if near else "leave it out")
