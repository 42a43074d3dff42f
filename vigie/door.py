"""The door: every command passes through it, and what fails leaves by it with one readable message."""

from __future__ import annotations

import errno
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from crm.errors import VigieError, shorten
from vigie.console import errors

#: Exit code of a command that could not do what was asked.
FAILED = 1


class Door(TyperGroup):
    """The group of all commands: turns errors into one message and exit code 1, or lets them out to debug.

    A wrong option or argument ends with exit code 2, an interruption with 130.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        debug = bool(ctx.params.get("debug"))
        try:
            return super().invoke(ctx)
        except VigieError as error:
            if debug:
                raise
            _tell("Error", str(error))
        except (typer.TyperException, typer.Exit, typer.Abort):
            raise
        except MemoryError:
            _tell("Error", "there is not enough memory; give the machine more, or use a smaller history")
        except Exception as error:
            # A reader that has enough (vigie report | head) is no fault.
            if debug or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            said = shorten(" ".join(str(error).split()), 300)
            _tell(
                "Unexpected error",
                f"{type(error).__name__}: {said}. This is a fault of Vigie; what it did is in the trace that "
                "`vigie --debug …` shows, please report it",
            )
        raise typer.Exit(FAILED)


def _tell(kind: str, message: str) -> None:
    errors().print(Text.assemble((f"{kind}: ", "bold red"), message), soft_wrap=True)
