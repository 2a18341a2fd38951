"""The list of commands."""

from __future__ import annotations

from importlib import import_module

import click

from braid_hpc.cli.app import _HOMES, braid
from tests.cli.conftest import Braid


def test_each_command_is_called_what_it_is_listed_as() -> None:
    assert {name: command.name for name, command in braid.commands.items()} == {name: name for name in _HOMES}


def test_every_command_of_its_module_is_listed() -> None:
    """So that none is written and forgotten; subcommands are listed by their groups."""
    found = {}
    for module in {module for module, _ in _HOMES.values()}:
        for attribute, value in vars(import_module(f"braid_hpc.cli.{module}")).items():
            if isinstance(value, click.Command):
                found[module, attribute] = value
    inside = {command for each in found.values() if isinstance(each, click.Group) for command in each.commands.values()}
    assert {home for home, command in found.items() if command not in inside} == set(_HOMES.values())


def test_help_lists_all_with_their_help(cli: Braid) -> None:
    text = " ".join(cli("--help").output.split())
    for name in _HOMES:
        assert f"{name} {braid.commands[name].get_short_help_str(20).removesuffix('...')}" in text


def test_another_command_is_refused(cli: Braid) -> None:
    result = cli("lineages")
    assert result.exit_code == 2
    assert "No such command 'lineages'" in result.output
