"""foreserve dashboards: write the Grafana dashboards to files, or push them to a Grafana."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from ruamel.yaml import YAML

from controller.cli.writing import write_files
from controller.clients.grafana import TOKEN_SETTING, URL_SETTING, GrafanaClient
from controller.errors import BadInputError
from controller.token_file import read_token
from dashboards.bundle import FOLDER, Board, config_map, difference, load, text

dashboards_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Write the Grafana dashboards to files, or push them to a Grafana.

\b
Examples:
  foreserve dashboards export --out dashboards/
  foreserve dashboards push --url https://grafana.example.com --dry-run

docs/dashboards.md says what is on them.""",
)


class FileFormat(StrEnum):
    """What to write."""

    JSON = "json"
    """One JSON file for each, for provisioning or import by hand."""
    CONFIGMAP = "configmap"
    """One ConfigMap for each, for the sidecar of Grafana's Helm chart."""


ControllerUrl = Annotated[
    str | None, typer.Option(help="Controller's address in links.", show_default="http://127.0.0.1:9900")
]
Runbooks = Annotated[
    str | None, typer.Option(help="Address under which the runbooks' pages are.", show_default="docs/runbooks")
]


@dashboards_app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder for the files.", show_default=False)],
    wanted: Annotated[
        FileFormat, typer.Option("--format", help="json: files to provision or import; configmap: for the sidecar.")
    ] = FileFormat.JSON,
    namespace: Annotated[str | None, typer.Option(help="Namespace of the ConfigMaps.", show_default=False)] = None,
    controller_url: ControllerUrl = None,
    runbooks: Runbooks = None,
) -> None:
    """Write the dashboards to files.

    \b
    Examples:
      foreserve dashboards export --out dashboards/
      foreserve dashboards export --format configmap --namespace monitoring --out manifests/
    """  # noqa: D301 - click reads the backspace
    boards = load(controller_url=controller_url, runbooks=runbooks)
    if wanted is FileFormat.JSON:
        write_files(out, {f"{board['uid']}.json": text(board) for board in boards})
    else:
        write_files(out, {f"{board['uid']}.yaml": _yaml(config_map(board, namespace=namespace)) for board in boards})


@dashboards_app.command()
def push(
    url: Annotated[str, typer.Option(envvar=URL_SETTING, help="Grafana's address.", show_default=False)],
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar=f"{TOKEN_SETTING}_FILE",
            help=f"File with a service account's token; {TOKEN_SETTING} is read otherwise.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[str, typer.Option(help="Folder in Grafana; made when there is none.")] = FOLDER,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
    controller_url: ControllerUrl = None,
    runbooks: Runbooks = None,
) -> None:
    """Bring a Grafana's dashboards to this version. Pushing again changes nothing.

    Dashboards are known by their uid; one that was edited in Grafana is replaced, and stays in its
    history there. Exit status 3 when Grafana does not answer or refuses.

    \b
    Examples:
      foreserve dashboards push --url https://grafana.example.com --token-file token --dry-run
      foreserve dashboards push --url https://grafana.example.com --token-file token
    """  # noqa: D301 - click reads the backspace
    boards = load(controller_url=controller_url, runbooks=runbooks)
    asyncio.run(_push(boards, url=url, token=_token(token_file), folder=folder, dry_run=dry_run))


async def _push(boards: Sequence[Board], *, url: str, token: str | None, folder: str, dry_run: bool) -> None:
    folder_uid = FOLDER.lower() if folder == FOLDER else _uid(folder)
    async with aiohttp.ClientSession() as session:
        grafana = GrafanaClient(base_url=url, session=session, token=token)
        if await grafana.folder_title(folder_uid) is None:
            typer.echo(f"folder {folder}: {'would be made' if dry_run else 'made'}")
            if not dry_run:
                await grafana.create_folder(folder_uid, folder)
        for board in boards:
            typer.echo(await _one(grafana, board, folder_uid, dry_run=dry_run))


async def _one(grafana: GrafanaClient, board: Board, folder_uid: str, *, dry_run: bool) -> str:
    found = await grafana.dashboard(board["uid"])
    if found is None:
        news = "would be made" if dry_run else "made"
    else:
        lines = difference(board, found.board)
        if not lines and found.folder_uid == folder_uid:
            return f"{board['uid']}: unchanged"
        news = "\n".join(["would change" if dry_run else "changed", *(lines if dry_run else ())])
    if not dry_run:
        version = None if found is None else found.version
        await grafana.save(board, folder_uid=folder_uid, version=version, message="foreserve dashboards push")
    return f"{board['uid']}: {news}"


def _uid(folder: str) -> str:
    """Make a folder's uid of its title: Grafana takes letters, digits, - and _, 40 at most."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in folder.lower()).strip("-")
    if not kept:
        msg = f"--folder {folder!r} has no letter or digit that could stand in its uid; expected a name like {FOLDER}"
        raise BadInputError(msg)
    return kept[:40]


def _token(file: Path | None) -> str | None:
    return os.environ.get(TOKEN_SETTING) if file is None else read_token(file, setting="--token-file")


def _yaml(values: dict[str, object]) -> str:
    stream = io.StringIO()
    YAML().dump(values, stream)
    return stream.getvalue()
