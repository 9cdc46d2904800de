"""Changes of a recipe, as comparisons and searches write them: laid over it, and over one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from toolkit.config import Recipe
from toolkit.recipe_files import Changes


def nested(changes: Changes) -> Changes:
    """`{"data.window.halo": 1, "data.fold": 0}` as `{"data": {"window": {"halo": 1}, "fold": 0}}`."""
    result: Changes = {}
    for key, value in changes.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merged(result, value)
    return result


def merged(values: Changes, changes: Mapping[str, Any], section: type[BaseModel] = Recipe) -> Changes:
    """A recipe's values with changes laid over them: sections are merged, all else (also a mapping) is replaced."""
    result = dict(values)
    for key, value in changes.items():
        field = section.model_fields.get(key)
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            result[key] = merged(result.get(key) or {}, value, inner)
        else:
            result[key] = value
    return result


def explain(error: Any, kind: str) -> str:
    """One of pydantic's errors, in a line that names the key."""
    key = ".".join(str(part) for part in error["loc"] if part != "[key]") or kind
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    message = error["msg"].removeprefix("Value error, ")
    shown = error["type"] not in ("value_error", "missing")
    return f"{key}: {message} (got {error['input']!r})" if shown else f"{key}: {message}"
