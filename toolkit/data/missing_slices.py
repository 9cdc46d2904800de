"""Slices that were never taken, or got lost: finding them, and filling them from their neighbours."""

from __future__ import annotations

import numpy as np


def find_missing(images: np.ndarray) -> np.ndarray:
    """Slices that hold one value only, while there is a picture somewhere on either side of them.

    Empty slices at the ends of a volume are air, not missing.

    Args:
        images: `(slices, height, width, modalities)`.

    Returns:
        `(slices,)` bool.
    """
    blank = (images == images[:, :1, :1]).all(axis=(1, 2, 3))
    seen = np.flatnonzero(~blank)
    missing = np.zeros(len(images), bool)
    if seen.size:
        missing[seen[0] : seen[-1]] = blank[seen[0] : seen[-1]]
    return missing


def fill_missing(images: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Each missing slice becomes the linear interpolation of the nearest slices that are there.

    At an end, where there is one on one side only, it becomes a copy of that one.

    Args:
        images: `(slices, height, width, modalities)`, real; what missing slices hold does not matter.
        missing: `(slices,)` bool.

    Returns:
        The same shape and type where that is a floating-point type, else float32.

    Raises:
        ValueError: no slice is there.
    """
    there = np.flatnonzero(~missing)
    if not there.size:
        raise ValueError("every slice is missing")
    filled = images.astype(np.result_type(images.dtype, np.float32))
    for index in np.flatnonzero(missing):
        after = int(np.searchsorted(there, index))
        below, above = there[max(after - 1, 0)], there[min(after, len(there) - 1)]
        share = (index - below) / (above - below) if below < index < above else float(after > 0)
        filled[index] = (1 - share) * images[below] + share * images[above]
    return filled
