"""URLs of servers as commands take them. A password never stands on the command line.

Each user of a machine can read the command lines of all processes, and shells keep them. A URL with a password comes
from the environment, from a file (`@FILE`) or from a prompt (`-`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import typer

from vimbiso_fsm.cli.plain_text import shown

VARIABLE: Final = "VIMBISO_REDIS"
"""The environment variable with the URL of the store."""
FOLDER_VARIABLE: Final = "VIMBISO_DATA"
"""The environment variable with the folder of the store."""
LEGACY_VARIABLE: Final = "VIMBISO_LEGACY_REDIS"
"""The environment variable with the URL of the server of legacy records."""
FORMS: Final = "@FILE reads the URL from a file, - asks for it"
"""The forms in which a URL with a password is given, for the help of an option."""

_PASSWORD: Final = re.compile(r":[^@]+@|[?&][a-z_]*password=[^&]")
"""A password in what follows the scheme of a URL. It may be badly escaped, so whatever may be one is taken for one."""


def checked_url(context: typer.Context, parameter: typer.CallbackParam, given: str | None) -> str | None:
    """Return the URL of a store that an option or an argument gives (a callback of Typer).

    One from the environment gives way to `--data` on the command line.

    Raises:
        typer.BadParameter: The URL holds a password and stands on the command line, or its file cannot be read.
    """
    if _is_of_environment(context, parameter) and context.params.get("data") is not None:
        return None  # Typer takes what is on the command line first
    return checked_legacy_url(context, parameter, given)


def checked_folder(context: typer.Context, parameter: typer.CallbackParam, given: Path | None) -> Path | None:
    """Return the folder of a store that an option gives (a callback of Typer).

    One from the environment gives way to `--redis` on the command line.
    """
    if _is_of_environment(context, parameter) and context.params.get("redis") is not None:
        source = context.get_parameter_source("redis")
        return given if source is not None and source.name == "ENVIRONMENT" else None
    return given


def checked_legacy_url(context: typer.Context, parameter: typer.CallbackParam, given: str | None) -> str | None:
    """Return the URL of another server that an option gives; see `checked_url`."""
    if given is None or context.resilient_parsing:
        return given
    if _is_of_environment(context, parameter):
        return given.strip()
    if given == "-":
        return str(typer.prompt("URL", hide_input=True, err=True)).strip()
    if given.startswith("@"):
        return _read(Path(given[1:]))
    if _PASSWORD.search(given.partition("://")[2]):
        variable = parameter.envvar
        others = f"in the environment variable {variable}, " if isinstance(variable, str) else ""
        raise typer.BadParameter(
            "the URL holds a password, and each user of the machine can read the command line; give the URL "
            f"{others}in a file (@FILE), or at a prompt (-)"
        )
    return given


def _is_of_environment(context: typer.Context, parameter: typer.CallbackParam) -> bool:
    source = context.get_parameter_source(parameter.name or "")
    return source is not None and source.name == "ENVIRONMENT"  # some releases of Typer bring their own Click


def _read(file: Path) -> str:
    """Return the first line of a file."""
    try:
        with file.open(encoding="utf-8") as lines:
            return lines.readline().strip()
    except (OSError, ValueError) as error:  # ValueError: it is no text
        fault = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise typer.BadParameter(f"the file {shown(str(file))} with the URL cannot be read: {fault}") from None
