"""What is done to a mask once the threshold has made it: holes filled, specks taken out, the largest component kept.

Which of it, is chosen on validation patients (`toolkit.evaluation.postprocessing`) and stored in the model file. All of
it looks at the tumour as a whole, not at each region: a core without its tumour around it can't come of it, nor a
necrosis that is filled up with the enhancing rim.
"""

from __future__ import annotations

import numpy as np

from toolkit.components import bounding_box, components
from toolkit.config import ModelRecipe, Recipe
from toolkit.data.grid import model_grid
from toolkit.models.model_file import PostProcessing


def post_processed(
    labels: np.ndarray,
    likeliest: np.ndarray,
    processing: PostProcessing,
    recipe: Recipe,
    spacing_mm: tuple[float, float, float] | None,
) -> np.ndarray:
    """Labels of a case after post-processing; in this order:

    1. Holes: background that is enclosed within its slice (4 neighbours) gets the label of the likeliest region there.
    2. Smallest component: components (`toolkit.components`) whose largest section in any slice is smaller are taken
       out. The size is a share of the model's grid, on which specks come to be: of pictures of any size it means the
       same, a lone slice and a volume have it, and no spacing is needed. Of a model that works in mm it is an area in
       mm².
    3. Largest component: of what is left only the one with most pixels is kept.

    Args:
        labels: `(slices, height, width)` uint8 of `toolkit.data.regions.label_mask`.
        likeliest: `(slices, height, width)` uint8 of `likeliest_labels`.
        processing: what is done.
        recipe: of the model.
        spacing_mm: `(slice, row, column)` distances; needed by a model that works in mm.

    Returns:
        `(slices, height, width)` uint8.
    """
    if processing == PostProcessing() or not labels.any():
        return labels
    # Outside the box around the tumour there are no holes and no components.
    box = bounding_box(labels > 0)
    found = labels[box]
    if processing.fill_holes:
        found = _filled(found, likeliest[box])
    kept, smallest = found > 0, 0.0
    if processing.smallest_component:
        smallest = processing.smallest_component / _share_of_grid(labels.shape, spacing_mm, recipe)
    if smallest or processing.largest_only:
        kept = _large_components(kept, smallest, processing.largest_only)
    result = np.zeros_like(labels)
    result[box] = np.where(kept, found, 0)
    return result


def likeliest_labels(probability: np.ndarray, model: ModelRecipe) -> np.ndarray:
    """Label of the likeliest region of each pixel, whether it is marked or not.

    Args:
        probability: `(..., regions)`.
        model: its regions.

    Returns:
        `(...)` uint8.
    """
    return np.array(model.painted_labels, np.uint8)[probability.argmax(axis=-1)]


def _filled(labels: np.ndarray, likeliest: np.ndarray) -> np.ndarray:
    """Labels, and in the holes of each slice that of the likeliest region."""
    from scipy import ndimage

    holes = np.stack([ndimage.binary_fill_holes(plane) for plane in labels > 0]) & (labels == 0)
    filled = labels.copy()
    filled[holes] = likeliest[holes]
    return filled


def _share_of_grid(shape: tuple[int, ...], spacing_mm: tuple[float, float, float] | None, recipe: Recipe) -> float:
    """The share of the model's grid that one pixel of the case covers."""
    n_slices, height, width = shape
    grid = model_grid((n_slices, height, width), spacing_mm, recipe.data)
    return grid.height * grid.width / (height * width * grid.size**2)


def _large_components(mask: np.ndarray, smallest: float, largest_only: bool) -> np.ndarray:
    """The components with a section of so many pixels in some slice; of them all, or the largest."""
    labels, sizes = components(mask)
    section = np.max([np.bincount(plane.ravel(), minlength=len(sizes)) for plane in labels], axis=0)
    keep = section >= smallest
    keep[0] = False
    if largest_only and keep.any():
        keep &= np.arange(len(sizes)) == np.argmax(np.where(keep, sizes, 0))
    return keep[labels]
