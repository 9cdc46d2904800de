"""The option `--spacing`, which two commands share."""

from __future__ import annotations

from typing import Annotated

import typer


def _parse(text: str) -> str:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(0 < value < 1000 for value in values):
        raise typer.BadParameter("write it as SLICE,ROW,COLUMN in mm, e.g. 5,0.9,0.9")
    return text


Spacing = Annotated[
    str | None,
    typer.Option(
        "--spacing",
        metavar="SLICE,ROW,COLUMN",
        callback=lambda text: None if text is None else _parse(text),
        help="Distances in mm, for files that state none or a placeholder.",
    ),
]


def spacing_mm(text: str | None) -> tuple[float, float, float] | None:
    """The three distances of a checked option."""
    if text is None:
        return None
    slice_mm, row_mm, column_mm = (float(part) for part in text.split(","))
    return slice_mm, row_mm, column_mm
