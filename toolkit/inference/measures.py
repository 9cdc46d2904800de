"""Sizes and place of a predicted mask, in pixels always and in millimetres where spacing is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.components import bounding_box, components
from toolkit.config import ModelRecipe
from toolkit.data.regions import region_masks
from toolkit.inference.diameters import largest_diameters
from toolkit.inference.side import HeadMiddle, side_of

Spacing = tuple[float, float, float]


def measure(
    mask: np.ndarray, spacing_mm: Spacing | None, model: ModelRecipe, middle: HeadMiddle | None = None
) -> dict[str, Any]:
    """Size and place of the tumour in every slice and in all.

    Args:
        mask: `(slices, height, width)` labels; above 0 is tumour.
        spacing_mm: `(slice, row, column)` distances, or None if unknown.
        model: its regions are measured too, where it has several.
        middle: of the head, or None if unknown.

    Returns:
        `area_pixels` and `area_mm2`, a number a slice; of the tumour, and in `regions` of each of several regions:

        - `slices_with_tumour`, `total_pixels`, `volume_ml`; a lone slice has no volume.
        - `number_of_lesions`: connected components, see `toolkit.components`.
        - `largest_diameter_mm`, `perpendicular_diameter_mm`, their product `diameter_product_mm2` and the slice they
          lie in, `diameter_slice_index` from 0; see `toolkit.inference.diameters`.
        - `side`: see `toolkit.inference.side.side_of`.

        What needs a spacing is None where there is none; so are `diameter_slice_index` and `side` without tumour.
    """
    area = (mask > 0).sum(axis=(1, 2))
    area_mm2 = None if spacing_mm is None else (area * spacing_mm[1] * spacing_mm[2]).tolist()
    voxel_mm3 = None if spacing_mm is None or len(mask) == 1 else float(np.prod(spacing_mm))
    # Outside the box around the tumour there is nothing to measure.
    box = bounding_box(mask > 0)
    if middle is not None:
        middle = middle._replace(position=middle.position - box[middle.axis].start)

    def measured(tumour: np.ndarray) -> dict[str, Any]:
        pixels, (lesions, sizes) = int(tumour.sum()), components(tumour)
        return {
            "slices_with_tumour": int(tumour.any(axis=(1, 2)).sum()),
            "total_pixels": pixels,
            "volume_ml": None if voxel_mm3 is None else pixels * voxel_mm3 / 1000,
            "number_of_lesions": len(sizes) - 1,
            **_diameters(tumour, spacing_mm, box[0].start),
            "side": side_of(lesions, sizes, middle),
        }

    names = list(model.regions) if len(model.regions) > 1 else []
    regions = np.moveaxis(region_masks(mask[box], model), -1, 0) if names else ()
    return {
        **measured(mask[box] > 0),
        "area_pixels": area.tolist(),
        "area_mm2": area_mm2,
        "regions": {name: measured(region) for name, region in zip(names, regions, strict=True)},
    }


def _diameters(tumour: np.ndarray, spacing_mm: Spacing | None, first_slice: int) -> dict[str, float | int | None]:
    names = ("largest_diameter_mm", "perpendicular_diameter_mm", "diameter_product_mm2", "diameter_slice_index")
    if spacing_mm is None:
        return dict.fromkeys(names)
    found = largest_diameters(tumour, *spacing_mm[1:])
    if found is None:
        return dict(zip(names, (0.0, 0.0, 0.0, None), strict=True))
    values = (found.largest_mm, found.perpendicular_mm, found.product_mm2, first_slice + found.slice_index)
    return dict(zip(names, values, strict=True))
