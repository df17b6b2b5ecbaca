"""`lookaside completion`: what makes shells complete commands, flags and names of services."""

import asyncio

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from lookaside.cli.balancer.client import Address, Balancer
from lookaside.cli.commands.options import address_of
from lookaside.cli.errors import Failure
from lookaside.errors import ConfigError

_COMMAND = "lookaside"
_VARIABLE = "_LOOKASIDE_COMPLETE"
_SECONDS = 1.0


@click.command(short_help="Print the script that makes a shell complete commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, *, shell: str) -> None:
    r"""Print the script that lets a SHELL complete commands, flags and service names.

    Service names come from the balancer, if it answers within a second.

    \b
      eval "$(lookaside completion bash)"                        in ~/.bashrc
      eval "$(lookaside completion zsh)"                         in ~/.zshrc, after compinit
      lookaside completion fish > ~/.config/fish/completions/lookaside.fish
    """
    form = get_completion_class(shell)
    if form is None:
        raise Failure(f"there is no completion for {shell}")
    completer = form(ctx.find_root().command, {}, _COMMAND, _VARIABLE)
    # The method of bash's own class runs a bash to learn its version, which need not be here.
    script = ShellComplete.source(completer)
    # That of fish cuts what it shows of a command off at its first comma.
    click.echo(script.replace('string split ","', 'string split --max 1 ","'), nl=False)


def complete_service(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the services of the balancer that begin so; none if it can't be asked at once."""
    try:
        names = asyncio.run(_names(address_of(ctx.params, _SECONDS)))
    except (click.ClickException, ConfigError):
        return []
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


async def _names(address: Address) -> set[str]:
    async with Balancer(address) as balancer:
        found, _ = await balancer.list("", _SECONDS)
    return {each.service for each in found}
