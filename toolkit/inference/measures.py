"""Areas and volumes of a predicted mask, in pixels always and in millimetres where spacing is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.config import ModelRecipe
from toolkit.data.regions import region_masks


def measure(mask: np.ndarray, spacing_mm: tuple[float, float, float] | None, model: ModelRecipe) -> dict[str, Any]:
    """Size of the tumour in every slice and in all.

    Args:
        mask: `(slices, height, width)` labels; above 0 is tumour.
        spacing_mm: `(slice, row, column)` distances, or None if unknown.
        model: its regions are measured too, where it has several.

    Returns:
        `area_pixels` and `area_mm2`, a number a slice, `slices_with_tumour`, `total_pixels` and
        `volume_ml`; `regions`, the last two for each of several regions. What needs a spacing is
        None where there is none. A lone slice has no volume.
    """
    area = (mask > 0).sum(axis=(1, 2))
    area_mm2 = None if spacing_mm is None else (area * spacing_mm[1] * spacing_mm[2]).tolist()
    voxel_mm3 = None if spacing_mm is None or len(mask) == 1 else float(np.prod(spacing_mm))
    names = list(model.regions) if len(model.regions) > 1 else []
    pixels = region_masks(mask, model).sum(axis=(0, 1, 2)) if names else ()
    return {
        "slices_with_tumour": int((area > 0).sum()),
        **_size(int(area.sum()), voxel_mm3),
        "area_pixels": area.tolist(),
        "area_mm2": area_mm2,
        "regions": {name: _size(int(n), voxel_mm3) for name, n in zip(names, pixels, strict=True)},
    }


def _size(pixels: int, voxel_mm3: float | None) -> dict[str, Any]:
    return {"total_pixels": pixels, "volume_ml": None if voxel_mm3 is None else pixels * voxel_mm3 / 1000}
