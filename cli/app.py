"""What all commands share: how they start, and how they end when something is wrong."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def start(command: Callable[..., None]) -> None:
    """Run a function as a command of its own."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(command)
    app()


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """Turn errors a user can mend into one line on stderr and the exit code 1 or 2.

    Args:
        debug: let the traceback through.
    """
    from toolkit.errors import ToolkitError

    if not debug:
        _quiet_libraries()
    try:
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


def _quiet_libraries() -> None:
    """TensorFlow prints pages on start-up; what a user must know, the commands say."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    warnings.filterwarnings("ignore", module="keras|tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
