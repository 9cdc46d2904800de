"""Files of text that are filled in from templates."""

from __future__ import annotations

import jinja2


def render(template: str, **context: object) -> str:
    """A template of `templates/`, filled in.

    Args:
        template: name of the file.
        context: what it asks for; a missing name is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("toolkit.export"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment.get_template(template).render(**context)


def _cell(value: object) -> str:
    """Text that can't end a cell of a Markdown table, nor its line; names come from strangers."""
    return " ".join(str(value).split()).replace("|", "\\|")
