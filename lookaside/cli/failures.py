"""How commands fail: one sentence on stderr and an exit code, never a traceback.

==== ==============================================================
code meaning
==== ==============================================================
0    done
1    another failure
2    wrong usage: a flag, a setting, a config file, a service's name
3    there is no such service
4    the balancer can't be reached, or knows nothing yet
130  ended by Ctrl-C
143  ended by SIGTERM
==== ==============================================================
"""

import click

from lookaside.errors import ConfigError, LookasideError

FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNAVAILABLE = 4
INTERRUPTED = 130
TERMINATED = 143


class Failure(click.ClickException):
    """Ends the command with a sentence and an exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it of the instance


class FailingGroup(click.Group):
    """A group whose commands' errors become sentences and exit codes."""

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
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
