"""Runs of the figshare set: consecutive files of one patient put in order, and broken where they don't follow on.

Runs of more than ten slices are numbered as if file names had been sorted as
text: 0, 1, 10, 11, 2, 3, …. Here and there a run holds two series of one plane,
or slices were left out in between. How all this was found and how far it holds:
docs/reference/figshare-runs.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

THUMBNAIL = 64
# Numbers of one digit sort alike as text and as numbers.
SAME_EITHER_WAY = 10
# A link is broken if the slices are this unlike, and stand this much further apart than the links beside it.
UNLIKE = 0.75
JUMP = 1.5


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A slice, small and in a range of its own, so that scaling its values changes nothing.

    Args:
        image: `(height, width)`.

    Returns:
        `(64, 64)` float32, from the 1st percentile (0) to the 99th (1); all 0 where the slice is blank.
    """
    values = image.astype(np.float32)
    # Neither sums nor differences of values near the end of float32 may overflow.
    values /= max(float(values.max()), -float(values.min()), float(np.finfo(np.float32).tiny))
    small = np.asarray(cv2.resize(values, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.float32)
    low, high = np.percentile(small, [1, 99]).astype(np.float32)
    return np.clip((small - low) / (high - low), 0, 1) if high > low else np.zeros_like(small)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Normalised cross-correlation of two pictures, -1 to 1; a blank one is like every other."""
    one, other = one - one.mean(), other - other.mean()
    norms = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.vdot(one, other)) / norms if norms > 0 else 1.0


def sequences(thumbnails: Sequence[np.ndarray]) -> list[list[int]]:
    """The sequences of neighbouring slices in a run.

    Args:
        thumbnails: of the slices of a run, by file number.

    Returns:
        Indices into `thumbnails`: each once, each list a sequence in order.
    """
    order = _order(thumbnails)
    links = [correlation(thumbnails[one], thumbnails[other]) for one, other in pairwise(order)]
    parts = [[order[0]]]
    for index, item in enumerate(order[1:]):
        if _is_break(links, index):
            parts.append([])
        parts[-1].append(item)
    return parts


def _order(thumbnails: Sequence[np.ndarray]) -> list[int]:
    """The order, of those an export may have left, in which neighbours are most alike."""
    count = len(thumbnails)
    as_numbered = list(range(count))
    if count <= SAME_EITHER_WAY:
        return as_numbered
    orders = [as_numbered, _from_text_order(range(count)), _from_text_order(range(1, count + 1))]
    likeness = [[correlation(one, other) for other in thumbnails] for one in thumbnails]
    return max(orders, key=lambda order: sum(likeness[a][b] for a, b in pairwise(order)))


def _from_text_order(numbers: range) -> list[int]:
    """Where each of the numbers stands in the list of them sorted as text."""
    as_text = sorted(numbers, key=str)
    return [as_text.index(number) for number in numbers]


def _is_break(links: list[float], index: int) -> bool:
    """Whether a link is a jump; a run of two slices has none to compare it with."""
    beside = [links[other] for other in (index - 1, index + 1) if 0 <= other < len(links)]
    return bool(beside) and links[index] < UNLIKE and 1 - links[index] > JUMP * (1 - min(beside))
