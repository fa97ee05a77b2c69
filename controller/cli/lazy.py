"""Subcommands that are imported when they are asked for: a controller that runs carries nothing of the others."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup


def lazy_group(commands: Mapping[str, str]) -> type[TyperGroup]:
    """Return a group class for ``commands``: by name, where each is, as ``package.module:attribute``.

    The attribute is a function, or a ``typer.Typer`` with commands of its own. (Typer's types of commands and contexts
    are private, hence Any.)
    """

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's signature
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
            return _load(cmd_name, commands[cmd_name]) if cmd_name in commands else None

    return LazyGroup


def _load(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found: Any = getattr(importlib.import_module(module), attribute)
    group = found if isinstance(found, typer.Typer) else typer.Typer(rich_markup_mode=None, add_completion=False)
    if group is not found:
        group.command(name)(found)
    command = typer.main.get_command(group)
    command.name = name
    return command
