"""Canonical orientation: any volume as a slice sequence that is displayed the radiological way.

Whatever order and direction the axes of a volume have, its slices come out as
a radiologist hangs them: the patient's right at the left of the picture, and
anterior (axial) or superior (coronal, sagittal) at the top. Slices run so that
(column, row, slice) directions are right-handed, as DICOM numbers them. Values
are moved, never interpolated, so the way back is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel import orientations

ANISOTROPIC_RATIO = 1.5
PLACEHOLDER_SPACING_MM = 1.0
PLACEHOLDER_EXTENT_MM = 80.0

# Where (slice, row, column) indices grow to: Superior, Posterior, Left, Inferior, Right.
DISPLAY_AXES = {"axial": "SPL", "coronal": "PIL", "sagittal": "RIP"}
# The world axis (x left-right, y posterior-anterior, z inferior-superior) that each plane is cut along.
_PLANE_OF_WORLD_AXIS = ("sagittal", "coronal", "axial")


class Slices(NamedTuple):
    """A volume as a slice sequence in canonical orientation.

    Args:
        slices: `(N, H, W)`, the values of the volume.
        affine: `(4, 4)`, maps `(slice, row, column)` indices to world RAS mm.
        plane: `axial`, `coronal` or `sagittal`; of an oblique volume the nearest.
        spacing_mm: `(slice, row, column)` distances in mm.
        restore: takes any `(N, H, W)` array of these slices back to the axis
            order and directions of the volume; can be pickled.
    """

    slices: np.ndarray
    affine: np.ndarray
    plane: str
    spacing_mm: tuple[float, float, float]
    restore: Callable[[np.ndarray], np.ndarray]


def to_slices(volume: np.ndarray, affine: np.ndarray) -> Slices:
    """Cut a volume into slices in canonical orientation.

    Args:
        volume: `(X, Y, Z)`, axes in any of the 48 orientations.
        affine: `(4, 4)`, maps voxel indices to world RAS mm; may be oblique.

    Raises:
        ValueError: the volume has not three axes, or the affine is not finite or
            singular, so that directions can't be told.
    """
    if volume.ndim != 3:
        raise ValueError(f"a volume has three axes, got {volume.shape}")
    if not is_usable_affine(affine):
        raise ValueError("the affine is singular or not finite")
    stored = orientations.io_orientation(affine)
    plane = slicing_plane(volume.shape, affine)
    display = orientations.axcodes2ornt(DISPLAY_AXES[plane])
    there = orientations.ornt_transform(stored, display)
    back = orientations.ornt_transform(display, stored)
    slice_affine = affine @ orientations.inv_ornt_aff(there, volume.shape)
    slice_mm, row_mm, column_mm = (float(mm) for mm in nib.affines.voxel_sizes(slice_affine))
    slices = np.ascontiguousarray(orientations.apply_orientation(volume, there))
    return Slices(slices, slice_affine, plane, (slice_mm, row_mm, column_mm), partial(_reorder, back))


def slicing_plane(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """The plane in which a volume was acquired, as far as its header tells.

    It is cut along the axis of by far the largest spacing (over 1.5 times the
    next); where spacing is a placeholder, along the axis of few voxels; else axial.

    Args:
        shape: `(X, Y, Z)` voxels along the volume's axes.
        affine: `(4, 4)`, maps voxel indices to world RAS mm.
    """
    spacing = nib.affines.voxel_sizes(affine)
    if np.max(spacing) > ANISOTROPIC_RATIO * np.sort(spacing)[1]:
        axis = int(np.argmax(spacing))
    elif is_placeholder_spacing(tuple(spacing), shape):
        axis = int(np.argmin(shape))
    else:
        return "axial"
    return _PLANE_OF_WORLD_AXIS[int(orientations.io_orientation(affine)[axis, 0])]


def is_placeholder_spacing(spacing_mm: tuple[float, ...], shape: tuple[int, ...]) -> bool:
    """Whether a spacing is the 1 x 1 x 1 mm that writers put where they know none.

    A cube of 1 mm is believed where the volume is as deep as a head. It is not
    where one axis has under 80 voxels and under half as many as the others:
    a head in 24 slices of 1 mm can't be.

    Args:
        spacing_mm: the three distances in mm.
        shape: number of voxels along the same three axes.
    """
    fewest, middle, _ = sorted(shape)
    cube = np.allclose(spacing_mm, PLACEHOLDER_SPACING_MM, rtol=0.0, atol=1e-3)
    return bool(cube and fewest * PLACEHOLDER_SPACING_MM < PLACEHOLDER_EXTENT_MM and 2 * fewest < middle)


def is_usable_affine(affine: np.ndarray) -> bool:
    """Whether an affine `(4, 4)` is finite and spans three directions."""
    if not np.all(np.isfinite(affine)):
        return False
    spacing = nib.affines.voxel_sizes(affine)
    # Directions only: a tiny voxel is no reason to call the matrix singular.
    return bool(np.all(spacing > 0) and abs(np.linalg.det(affine[:3, :3] / spacing)) > 1e-3)


def _reorder(orientation: np.ndarray, slices: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(orientations.apply_orientation(slices, orientation))
