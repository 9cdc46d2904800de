"""NIfTI data sets whose files are named by patterns of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.config import LayoutRecipe
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.layout import match_files
from toolkit.data.sources.source import Source
from toolkit.data.sources.volumes import CaseFiles, Spacing, drop_incomplete, read_cases, volume_files
from toolkit.errors import SourceError, UsageError


def open_layout(
    folder: Path, layout: LayoutRecipe, gate: IntegrityGate, allow_missing: bool, spacing_mm: Spacing | None
) -> Source:
    """Open a folder of volumes by a recipe's patterns.

    Where the layout names one label, a mask of 0 and any other one value (0/255) is taken as
    background and that label, with a warning.

    Args:
        folder: the patterns are of paths below it.
        layout: patterns, and the labels of the mask.
        gate: gets the findings.
        allow_missing: a case need not have all modalities.
        spacing_mm: `(slice, row, column)` distances, used where files have a placeholder.

    Raises:
        UsageError: patterns that can't be matched, or none of the mask.
        SourceError: no such folder, or nothing in it matches.
    """
    if layout.mask is None:
        raise UsageError("the layout has no pattern of the mask; add it, e.g. --pattern mask='{patient}_seg.nii.gz'")
    matches = match_files(folder, volume_files(folder), {**layout.images, "mask": layout.mask})
    matches = [match for match in matches if set(match.files) - {"mask"}]
    if not matches:
        listed = ", ".join(layout.images.values())
        raise SourceError(f"{folder}: no file matches the pattern {listed}; compare it with a path below the folder")
    if any("slice" in match.fields for match in matches):
        raise UsageError("{slice} in a pattern counts pictures; a volume holds its slices itself")
    cases = drop_incomplete(
        (
            CaseFiles(
                path=next(iter(match.files.values())),
                patient=match.fields["patient"],
                case="-".join([match.fields["patient"], *(v for k, v in match.fields.items() if k != "patient")]),
                images={modality: match.files.get(modality) for modality in layout.images},
                mask=match.files.get("mask"),
            )
            for match in matches
        ),
        gate,
        allow_missing,
    )

    def relabel(mask: np.ndarray, path: Path) -> np.ndarray:
        return _one_label(mask, path, next(iter(layout.labels.values())), gate) if len(layout.labels) == 1 else mask

    values = set(layout.labels.values())
    files = tuple(file for case in cases for file in case.all_files)
    label_map = {"background": 0, **layout.labels}
    return Source("nifti", label_map, files, read_cases(cases, values, gate, spacing_mm, relabel))


def _one_label(mask: np.ndarray, path: Path, label: int, gate: IntegrityGate) -> np.ndarray:
    values = [value for value in np.unique(mask).tolist() if value != 0]
    if len(values) != 1 or values == [label]:
        return mask
    gate.warn(path, "mask-values", f"values 0 and {values[0]:g} are taken as background and label {label}")
    return np.where(mask == values[0], np.uint8(label), np.uint8(0))
