"""The command `lookaside`."""

import os

# gRPC's core writes to stderr by itself, and reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import click

from lookaside.cli.demo import demo
from lookaside.cli.explain import explain
from lookaside.cli.failures import FailingGroup
from lookaside.cli.get import get, list_services
from lookaside.cli.serve import serve
from lookaside.cli.watch import watch

__all__ = ["main"]


@click.group(
    cls=FailingGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such service, 4 no balancer.",
)
@click.version_option(package_name="lookaside-lb", message="lookaside %(version)s")
def main() -> None:
    """Lookaside, a load balancer for gRPC on Kubernetes: the service, and tools to look at it."""


main.add_command(serve)
main.add_command(get)
main.add_command(watch)
main.add_command(list_services)
main.add_command(explain)
main.add_command(demo)
