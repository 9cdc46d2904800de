"""A case in pieces: runs of whole windows, so that a server decides every slice as it would in the whole case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.config import WindowRecipe
from toolkit.data.windows import windows


@dataclass(frozen=True)
class Piece:
    """Neighbouring slices that are sent together.

    Args:
        start: first slice.
        stop: the slice behind the last.
        counts: `(stop - start,)` bool, True where the answer of this piece is kept. Every slice of the case counts
            in exactly one piece.
    """

    start: int
    stop: int
    counts: np.ndarray


def pieces(n_slices: int, window: WindowRecipe, longest: int) -> list[Piece]:
    """Cut a case of `n_slices` into pieces of whole windows.

    Inside a piece the server plans the very windows that the case has there, as these step evenly and only the last
    one is moved; so what they say of the slices that count in them is what they would say of the whole case.

    Args:
        n_slices: length of the case.
        window: the model's.
        longest: slices that a piece should not exceed; one window is the least.
    """
    result: list[Piece] = []
    for part in windows(n_slices, window.slices, window.halo):
        stop = min(part.start + window.slices, n_slices)
        kept = part.slices[part.counts]
        if not result or stop - result[-1].start > longest:
            result.append(Piece(part.start, part.start, np.zeros(0, bool)))
        last = result.pop()
        counts = np.concatenate([last.counts, np.zeros(stop - last.stop, bool)])
        counts[kept - last.start] = True
        result.append(Piece(last.start, stop, counts))
    return result
