"""Areas and volumes of a predicted mask, in pixels always and in millimetres where spacing is known."""

from __future__ import annotations

from typing import Any

import numpy as np


def measure(mask: np.ndarray, spacing_mm: tuple[float, float, float] | None) -> dict[str, Any]:
    """Size of the tumour in every slice and in all.

    Args:
        mask: `(slices, height, width)`; above 0 is tumour.
        spacing_mm: `(slice, row, column)` distances, or None if unknown.

    Returns:
        `area_pixels` and `area_mm2`, a number a slice, `slices_with_tumour`, `total_pixels` and
        `volume_ml`; what needs a spacing is None where there is none. A lone slice has
        no volume.
    """
    area = (mask > 0).sum(axis=(1, 2))
    known = spacing_mm is not None
    pixel_mm2 = spacing_mm[1] * spacing_mm[2] if spacing_mm is not None else 0.0
    voxel_mm3 = pixel_mm2 * spacing_mm[0] if spacing_mm is not None else 0.0
    return {
        "slices_with_tumour": int((area > 0).sum()),
        "total_pixels": int(area.sum()),
        "volume_ml": float(area.sum() * voxel_mm3 / 1000) if known and len(mask) > 1 else None,
        "area_pixels": area.tolist(),
        "area_mm2": (area * pixel_mm2).tolist() if known else None,
    }
