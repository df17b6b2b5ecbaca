"""`lookaside get` and `lookaside list`: print the current lists."""

import asyncio

import click

from lookaside.cli.balancer.client import Address, Asker, Balancer
from lookaside.cli.balancer.errors import BalancerError
from lookaside.cli.balancer.messages import Document, ServerList, Summary
from lookaside.cli.commands.completion import complete_service
from lookaside.cli.commands.hints import advised, reason
from lookaside.cli.commands.options import (
    Read,
    asker_options,
    balancer_options,
    output_option,
    timeout_option,
)
from lookaside.cli.errors import until_terminated
from lookaside.cli.render import output as form
from lookaside.config import values


@click.command(short_help="Print the backends of a service.")
@click.argument("service", shell_complete=complete_service)
@asker_options
@balancer_options
@timeout_option
@output_option("table", "wide", "json", "yaml")
def get(
    *,
    service: str,
    output: str,
    timeout: float,
    asker: Asker,
    balancer: Address,
) -> None:
    r"""Print the backends of SERVICE.

    SERVICE is NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT], PORT the name or number of a Service
    port. With --zone, --node, --client-id and --subset-size, print the list of such a client. If
    the list is empty, the reason goes to stderr.

    \b
      lookaside get greeter.shop
      lookaside get greeter.shop:grpc --zone eu-1a -o wide
      lookaside get greeter.shop -o json | jq -r '.servers[].address'
    """
    listed, why = asyncio.run(until_terminated(_get(balancer, service, timeout, asker)))
    if output in ("json", "yaml"):
        click.echo(form.document(listed.document, output))
    elif listed.servers:
        click.echo(form.servers(listed, wide=output == "wide", aligned=form.on_terminal()))
    name = listed.service or service
    if listed.state == "empty":
        because = f": {why}" if why else f"; lookaside explain {name} says why"
        click.echo(f"{name} exists and has no endpoints{because}", err=True)
    elif listed.state == "stale":
        click.echo(
            f"{name} is stale: the balancer lost its source, and this is the last list it knew",
            err=True,
        )


@click.command("list", short_help="Print the services that the balancer knows.")
@click.option(
    "-n",
    "--namespace",
    type=Read(values.label),
    metavar="NAME",
    help="Only of this namespace.",
)
@balancer_options
@timeout_option
@output_option("table", "wide", "json", "yaml")
def list_services(
    *,
    namespace: str | None,
    output: str,
    timeout: float,
    balancer: Address,
) -> None:
    """Print the services that the balancer knows, a line for each port."""
    found, document = asyncio.run(until_terminated(_list(balancer, namespace or "", timeout)))
    if output in ("json", "yaml"):
        click.echo(form.document(document, output))
    elif found:
        click.echo(form.summaries(found, wide=output == "wide", aligned=form.on_terminal()))
    else:
        where = f" in the namespace {namespace}" if namespace else ""
        click.echo(f"the balancer knows no services{where}", err=True)


async def _get(
    address: Address, service: str, seconds: float, asker: Asker
) -> tuple[ServerList, str]:
    async with Balancer(address) as balancer:
        try:
            listed = await balancer.get(service, seconds, asker)
        except BalancerError as error:
            raise await advised(balancer, error, service) from error
        return listed, await reason(balancer, listed, service, asker)


async def _list(address: Address, namespace: str, seconds: float) -> tuple[list[Summary], Document]:
    async with Balancer(address) as balancer:
        return await balancer.list(namespace, seconds)
