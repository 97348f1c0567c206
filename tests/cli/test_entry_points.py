"""Commands that an installed package adds through the entry-point group `vimbiso.commands`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli_runs import run

SHOP = '''
import typer

oven = typer.Typer(help="Look after the oven.")


@oven.command()
def heat(degrees: int) -> None:
    """Heat the oven."""
    print(f"{degrees} degrees")


@oven.command()
def cool() -> None:
    """Cool the oven."""


def open_shop(name: str, late: bool = False) -> None:
    """Open the shop."""
    print(f"{name} is open{', late' if late else ''}")


closed = 3
'''


@pytest.fixture
def install(tmp_path: Path):
    """Install a distribution in the current directory of the command, which stands on the path of Python."""

    def made(**points: str) -> Path:
        (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
        info = tmp_path / "shop-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n", encoding="utf-8")
        lines = [f"{name.replace('_', '-')} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[vimbiso.commands]", *lines, ""]), encoding="utf-8")
        return tmp_path

    return made


def test_a_function_becomes_a_command(install):
    """A command has the name of its entry point, the arguments of the signature and the help of the docstring."""
    here = install(open_shop="shop:open_shop")
    code, out, err = run("--help", cwd=here)
    assert (code, err) == (0, "")
    assert "  open-shop      Open the shop.\n" in out
    assert "  chat  " in out
    assert run("open-shop", "corner", "--late", cwd=here) == (0, "corner is open, late\n", "")


def test_a_typer_becomes_a_group_of_commands(install):
    """A `typer.Typer` becomes a group and keeps its commands and its help."""
    here = install(oven="shop:oven")
    assert "  oven           Look after the oven.\n" in run("--help", cwd=here)[1]
    assert run("oven", "heat", "200", cwd=here) == (0, "200 degrees\n", "")


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("chat", "shop:open_shop", "the name is taken; give the entry point another one"),
        ("audit", "shop:open_shop", "the name is taken; give the entry point another one"),
        ("gone", "no_such:f", "it cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
        ("gone", "shop:no_such", "it cannot be imported: AttributeError: "),
        ("closed", "shop:closed", "int is neither a function nor a typer.Typer"),
    ],
)
def test_a_command_that_cannot_be_added_is_left_out(install, name: str, value: str, fault: str):
    """A command that cannot be added is named in a warning, and the other commands can be used."""
    here = install(**{name: value, "open_shop": "shop:open_shop"})
    code, out, err = run("open-shop", "corner", cwd=here)
    assert (code, out) == (0, "corner is open\n")
    assert err.startswith(f"warning: the command '{name}' of {value} is left out: {fault}")
    assert err.count("\n") == 1
    assert "Talk to a bot" in run("chat", "--help", cwd=here)[1]
