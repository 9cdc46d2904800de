"""On which side of the head a tumour lies, as the patient has it: left is the patient's left."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cc3d
import numpy as np

from toolkit.data.intensity import HEAD_LEVEL

Side = Literal["left", "right", "both", "midline", "unknown"]
# Up to this share of a lesion may lie beyond the middle, which is known to some millimetres only.
BEYOND_MIDDLE = 0.1
# Of the largest section through the head; where an outermost one shows more, the head is cut off there.
WHOLE_HEAD = 0.5
HEAD_PIXELS = 256  # along an axis, that the middle is found by


class HeadMiddle(NamedTuple):
    """The plane between the halves of a head.

    Args:
        axis: 0, 1 or 2 of `(slice, row, column)`, the one that runs from one side of the patient to the other.
        position: where along it the middle is; may lie between two pixels.
        grows_to_right: whether indices grow towards the patient's right.
    """

    axis: int
    position: float
    grows_to_right: bool


def head_middle(image: np.ndarray, value_range: tuple[float, float], affine: np.ndarray | None) -> HeadMiddle | None:
    """Find the middle of a head between its own two sides; the image may show it off centre.

    The head is the largest connected part brighter than `HEAD_LEVEL` of the case's range. On every line across the
    patient the middle is half way between the head's first and last pixel, and the median of all lines counts, so that
    an ear or a lead does not move it.

    Args:
        image: `(slices, height, width)`, one modality, values as stored.
        value_range: of `toolkit.data.intensity` of that modality.
        affine: `(4, 4)`, maps `(slice, row, column)` indices to world RAS mm; None where directions are unknown.

    Returns:
        None where directions are unknown, or the head is cut off at a side, as in a lone sagittal slice.
    """
    if affine is None:
        return None
    from nibabel import orientations  # where directions are known it is loaded anyway

    # Of a large scan every other pixel tells as much.
    steps = np.maximum(1, np.array(image.shape) // HEAD_PIXELS)
    image = image[tuple(slice(None, None, step) for step in steps)]
    low, high = value_range
    head = cc3d.largest_k(image > low + HEAD_LEVEL * (high - low), k=1, connectivity=6) > 0
    stored = orientations.io_orientation(affine)
    axis = int(np.flatnonzero(stored[:, 0] == 0)[0])
    lines = np.moveaxis(head, axis, -1)
    sections = lines.sum(axis=(0, 1))
    if max(sections[0], sections[-1]) >= WHOLE_HEAD * sections.max():
        return None
    lines = lines[lines.any(axis=-1)]
    first, last = lines.argmax(axis=-1), lines.shape[-1] - 1 - lines[:, ::-1].argmax(axis=-1)
    position = float(np.median((first + last) / 2) * steps[axis])
    return HeadMiddle(axis, position, bool(stored[axis, 1] > 0))


def side_of(lesions: np.ndarray, sizes: np.ndarray, middle: HeadMiddle | None) -> Side | None:
    """Side of a tumour.

    - `left`, `right`: nine tenths of it, or more, lie on that side of the patient.
    - `midline`: else, where at least half of it belongs to lesions that reach over the middle themselves, with more
      than a tenth on either side.
    - `both`: else; separate lesions lie on either side.
    - `unknown`: the middle is.

    Args:
        lesions: `(slices, height, width)`, and
        sizes: `(lesions + 1,)`, of `toolkit.components.components`.
        middle: of the head.

    Returns:
        None where there is no tumour.
    """
    sizes = sizes[1:]
    if not sizes.size:
        return None
    if middle is None:
        return "unknown"
    tumour = lesions > 0
    places = np.indices(lesions.shape, sparse=True)[middle.axis]
    # A pixel that the middle goes through lies half on either side.
    above = np.broadcast_to(np.sign(places - middle.position) / 2 + 0.5, lesions.shape)[tumour]
    on_right = np.bincount(lesions[tumour], above if middle.grows_to_right else 1 - above)[1:]
    share = on_right.sum() / sizes.sum()
    if share >= 1 - BEYOND_MIDDLE:
        return "right"
    if share <= BEYOND_MIDDLE:
        return "left"
    crossing = np.minimum(on_right, sizes - on_right) > BEYOND_MIDDLE * sizes
    return "midline" if 2 * sizes[crossing].sum() >= sizes.sum() else "both"
