"""Errors of commands: one sentence on stderr and an exit code, never a traceback."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable
from typing import Final, TypeVar

import click

from lookaside.config.values import readable
from lookaside.errors import ConfigError, LookasideError

_T = TypeVar("_T")

DONE = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNAVAILABLE = 4
INTERRUPTED = 130
TERMINATED = 143

EXIT_CODES: Final = {
    DONE: "done",
    FAILED: "another failure, or a check that failed",
    USAGE: "wrong usage: a flag, a setting, a config file, a service's name",
    NOT_FOUND: "there is no such service",
    UNAVAILABLE: "the balancer can't be reached, or is not ready yet",
    INTERRUPTED: "ended by Ctrl-C",
    TERMINATED: "ended by SIGTERM",
}

EPILOG: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such service, 4 no balancer, 130 ended by "
    "Ctrl-C, 143 ended by SIGTERM."
)


async def until_terminated(work: Awaitable[_T]) -> _T:
    """Have SIGTERM end a command as Ctrl-C does, with all that it runs.

    It makes Ctrl-C safe, too. asyncio alone sees it when the loop wakes next: where it comes just
    before the loop waits, that is when the wait ends. A handler of the loop has every signal wake
    it (`signal.set_wakeup_fd`).

    Raises:
        click.exceptions.Exit: SIGTERM came.
    """
    task = asyncio.ensure_future(work)
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if not terminated:
            raise
        raise click.exceptions.Exit(TERMINATED) from None


class Failure(click.ClickException):
    """Ends the command with a sentence and an exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it of the instance


class FailingGroup(click.Group):
    """A group whose commands' errors become sentences and exit codes; each help lists the codes."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Register a command."""
        # A raw docstring has click's mark of lines that are not to be wrapped as two characters.
        cmd.help = (cmd.help or "").replace("\\b\n", "\b\n")
        cmd.epilog = cmd.epilog or EPILOG
        super().add_command(cmd, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line.

        Raises:
            click.UsageError: It is wrong.
        """
        for arg in args:
            try:
                readable(arg)
            except ValueError as error:
                raise click.UsageError(f"{arg!r}: expected {error}", ctx) from error
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command.

        Raises:
            Failure: It failed in a way that is known.
        """
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise Failure(str(error), USAGE) from error
        except LookasideError as error:
            raise Failure(str(error)) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            _discard_output()
            raise Failure(_said(error)) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


def _discard_output() -> None:
    """Give up output that finds no room: the interpreter would try again, and exit with 120."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _said(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said
