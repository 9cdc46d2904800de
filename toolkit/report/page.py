"""One self-contained HTML file: no network, pictures as data URIs, written piece by piece."""

from __future__ import annotations

import base64
import math
from functools import cache
from pathlib import Path

import jinja2
import numpy as np

from toolkit import pictures
from toolkit.files import atomic_path

NOT_DEFINED = "–"


def write_page(path: Path | str, template: str, **context: object) -> None:
    """Render a template to a file, atomically and piece by piece.

    An iterator in `context` is consumed while the page is written, so a report
    may be longer than memory.

    Args:
        path: the HTML file.
        template: name of a file in `templates/`.
        context: what the template asks for; a missing name is an error.

    Raises:
        OutputError: the file can't be written.
    """
    pieces = _environment().get_template(template).generate(**context)
    with (
        atomic_path(path) as partial,
        # A file name that is not UTF-8 reaches us with surrogates, which UTF-8 can't hold.
        partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.writelines(pieces)


def data_uri(picture: np.ndarray, suffix: str = ".png") -> str:
    """A picture as a `data:` URI.

    Args:
        picture: `(height, width)` or `(height, width, 3)` RGB, uint8.
        suffix: `.png`, `.jpg` or `.webp`.
    """
    kind = {".jpg": "jpeg"}.get(suffix, suffix.removeprefix("."))
    return f"data:image/{kind};base64,{base64.b64encode(pictures.encode(picture, suffix)).decode()}"


def number(value: float | None, digits: int = 3, missing: str = NOT_DEFINED) -> str:
    """A number with `digits` decimals; `missing` for None and NaN."""
    return missing if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def label(name: object) -> str:
    """A key as words: `patient_groups` becomes `Patient groups`, `n_images` becomes `Images`."""
    words = str(name).removeprefix("n_").replace("_", " ")
    return words[:1].upper() + words[1:]


def cell(value: object) -> str:
    """A table cell: fractions with three decimals, `–` for what is missing, else as it is."""
    return number(value) if value is None or isinstance(value, float) else str(value)


def grouped(value: float) -> str:
    """A whole number in groups of three digits, so that millions can be read."""
    return f"{round(value):,}".replace(",", "\u202f")


def amount(value: float) -> str:
    """A measure with three significant digits, none of those before the point lost."""
    return grouped(value) if abs(value) >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share as percentage with three significant digits."""
    return f"{100 * share:.3g} %"


@cache  # it compiles each template once
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("toolkit.report"),
        autoescape=True,  # File names and labels come from strangers.
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, label=label, cell=cell)
    environment.globals.update(
        prediction_colour=f"rgb{pictures.PREDICTION_COLOUR}", truth_colour=f"rgb{pictures.TRUTH_COLOUR}"
    )
    return environment
