"""Which series of a DICOM study is which modality, as far as descriptions and grids tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import nibabel as nib
import numpy as np

from toolkit.data.sources.dicom import DicomSeries
from toolkit.data.sources.stacking import SAME_PLACE_MM


def choose_modalities(
    study: Sequence[DicomSeries], wanted: Sequence[str], anchor: DicomSeries | None = None
) -> dict[str, DicomSeries]:
    """A series for each modality that one is told to be; of several, one on the common grid, then the longest.

    Args:
        study: series of one study.
        wanted: modalities, in the order of the result.
        anchor: the series whose grid is the common one, and which stands for its modality; None for
            the grid on which most modalities lie.

    Returns:
        Modality to series; one that no series is told to be is left out, one that lies elsewhere is not.
    """
    told = [series for series in study if series.modality in wanted]
    if anchor is None and told:
        anchor = max(told, key=lambda one: (len({s.modality for s in told if same_grid(one, s)}), one.n_slices))
    chosen: dict[str | None, DicomSeries] = {}
    for series in sorted(told, key=lambda s: (s is not anchor, not same_grid(s, anchor), -s.n_slices)):
        chosen.setdefault(series.modality, series)
    return {modality: chosen[modality] for modality in wanted if modality in chosen}


def same_grid(one: DicomSeries, other: DicomSeries | None) -> bool:
    """Whether two series have the same voxels in space, so that they can be stacked."""
    if other is None or (one.columns, one.rows, one.n_slices) != (other.columns, other.rows, other.n_slices):
        return False
    corners = np.array(list(product((0, one.columns - 1), (0, one.rows - 1), (0, one.n_slices - 1))))
    apart = nib.affines.apply_affine(one.affine, corners) - nib.affines.apply_affine(other.affine, corners)
    return bool(np.linalg.norm(apart, axis=1).max() <= SAME_PLACE_MM)
