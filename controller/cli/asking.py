"""What every command that asks a running controller has in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import aiohttp
import typer

from controller.clients.controller_api import DEFAULT_URL, TOKEN_SETTING, URL_SETTING, ControllerApi, api_token

T = TypeVar("T")

ApiUrl = Annotated[str, typer.Option("--url", envvar=URL_SETTING, help="The controller's address.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar=f"{TOKEN_SETTING}_FILE",
        help=f"File with a token of scope act; {TOKEN_SETTING} is read otherwise.",
        show_default=False,
    ),
]

__all__ = ["DEFAULT_URL", "ApiUrl", "TokenFile", "asked"]


def asked(url: str, token_file: Path | None, question: Callable[[ControllerApi], Awaitable[T]]) -> T:
    """Ask a controller. Raises ForeserveError."""

    async def ask() -> T:
        token = api_token(token_file)
        async with aiohttp.ClientSession() as session:
            return await question(ControllerApi(base_url=url, session=session, token=token))

    return asyncio.run(ask())
