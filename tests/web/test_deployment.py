"""The settings of a deployment by its environment: what is missing or wrong, by name and remedy."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli_runs import invoke
from tests.web.served import settings
from tests.web.signed import REST_SECRET
from vimbiso_fsm.web import CloudApi, TelegramApi, TwilioApi
from vimbiso_fsm.web.chat import WebChat
from vimbiso_fsm.web.deployment import OFFERED, deployed
from vimbiso_fsm.web.rest import RestChannel

ALL_PATHS = [each.path for each in OFFERED]
ALL = settings("https://vendors.example.org")


def faults(variables: dict[str, str]) -> list[str]:
    """Return the faults of an environment as text."""
    return [str(fault) for fault in deployed(variables).faults]


def test_all_channels_are_read() -> None:
    """Each channel has the settings of its variables, and the others of the environment are left alone."""
    found = deployed({**ALL, "HOME": "/root", "VIMBISO_REDIS": "redis://a"})
    assert found.faults == ()
    assert {path: type(each) for path, each in found.channels.items()} == {
        "whatsapp": CloudApi,
        "telegram": TelegramApi,
        "twilio": TwilioApi,
        "rest": RestChannel,
        "chat": WebChat,
    }
    assert (found.verify_token, found.signs_address) == ("t0ken", True)
    assert "t0ken" not in repr(found)


def test_a_type_of_channel_has_one_sender() -> None:
    """Twilio sends to WhatsApp where the Cloud API is not served."""
    sends = {path: (lambda path=path: path) for path in ("whatsapp", "telegram", "twilio")}
    both = {type: send() for type, send in deployed(ALL).senders(sends).items()}
    assert both == {"whatsapp": "whatsapp", "telegram": "telegram", "sms": "twilio"}
    alone = {name: value for name, value in ALL.items() if "WHATSAPP" not in name}
    found = {type: send() for type, send in deployed(alone).senders(sends).items()}
    assert found == {"telegram": "telegram", "sms": "twilio", "whatsapp": "twilio"}


@pytest.mark.parametrize("name", [each.name for offered in OFFERED for each in offered.variables if each.needed])
def test_each_needed_setting_is_asked_for_by_name(name: str) -> None:
    """Without a setting that its channel needs, the fault has its name and the remedy. An empty one is none."""
    offered = next(each for each in OFFERED if name.startswith(each.prefix))
    if offered.path in ("rest", "chat"):  # it is the one of its channel
        assert {*ALL_PATHS} - {offered.path} == deployed({**ALL, name: ""}).channels.keys()
        return
    for variables in ({**ALL, name: " "}, {key: value for key, value in ALL.items() if key != name}):
        (fault,) = faults(variables)
        assert fault.startswith(f"{name} is missing, and {offered.title} is asked for; set it to ")


def test_all_faults_are_found_at_once() -> None:
    """One channel that is begun has all of its missing settings told, and the others too."""
    found = faults({"VIMBISO_TELEGRAM_TOKEN": "t", "VIMBISO_WHATSAPP_TOKEN": "t"})
    assert [fault.split()[0] for fault in found] == [
        "VIMBISO_WHATSAPP_NUMBER_ID",
        "VIMBISO_WHATSAPP_APP_SECRET",
        "VIMBISO_WHATSAPP_VERIFY_TOKEN",
        "VIMBISO_TELEGRAM_SECRET_TOKEN",
    ]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("VIMBISO_REST_SECRETS", "short-canary", "has one of less than 32 characters"),
        ("VIMBISO_TELEGRAM_TOKEN", "canary with spaces", "is no text of printable ASCII characters without spaces"),
        ("VIMBISO_WHATSAPP_BASE", "canary", "is not the address of an API"),
        ("VIMBISO_TWILIO_KEY_SID", "canary", "set it to the id of an API key to send with"),
        ("VIMBISO_TELEGRAM_TOKN", "canary", "is no setting; did you mean VIMBISO_TELEGRAM_TOKEN?"),
        ("VIMBISO_TELEGRAM_COLOUR_OF_THE_SKY", "canary", "is no setting"),
        ("VIMBISO_TELEGRAM_TOKEN", "@no-such-canary", "names a file that cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_setting_is_named_and_not_quoted(name: str, value: str, words: str) -> None:
    """The fault names the variable and what is wrong, and never quotes the value, which may be a secret."""
    (fault,) = faults({**ALL, name: value})
    assert words in fault
    assert fault.startswith(name)
    assert "canary" not in fault


def test_a_secret_is_read_from_the_file_that_the_environment_names(tmp_path: Path) -> None:
    """`@FILE` names a file with the value, such as a secret of systemd or of a container."""
    (tmp_path / "secret").write_text(f"{REST_SECRET}\n")
    found = deployed({"VIMBISO_REST_SECRETS": f"@{tmp_path / 'secret'}"})
    assert found.channels == {"rest": RestChannel(secrets=REST_SECRET)}
    (tmp_path / "secret").write_bytes(b"\xff")
    assert "it is no UTF-8" in faults({"VIMBISO_REST_SECRETS": f"@{tmp_path / 'secret'}"})[0]


# The command


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without settings, in a folder of its own."""
    pytest.importorskip("prometheus_client", reason="needs the package prometheus_client")
    for name in (*ALL, "VIMBISO_REDIS", "VIMBISO_DATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bare_bot.py").write_text(
        "from vimbiso_fsm import Bot, Flow, State, Text\n"
        "said = Flow('said', initial='said', states=[State('said', say=Text('So.'), final=True)], transitions=[])\n"
        "bot = Bot([said])\n"
    )
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def refused(*words: str) -> str:
    """Run the command, and return what it says. It ends with the exit code of wrong settings."""
    code, _, said = invoke("serve", "--flows", "bare_bot", *words)
    assert code == 2
    return said


def test_nothing_is_served_without_a_channel(clean: pytest.MonkeyPatch) -> None:
    """Without a channel the command names the settings of each; there is no switch that serves without secrets."""
    said = refused("--data", "data")
    assert "no channel is asked for" in said
    assert "VIMBISO_TELEGRAM_TOKEN, VIMBISO_TELEGRAM_SECRET_TOKEN" in said
    assert not Path("data").exists()


def test_the_command_tells_all_that_is_wrong(clean: pytest.MonkeyPatch) -> None:
    """Settings of channels and of the app are told together."""
    clean.setenv("VIMBISO_TWILIO_AUTH_TOKEN", "canary")
    clean.setenv("VIMBISO_METRICS_TOKEN", "canary")
    said = refused("--data", "data")
    assert "4 settings are missing or wrong:" in said
    for name in ("VIMBISO_TWILIO_ACCOUNT_SID", "VIMBISO_TWILIO_SENDER", "VIMBISO_BASE_URL", "VIMBISO_METRICS_TOKEN"):
        assert f"\n  {name} " in said
    assert "canary" not in said
    clean.setenv("VIMBISO_BASE_URL", "canary")
    assert "VIMBISO_BASE_URL is not the address of the app; set it to https://HOST" in refused("--data", "data")


def test_a_store_is_named_once(clean: pytest.MonkeyPatch) -> None:
    """One store is named, by an option or by the environment."""
    assert "no store is named" in refused()
    clean.setenv("VIMBISO_DATA", "data")
    clean.setenv("VIMBISO_REDIS", "redis://localhost")
    assert "no channel is asked for" in refused("--data", "data")  # an option goes before the environment


def test_an_address_that_is_taken_is_told(clean: pytest.MonkeyPatch) -> None:
    """The command ends before anything is opened if it cannot listen at its address."""
    clean.setenv("VIMBISO_REST_SECRETS", REST_SECRET)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, said = invoke("serve", "--flows", "bare_bot", "--data", "data", "--port", port)
    assert (code, "Address already in use; give another one" in said) == (1, True)
    assert not Path("data").exists()
