"""`lookaside demo`: service, backends and client on one machine."""

import asyncio

import click

from lookaside.cli.errors import until_terminated
from lookaside.errors import LookasideError


@click.command(short_help="Run the service, backends and a client on this machine.")
@click.option("--hold", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
def demo(*, hold: bool) -> None:
    """Run the service, three backends and a client; print who answered.

    A backend is taken away and one is added while requests run. Exits with 1 if a request failed
    or a backend did not get its share.
    """
    try:
        from lookaside.demo import runner  # noqa: PLC0415 - needs the other distribution
    except ImportError as error:
        raise LookasideError(
            "the demo needs the resolver: pip install 'lookaside-lb[demo]'"
        ) from error
    if not asyncio.run(until_terminated(runner.demo(click.echo, hold=hold))):
        raise LookasideError("the demo did not go as it should: see above")
