"""Volumes of one head on one grid, stacked to a case in canonical slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np

from toolkit.data.case import Case
from toolkit.data.geometry import is_placeholder_spacing, to_slices
from toolkit.errors import SourceError

# Writers round affines to float32; a thousandth of a millimetre is no other place.
SAME_PLACE_MM = 1e-3
# Types that a store does not keep; the wider one holds their values.
WIDER_TYPE = {"float16": "float32", "int64": "float64", "uint64": "float64"}
MAX_LABEL = 255


@dataclass(frozen=True)
class Volume:
    """Voxels and where they lie.

    Args:
        path: where they are from, for messages.
        data: `(X, Y, Z)`.
        affine: `(4, 4)`, maps voxel indices to world RAS mm.
    """

    path: Path
    data: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class StackedVolume:
    """A case, and the way back to the axes of its files.

    Args:
        case: in canonical slices; `spacing_mm` is None where it is unknown.
        restore: takes `(N, H, W)` of the case's slices to `(X, Y, Z)` of the files.
        spacing_is_placeholder: the files' 1 mm can't be true, and nobody said what is.
    """

    case: Case
    restore: Callable[[np.ndarray], np.ndarray]
    spacing_is_placeholder: bool


def stack_volumes(
    volumes: Mapping[str, Volume | None],
    mask: Volume | None,
    patient: str,
    case: str,
    spacing_mm: tuple[float, float, float] | None = None,
    spacing_is_measured: bool = False,
    synthetic: bool = False,
) -> StackedVolume:
    """Stack the modalities of a case, and its mask, in one orientation.

    Args:
        volumes: modality to volume, in the order of the channels; None where the case lacks it
            (its channel is zeros).
        mask: labels, or None.
        patient: identifier of the patient.
        case: identifier of the case.
        spacing_mm: `(slice, row, column)` distances, used where the affine's are a placeholder.
        spacing_is_measured: the affine's distances are true, whatever they look like (DICOM).
        synthetic: made-up images.

    Raises:
        SourceError: there is no modality, two volumes differ in shape or place, or the mask
            holds other than whole numbers from 0 to 255.
    """
    present = [volume for volume in volumes.values() if volume is not None]
    if not present:
        raise SourceError(f"{case}: has none of the modalities {', '.join(volumes)}; check the folder")
    for other in (*present[1:], *([mask] if mask else [])):
        _check_same_grid(present[0], other)
    cut = to_slices(present[0].data, present[0].affine)
    placeholder = not spacing_is_measured and is_placeholder_spacing(cut.spacing_mm, cut.slices.shape)
    dtype = np.result_type(*(volume.data.dtype for volume in present))
    images = np.zeros((*cut.slices.shape, len(volumes)), WIDER_TYPE.get(dtype.name, dtype))
    for channel, volume in enumerate(volumes.values()):
        if volume is not None:
            images[..., channel] = to_slices(volume.data, present[0].affine).slices
    stacked = Case(
        images=images,
        mask=None if mask is None else to_slices(_labels(mask), present[0].affine).slices,
        patient=patient,
        case=case,
        modalities=tuple(volumes),
        affine=cut.affine,
        spacing_mm=spacing_mm if placeholder else cut.spacing_mm,
        plane=cut.plane,
        synthetic=synthetic,
        present=tuple(volume is not None for volume in volumes.values()),
    )
    return StackedVolume(stacked, cut.restore, placeholder and spacing_mm is None)


def _check_same_grid(first: Volume, other: Volume) -> None:
    if first.data.shape != other.data.shape:
        raise SourceError(
            f"{other.path}: has the shape {other.data.shape}, {first.path} has {first.data.shape}; register them first"
        )
    corners = np.array(list(product(*((0, length - 1) for length in first.data.shape))))
    apart = nib.affines.apply_affine(first.affine, corners) - nib.affines.apply_affine(other.affine, corners)
    if (off_mm := float(np.linalg.norm(apart, axis=1).max())) > SAME_PLACE_MM:
        raise SourceError(
            f"{other.path}: lies elsewhere than {first.path} (up to {off_mm:.4g} mm by their affines); register them "
            "first"
        )


def _labels(mask: Volume) -> np.ndarray:
    values = mask.data
    if values.min() < 0 or values.max() > MAX_LABEL or (values.dtype.kind == "f" and (values % 1 != 0).any()):
        raise SourceError(f"{mask.path}: a mask holds whole numbers from 0 to {MAX_LABEL}; is it one?")
    return values.astype(np.uint8)
