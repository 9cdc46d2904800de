"""The exceptions of the toolkit.

Each message is one line that names the file (or key) at fault and what to do
about it. Commands print the message and exit with ``exit_code``.
"""

from __future__ import annotations


class ToolkitError(Exception):
    """Base of every error a user can cause and mend. Exit code 1: the command failed."""

    exit_code = 1


class UsageError(ToolkitError):
    """The command was called with wrong arguments. Exit code 2."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe has an unknown key or a value that is not allowed."""


class SourceError(ToolkitError):
    """An input file can't be read as what it claims to be."""


class IntegrityError(ToolkitError):
    """The integrity gate found errors in a data set."""


class StoreError(ToolkitError):
    """A store is missing, damaged, or its splits leak patients."""


class ModelError(ToolkitError):
    """A model file is missing, damaged, or does not fit the input."""


class ServerError(ModelError):
    """A server does not answer, so there is no use in asking it about other scans."""


class OutputError(ToolkitError):
    """An output can't be written."""
