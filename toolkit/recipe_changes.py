"""Files that start from a recipe and say what is changed in it: how they are found, read, and laid over one another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from toolkit.config import Recipe
from toolkit.errors import RecipeError
from toolkit.shipped import shipped_folder

Changes = dict[str, Any]


def find_shipped(name: str | Path, kind: str, folder: str) -> Path:
    """Path of a file given as such or by the name of one that ships.

    Args:
        name: file or name.
        kind: what it is, such as `comparison`.
        folder: in `configs/`, where those that ship lie.

    Raises:
        RecipeError: neither exists.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_folder("configs") / folder
    for candidate in (shipped / path.name, shipped / f"{path.name}.yaml"):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(p.stem for p in shipped.glob("*.yaml")))
    raise RecipeError(f"{path}: no such {kind}; give a YAML file or one of: {known}")


def read_mapping(path: Path, kind: str) -> Changes:
    """Plain values of a YAML file.

    Raises:
        RecipeError: not readable, or no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date such as 2024-13-45
        raise RecipeError(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a {kind} is a mapping of keys to values")
    return values


def override(values: Changes, text: str, dotted: tuple[str, ...] = ("set",)) -> None:
    """Change plain values by a `key=value` of the command line, in place.

    Args:
        values: of the file.
        text: such as `budget.minutes=5`.
        dotted: sections whose keys are those of a recipe, which are dotted themselves.

    Raises:
        RecipeError: it has another form, or a part of the key is no section.
    """
    key, equals, value = text.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {text}: write it as key=value, e.g. budget.minutes=5")
    places = [place for place, part in enumerate(parts[:-1], start=1) if part in dotted]
    if places:
        parts[places[0] :] = [".".join(parts[places[0] :])]
    for part in parts[:-1]:
        inner = values.get(part)
        values[part] = {} if inner is None else inner
        values = values[part]
        if not isinstance(values, dict):
            raise RecipeError(f"--set {text}: {part} is not a section")
    try:
        values[parts[-1]] = yaml.safe_load(value)
    except (ValueError, yaml.YAMLError) as error:
        raise RecipeError(f"--set {text}: {' '.join(str(error).split())}") from error


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
