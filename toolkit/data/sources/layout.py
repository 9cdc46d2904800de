"""Which files belong together: patterns of paths with placeholders in braces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import UsageError

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


@dataclass(frozen=True)
class Match:
    """Files that belong together.

    Args:
        fields: text of each placeholder.
        files: role (a modality, or `mask`) to file.
    """

    fields: dict[str, str]
    files: dict[str, Path]


def match_files(folder: Path, files: Iterable[Path], patterns: Mapping[str, str]) -> list[Match]:
    """Group the files of a folder by the placeholders of patterns.

    A placeholder stands for one or more characters of a folder or file name, as many as
    fit, from left to right; the same placeholder always stands for the same text.

    Args:
        folder: patterns are of paths below it, with `/` between names.
        files: in that folder.
        patterns: role to pattern, e.g. `{"t1c": "{patient}/{visit}_T1c.nii.gz"}`.

    Returns:
        In the order of the files that began them; a match may lack roles.

    Raises:
        UsageError: the patterns do not all have the same placeholders, or none is `{patient}`.
    """
    check_patterns(patterns)
    compiled = {role: _compile(pattern) for role, pattern in patterns.items()}
    groups: dict[tuple[tuple[str, str], ...], dict[str, Path]] = {}
    for file in files:
        relative = file.relative_to(folder).as_posix()
        for role, expression in compiled.items():
            if found := expression.fullmatch(relative):
                groups.setdefault(tuple(sorted(found.groupdict().items())), {}).setdefault(role, file)
    return [Match(dict(fields), roles) for fields, roles in groups.items()]


def check_patterns(patterns: Mapping[str, str]) -> None:
    """Refuse patterns that can't be matched.

    Raises:
        UsageError: see `match_files`.
    """
    names = {role: frozenset(PLACEHOLDER.findall(pattern)) for role, pattern in patterns.items()}
    for role, found in names.items():
        if "patient" not in found:
            raise UsageError(
                f"pattern {patterns[role]!r} of {role}: has no {{patient}}; a split by patient needs to know who it is"
            )
    if len(set(names.values())) > 1:
        listed = "; ".join(f"{role}: {', '.join(sorted(found))}" for role, found in names.items())
        raise UsageError(f"patterns differ in their placeholders ({listed}), so files can't be told to belong together")


def _compile(pattern: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def one(name: str) -> str:
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[^/]+)"

    pieces = PLACEHOLDER.split(pattern)
    return re.compile("".join(one(p) if index % 2 else re.escape(p) for index, p in enumerate(pieces)))
