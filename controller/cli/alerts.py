"""foreserve alerts: write the recording rules and alerts that follow a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alerts.export import RUNBOOKS, Format, document, to_yaml
from controller.cli.writing import write_files
from controller.policy.load import load_policy

alerts_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Write recording rules and alerts that follow a policy.

\b
Examples:
  foreserve alerts export --policy policy.yaml --out rules/
  foreserve alerts export --policy policy.yaml --format gke --out rules/

docs/alerts.md lists the alerts; each has a runbook in docs/runbooks.""",
)


@alerts_app.callback()
def _alerts() -> None:
    """Keep `export` a command of its own: typer merges a single command into its group."""


@alerts_app.command()
def export(
    policy: Annotated[
        Path, typer.Option(envvar="FORESERVE_POLICY", help="Policy that the thresholds follow.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the file; standard output without it.", show_default=False)
    ] = None,
    wanted: Annotated[
        Format,
        typer.Option("--format", help="prometheus: a rule file; prometheusrule: for the Operator; gke: ClusterRules."),
    ] = Format.PROMETHEUS,
    namespace: Annotated[
        str | None,
        typer.Option(help="Kubernetes namespace; with gke it makes Rules, which see it only.", show_default=False),
    ] = None,
    runbooks: Annotated[str, typer.Option(help="Address under which the runbooks' pages are.")] = RUNBOOKS,
) -> None:
    """Write the rules in the format of whoever loads them. Run it again after a change of the policy.

    Objectives, intervals and the deployments' names come from the policy; limits come from the
    controller's own metrics. Exit status 2 for a policy that is wrong.

    \b
    Examples:
      foreserve alerts export --policy policy.yaml > foreserve.rules.yaml
      foreserve alerts export --policy policy.yaml --format prometheusrule --namespace ray --out rules/
      foreserve alerts export --policy policy.yaml --format gke --runbooks https://wiki.example.com/foreserve
    """  # noqa: D301 - click reads the backspace
    loaded = load_policy(policy)
    heading = f"Rules for policy version {loaded.version}. Made by foreserve alerts export; change the policy instead."
    text = to_yaml(document(loaded.policy, wanted, runbooks=runbooks, namespace=namespace), heading)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_files(out, {wanted.file_name: text})
