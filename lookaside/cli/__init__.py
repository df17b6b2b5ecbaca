"""The command `lookaside`."""

import os

# gRPC's core writes to stderr by itself, and reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import click

from lookaside.cli.commands.check import check
from lookaside.cli.commands.completion import completion
from lookaside.cli.commands.demo import demo
from lookaside.cli.commands.explain import explain
from lookaside.cli.commands.get import get, list_services
from lookaside.cli.commands.serve import serve
from lookaside.cli.commands.watch import watch
from lookaside.cli.commands.xds_bootstrap import xds_bootstrap
from lookaside.cli.errors import EPILOG, FailingGroup

__all__ = ["main"]


@click.group(
    cls=FailingGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(package_name="lookaside-lb", message="lookaside %(version)s")
def main() -> None:
    """Lookaside, a load balancer for gRPC on Kubernetes: the service, and tools to look at it."""


COMMANDS = (serve, check, get, watch, list_services, explain, xds_bootstrap, demo, completion)

for command in COMMANDS:
    main.add_command(command)
