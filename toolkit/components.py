"""Connected components of a mask, what counts as one lesion wherever lesions are counted, and the box around a mask."""

from __future__ import annotations

import cc3d
import numpy as np


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components of a mask; pixels belong together that touch, be it with a corner (8 neighbours in 2-D, 26 in 3-D).

    Args:
        mask: bool, `(slices, height, width)` or `(height, width)`.

    Returns:
        Label of each pixel `(slices, height, width)`, 0 is background; pixels of each label `(labels + 1,)`.
    """
    # Of the 26 neighbours in a volume of one slice, the 8 within the slice remain.
    volume = mask[np.newaxis] if mask.ndim == 2 else mask
    labels, n = cc3d.connected_components(volume, connectivity=26, return_N=True)
    return labels, np.bincount(labels.ravel(), minlength=n + 1)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask; empty where that is.

    Args:
        mask: bool, of any number of axes.
    """
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0))
    return tuple(box)
