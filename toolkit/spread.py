"""Some of many, evenly spread."""

from __future__ import annotations

import numpy as np


def evenly_spread(n_all: int, most: int) -> np.ndarray:
    """At most so many of the indices 0 to `n_all - 1`, evenly spread, with both ends."""
    return np.unique(np.linspace(0, n_all - 1, min(n_all, most)).round().astype(int))
