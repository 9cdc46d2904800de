"""What all commands share: how they start, and how they end when something is wrong."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def single_command(command: Callable[..., None]) -> typer.Typer:
    """A function as a command of its own."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(command)
    return app


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """Turn errors a user can mend into one line on stderr and the exit code 1 or 2.

    Args:
        debug: let the traceback through.
    """
    from toolkit.errors import ToolkitError
    from toolkit.interruption import remembering_ctrl_c

    try:
        with remembering_ctrl_c(), nullcontext() if debug else _quiet_libraries():
            yield
    except ToolkitError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; nothing half-written was left behind", 1)
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.filename or 'input/output'}: {error.strerror or error}", 1)


def _fail(message: str, exit_code: int) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise typer.Exit(exit_code)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep native libraries off the terminal: TensorFlow prints pages on start-up and can't be told not to.

    They write to file descriptor 2 directly, also while the process ends; Python's own stderr goes on to where it went.
    """
    warnings.filterwarnings("ignore", module="keras|tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    before, kept = sys.stderr, os.dup(2)
    if before is sys.__stderr__:
        sys.stderr = os.fdopen(os.dup(kept), "w", buffering=1)
        atexit.register(_silence_stderr)
    _silence_stderr()
    try:
        yield
    finally:
        sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)


def _silence_stderr() -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
