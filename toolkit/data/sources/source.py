"""What a source of data gives to `bts-prepare`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.data.case import Case


@dataclass(frozen=True)
class Source:
    """A data set, opened: its files are listed, none of its pixels is read yet.

    Args:
        kind: name of the kind of data set, e.g. `nifti`.
        label_map: label names and values of the masks; background is 0.
        files: all files the cases are made from.
        cases: reads one case after the other, shows a progress bar, tells the integrity gate
            what it finds, and leaves out files with errors.
    """

    kind: str
    label_map: dict[str, int]
    files: tuple[Path, ...]
    cases: Iterator[Case]
