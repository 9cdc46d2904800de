"""Connected components of a mask: what counts as one lesion, in metrics, in measures and in post-processing."""

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
