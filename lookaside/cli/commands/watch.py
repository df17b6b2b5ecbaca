"""`lookaside watch`: print changes as they happen."""

import asyncio
import json
import random
import signal
from datetime import datetime

import click
import yaml

from lookaside.cli.balancer.client import Address, Asker, Balancer
from lookaside.cli.balancer.errors import BalancerError
from lookaside.cli.balancer.messages import ServerList
from lookaside.cli.commands.completion import complete_service
from lookaside.cli.commands.hints import reason, why_absent
from lookaside.cli.commands.options import asker_options, balancer_options, output_option
from lookaside.cli.errors import INTERRUPTED, TERMINATED
from lookaside.cli.render.changes import changes
from lookaside.cli.render.output import clean

_FIRST_WAIT = 0.25
_LONGEST_WAIT = 5.0


@click.command(short_help="Print the backends of services, and every change.")
@click.argument(
    "services",
    nargs=-1,
    required=True,
    metavar="SERVICE...",
    shell_complete=complete_service,
)
@asker_options
@balancer_options
@output_option("table", "wide", "json", "yaml")
@click.pass_context
def watch(
    ctx: click.Context,
    /,
    *,
    services: tuple[str, ...],
    output: str,
    asker: Asker,
    balancer: Address,
) -> None:
    """Print the backends of each SERVICE, and then every change, until interrupted.

    A line starts with + for a new endpoint, - for a removed one, ~ for a changed one. A line
    without any of these has the state of the list and, if it is empty, the reason. With -o json
    each message is a JSON document of one line, with -o yaml a document after "---". A lost
    balancer is tried again.
    """
    ctx.exit(asyncio.run(_watch_all(balancer, services, asker, output)))


async def _watch_all(address: Address, services: tuple[str, ...], asker: Asker, output: str) -> int:
    """Watch until a signal; returns the exit code."""
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, end, INTERRUPTED)
    loop.add_signal_handler(signal.SIGTERM, end, TERMINATED)
    async with Balancer(address) as balancer:
        tasks = [
            asyncio.create_task(_Watcher(balancer, service, asker, output).run())
            for service in dict.fromkeys(services)
        ]
        waited: set[asyncio.Future[int] | asyncio.Future[None]] = {ended, *tasks}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            return await ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Watcher:
    """Prints one service, over as many streams as it takes."""

    def __init__(self, balancer: Balancer, service: str, asker: Asker, output: str) -> None:
        self._balancer = balancer
        self._service = service
        self._asker = asker
        self._output = output
        self._last: ServerList | None = None
        self._lost = False
        self._attempts = 0

    async def run(self) -> None:
        """Print until cancelled.

        Raises:
            BalancerError: Trying again can't help.
        """
        while True:
            try:
                async for listed in self._balancer.watch(self._service, self._asker):
                    self._heard()
                    await self._print(listed)
            except BalancerError as error:
                if not error.passing:
                    raise
                self._lose(error)
            await asyncio.sleep(self._wait())

    def _heard(self) -> None:
        self._attempts = 0
        if self._lost:
            self._lost = False
            click.echo(f"{self._service}: the balancer is back", err=True)

    def _lose(self, error: BalancerError) -> None:
        if not self._lost:
            self._lost = True
            text = f"{error.reason}; the list above still holds" if self._last else error.message
            click.echo(f"{self._service}: {text}; trying again", err=True)

    def _wait(self) -> float:
        longest = min(_FIRST_WAIT * 2**self._attempts, _LONGEST_WAIT)
        self._attempts = min(self._attempts + 1, 10)
        return random.uniform(0, longest)  # noqa: S311 - spreads reconnects

    async def _print(self, listed: ServerList) -> None:
        if self._output == "json":
            click.echo(json.dumps(listed.document, ensure_ascii=False))
        elif self._output == "yaml":
            text = yaml.safe_dump(listed.document, sort_keys=False, allow_unicode=True)
            click.echo(f"---\n{text}", nl=False)
        else:
            note = await self._note(listed)
            now = datetime.now().astimezone().strftime("%H:%M:%S")
            name = listed.service or self._service
            for line in changes(self._last, listed, note=note, wide=self._output == "wide"):
                click.echo(clean(f"{now}  {name}  {line}"))
        self._last = listed

    async def _note(self, listed: ServerList) -> str:
        """Return the reason for a new state of the list; "" for none."""
        if self._last is not None and self._last.state == listed.state:
            return ""
        if listed.state == "absent":
            return await why_absent(self._balancer, self._service, self._asker)
        return await reason(self._balancer, listed, self._service, self._asker)
