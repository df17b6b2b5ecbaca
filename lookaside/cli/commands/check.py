"""`lookaside check`: verify the settings and the environment of the service."""

import asyncio
import os
from dataclasses import asdict

import click

from lookaside.cli.checks.outcome import Outcome
from lookaside.cli.commands.options import output_option, timeout_option
from lookaside.cli.commands.service_options import settings_options
from lookaside.cli.errors import DONE, FAILED, until_terminated
from lookaside.cli.render import output as form
from lookaside.config import Settings


@click.command(short_help="Verify that the service could run with its settings.")
@settings_options
@click.option(
    "--ports/--no-ports",
    default=True,
    show_default=True,
    help="Try to listen. --no-ports is for a look from beside the running service.",
)
@timeout_option
@output_option("table", "wide", "json", "yaml")
@click.pass_context
def check(
    ctx: click.Context, /, *, settings: Settings, ports: bool, timeout: float, output: str
) -> None:
    r"""Verify that the service could run with these settings. Nothing is changed.

    Takes the same flags, variables and config file as serve. Checks that the settings are
    consistent, files can be read, names resolve, the API server answers and grants the rights that
    the settings require, the certificate is valid and matches its key, and the ports are free. A
    failed check has a hint. Exits with 1 if a check failed, with 2 if the settings are invalid.

    \b
      lookaside check --source kubernetes --namespace shop
      kubectl exec deploy/lookaside -- lookaside check --no-ports \
        --config /etc/lookaside/config/lookaside.yaml
    """
    ctx.exit(asyncio.run(until_terminated(_check(settings, timeout, output, ports=ports))))


async def _check(settings: Settings, seconds: float, output: str, *, ports: bool) -> int:
    from lookaside.cli.checks import preflight  # noqa: PLC0415 - slow to import

    found = [*preflight.variables(os.environ)]
    found += [outcome async for outcome in preflight.run(settings, seconds, ports=ports)]
    if output in ("json", "yaml"):
        click.echo(form.document({"checks": [asdict(each) for each in found]}, output))
    elif output == "table" and form.on_terminal():
        for outcome in found:
            click.echo(_lines(outcome))
    else:
        rows = [[each.result, each.check, each.says, each.hint] for each in found]
        head = ["RESULT", "CHECK", "SAYS", "HINT"]
        click.echo(form.table(head, rows, aligned=form.on_terminal()))
    failed = sum(each.result == "failed" for each in found)
    if failed:
        click.echo(f"{failed} of {len(found)} checks failed", err=True)
    return FAILED if failed else DONE


def _lines(outcome: Outcome) -> str:
    line = form.clean(f"{outcome.result:<9}{outcome.check}: {outcome.says}")
    return f"{line}\n{'':<9}{form.clean(outcome.hint)}" if outcome.hint else line
