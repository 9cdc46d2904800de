"""Masks drawn as pictures: which of their grey values mean tumour."""

from __future__ import annotations

import numpy as np


def full_scale(largest: float) -> int:
    """The white of soft masks whose largest value is `largest`: 1, 255 or 65535."""
    return next((white for white in (1, 255) if largest <= white), 65535)


def binary_mask(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Background and tumour of a mask of two values, or of many shades.

    - Only 0: nothing is tumour.
    - 0 and one other value, or one other value everywhere: that value is tumour.
    - Anything else is soft, as JPEG and resampling leave a mask: tumour is where the value is at
      least half of full scale, see `full_scale`.

    Args:
        values: `(N, H, W)`, the whole case, of any type; none is negative.

    Returns:
        The mask `(N, H, W)` uint8, tumour 1, and whether it was soft.
    """
    largest = values.max()
    if all(((rows == 0) | (rows == largest)).all() for rows in values):
        return (values != 0).astype(np.uint8), False
    return (values >= full_scale(largest) / 2).astype(np.uint8), True
