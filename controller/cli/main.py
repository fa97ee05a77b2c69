"""Assembles the foreserve command from its subcommands."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="foreserve",
    help="Keeps a Ray Serve LLM service fast and cheap: scales it one lead time ahead of its load.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the foreserve command."""
    app()
