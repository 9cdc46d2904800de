"""The plane of a sequence of head slices, told from what they show.

Four features that can be seen by eye, and a logistic regression on them. It
expects heads as this set hangs them: the top of the head, or the nose of an axial
slice, at the upper edge of the picture. What it was made from and how often it
is right: docs/reference/figshare-runs.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

# Below this probability the plane is not told.
SURE = 0.9
# Of the range of a thumbnail: air is below.
HEAD = 0.12
LEAST_PIXELS = 3  # in a row or column, to belong to the head
TILTS_DEGREES = range(-15, 16, 5)
REACH = 8  # how far off the centre of mass the mirror axis is looked for, in half pixels
# Weights of mirror, lower_edge, foot, aspect and 1 (benchmarks/figshare_runs.py prints them).
WEIGHTS = {
    "axial": (22.64, -15.17, 33.33, -10.78, -10.37),
    "coronal": (18.64, 8.66, -12.33, 15.41, -30.87),
    "sagittal": (-41.28, 6.51, -21.01, -4.62, 41.24),
}


def name_plane(thumbnails: Sequence[np.ndarray]) -> str:
    """The plane of a sequence: `axial`, `coronal`, `sagittal`, or `unknown` where that is not sure.

    Args:
        thumbnails: of its slices, as `figshare_runs.thumbnail` makes them.
    """
    features = plane_features(thumbnails)
    if features is None:
        return "unknown"
    scores = np.array(list(WEIGHTS.values())) @ np.append(features, 1.0)
    chances = np.exp(scores - scores.max())
    best = int(chances.argmax())
    return list(WEIGHTS)[best] if chances[best] >= SURE * chances.sum() else "unknown"


def plane_features(thumbnails: Sequence[np.ndarray]) -> np.ndarray | None:
    """`(4,)` means over the slices, or None where no slice shows a head.

    mirror: how like the left half is to the right; low in sagittal slices.
    lower_edge: share of the lower edge that the head touches; a neck does, a skull does not.
    foot: mean value in the lowest sixth of the head's box; bright where a neck fills it.
    aspect: height of the head's box over its width.
    """
    features = [_features(thumbnail) for thumbnail in thumbnails]
    seen = [one for one in features if one is not None]
    return np.mean(seen, axis=0) if seen else None


def _features(thumbnail: np.ndarray) -> tuple[float, float, float, float] | None:
    head = thumbnail > HEAD
    rows = np.flatnonzero(head.sum(axis=1) > LEAST_PIXELS)
    columns = np.flatnonzero(head.sum(axis=0) > LEAST_PIXELS)
    if not len(rows) or not len(columns):
        return None
    box = thumbnail[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = box.shape
    foot = float(box[height - max(1, height // 6) :].mean())
    return _mirror(thumbnail), float(head[-3:].mean()), foot, height / width


def _mirror(thumbnail: np.ndarray) -> float:
    """Correlation of edges with their mirror image, about the best of axes near the centre, upright or tilted.

    Edges, as the coil makes one side brighter than the other.
    """
    smooth = cv2.GaussianBlur(thumbnail, (0, 0), 1.5)
    edges = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    size = len(edges)
    middle = ((size - 1) / 2, (size - 1) / 2)
    turns = [cv2.getRotationMatrix2D(middle, tilt, 1.0) for tilt in TILTS_DEGREES]
    return max(_upright_mirror(cv2.warpAffine(edges, turn, (size, size))) for turn in turns)


def _upright_mirror(picture: np.ndarray) -> float:
    size = picture.shape[1]
    weight = picture.sum(axis=0)
    centre = round(2 * float(weight @ np.arange(size)) / max(float(weight.sum()), 1e-12))
    best = -1.0
    # `axis` is twice the mirror's column; only what has a mirror image inside the picture is compared.
    for axis in range(max(1, centre - REACH), min(2 * size - 3, centre + REACH) + 1):
        part = picture[:, max(0, axis - size + 1) : min(size - 1, axis) + 1]
        part = part - part.mean()
        best = max(best, float(np.vdot(part, part[:, ::-1])) / max(float(np.vdot(part, part)), 1e-12))
    return best
