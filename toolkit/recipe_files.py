"""YAML files of recipes and of what is made of them: how they are found, read, and changed on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import RecipeError
from toolkit.shipped import shipped_folder

Changes = dict[str, Any]


def find_shipped(name: str | Path, kind: str, folder: str = ".") -> Path:
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
    """Plain values of a YAML file; an empty one has none.

    Raises:
        RecipeError: not readable, or no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date such as 2024-13-45
        raise RecipeError(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a {kind} is a mapping of keys to values")
    return values


def override(values: Changes, text: str, example: str, dotted: tuple[str, ...] = ()) -> None:
    """Change plain values by a `key=value` of the command line, in place.

    Args:
        values: of the file.
        text: such as `training.epochs=3`.
        example: of such a text, for whoever wrote it wrongly.
        dotted: sections whose keys are those of a recipe, which are dotted themselves.

    Raises:
        RecipeError: it has another form, or a part of the key is no section.
    """
    key, equals, value = text.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {text}: write it as key=value, e.g. {example}")
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
