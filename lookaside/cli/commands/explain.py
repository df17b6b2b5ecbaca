"""`lookaside explain`: why endpoints are listed or not."""

import asyncio

import click

from lookaside.cli.balancer.client import Address, Asker, Balancer
from lookaside.cli.balancer.errors import BalancerError
from lookaside.cli.balancer.messages import Explained
from lookaside.cli.commands.completion import complete_service
from lookaside.cli.commands.hints import advised
from lookaside.cli.commands.options import (
    asker_options,
    balancer_options,
    output_option,
    timeout_option,
)
from lookaside.cli.errors import until_terminated
from lookaside.cli.render import explanation
from lookaside.cli.render import output as form


@click.command(short_help="Tell why each endpoint gets requests, or why not.")
@click.argument("service", shell_complete=complete_service)
@asker_options
@balancer_options
@timeout_option
@output_option("table", "wide", "json", "yaml")
def explain(
    *,
    service: str,
    output: str,
    timeout: float,
    asker: Asker,
    balancer: Address,
) -> None:
    """Explain for each endpoint of SERVICE why it gets requests or not.

    Endpoints that receive no traffic are listed first. With --zone, --node, --client-id and
    --subset-size, explain the list of such a client. On a terminal, only some of many endpoints
    with the same reason are shown; -o wide shows all.
    """
    explained = asyncio.run(until_terminated(_explain(balancer, service, timeout, asker)))
    if output in ("json", "yaml"):
        click.echo(form.document(explained.document, output))
        return
    wide, aligned = output == "wide", form.on_terminal()
    rows = explanation.SCREEN if aligned and not wide else None
    click.echo(explanation.screen(explained, wide=wide, aligned=aligned, rows=rows))


async def _explain(address: Address, service: str, seconds: float, asker: Asker) -> Explained:
    async with Balancer(address) as balancer:
        try:
            return await balancer.explain(service, seconds, asker)
        except BalancerError as error:
            raise await advised(balancer, error, service) from error
