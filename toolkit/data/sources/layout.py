"""Which files belong together: patterns of paths with placeholders in braces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import UsageError

# More of them than any name that is meant to be split there has.
MAX_SEPARATORS = 24
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
    fit, from left to right; the same placeholder always stands for the same text. Of several
    patterns that a file fits, the one with the most text outside of placeholders counts.

    Args:
        folder: patterns are of paths below it, with `/` between names.
        files: in that folder.
        patterns: role to pattern, e.g. `{"t1c": "{patient}/{visit}_T1c.nii.gz"}`.

    Returns:
        In the order of the files that began them; a match may lack roles.

    Raises:
        UsageError: the patterns do not all have the same placeholders, none is `{patient}`, or
            two of them touch.
    """
    check_patterns(patterns)
    compiled = {role: _compile(pattern) for role, pattern in patterns.items()}
    groups: dict[frozenset[tuple[str, str]], Match] = {}
    for file in files:
        relative = file.relative_to(folder).as_posix()
        fits = {
            role: found.groupdict()
            for role, expression in compiled.items()
            if _is_quick(relative, patterns[role]) and (found := expression.fullmatch(relative))
        }
        if fits:
            role = max(fits, key=lambda role: len("".join(PLACEHOLDER.split(patterns[role])[::2])))
            group = groups.setdefault(frozenset(fits[role].items()), Match(fits[role], {}))
            group.files.setdefault(role, file)
    return list(groups.values())


def check_patterns(patterns: Mapping[str, str]) -> None:
    """Refuse patterns that can't be matched.

    Raises:
        UsageError: see `match_files`.
    """
    names = {role: frozenset(PLACEHOLDER.findall(pattern)) for role, pattern in patterns.items()}
    for role, found in names.items():
        if "}{" in patterns[role]:
            raise UsageError(f"pattern {patterns[role]!r} of {role}: needs text between its placeholders")
        if "patient" not in found:
            raise UsageError(
                f"pattern {patterns[role]!r} of {role}: has no {{patient}}; a split by patient needs to know who it is"
            )
    if len(set(names.values())) > 1:
        listed = "; ".join(f"{role}: {', '.join(sorted(found))}" for role, found in names.items())
        raise UsageError(f"patterns differ in their placeholders ({listed}), so files can't be told to belong together")


def _is_quick(relative: str, pattern: str) -> bool:
    """Whether a path has few ways to be split by a pattern; a hostile name of 255 `_` has millions."""
    between = PLACEHOLDER.split(pattern)[2:-1:2]
    return all(relative.count(text) <= MAX_SEPARATORS for text in between)


def _compile(pattern: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def one(name: str) -> str:
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[^/]+)"

    pieces = PLACEHOLDER.split(pattern)
    return re.compile("".join(one(p) if index % 2 else re.escape(p) for index, p in enumerate(pieces)))
