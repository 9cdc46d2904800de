"""The halo rule: which slices a window holds, and which of them count.

A volume of N slices is covered by windows of S neighbouring slices that step
by ``S - 2 * halo``. What a model says about a slice is taken from the window in
which the slice has at least ``halo`` neighbours on either side. At the ends of
a volume, where there is nothing further to see, windows are moved inward
and the end slices count too. Training, prediction, export and server all use
this rule. Cost per slice tends to ``S / (S - 2 * halo)`` whatever the length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """One window of a slice sequence.

    Args:
        start: place of the window's first slice in the sequence.
        slices: `(S,)` slice indices; the last is repeated where the volume has
            fewer than S slices.
        counts: `(S,)` bool, True where this window decides about its slice.
            Every slice of the volume counts in exactly one window.
    """

    start: int
    slices: np.ndarray
    counts: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """`(S,)` bool, False for repeats that only fill a short window."""
        return np.concatenate([[True], np.diff(self.slices) != 0])


def windows(n_slices: int, size: int, halo: int, shuffled: bool = False) -> list[Window]:
    """Windows of `size` slices that cover `n_slices` by the halo rule.

    Args:
        n_slices: length of the sequence, at least 1.
        size: slices in a window, S.
        halo: slices at either side that give context only; `2 * halo < size`.
        shuffled: the same windows over the slices in another order, which the number of slices decides:
            neighbours in a window are then slices from anywhere.

    Returns:
        Windows in order; each slice counts in exactly one of them.
    """
    if n_slices < 1 or halo < 0 or 2 * halo >= size:
        raise ValueError(f"no windows of {size} slices with halo {halo} over {n_slices} slices")
    order = np.random.default_rng(n_slices).permutation(n_slices) if shuffled else np.arange(n_slices)
    if n_slices <= size:
        slices = np.minimum(np.arange(size), n_slices - 1)
        return [Window(0, order[slices], np.arange(size) < n_slices)]
    inner = size - 2 * halo
    starts = [*range(0, n_slices - size, inner), n_slices - size]
    result, done = [], 0
    for start in starts:
        end = n_slices if start == n_slices - size else start + size - halo
        places = np.arange(start, start + size)
        result.append(Window(start, order[places], (places >= done) & (places < end)))
        done = end
    return result
