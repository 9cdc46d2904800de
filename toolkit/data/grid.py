"""To the model's square grid and back, keeping the proportions of the slice."""

from __future__ import annotations

import cv2
import numpy as np


def to_grid(images: np.ndarray, size: int) -> np.ndarray:
    """Pad slices to a square with zeros and resize them.

    Shrinking averages areas, so that no pixel is lost between samples; growing is
    bilinear.

    Args:
        images: `(slices, height, width, channels)`, normalised (0 is background).
        size: height and width of the grid in pixels.

    Returns:
        `(slices, size, size, channels)` float32.
    """
    images = np.asarray(images, np.float32)
    side, (top, left) = _square(images.shape[1:3])
    square = np.zeros((len(images), side, side, images.shape[3]), np.float32)
    square[:, top : top + images.shape[1], left : left + images.shape[2]] = images
    return _resize(square, size)


def mask_to_grid(mask: np.ndarray, size: int, classes: int) -> np.ndarray:
    """Truth of each class on the model's grid.

    Args:
        mask: `(slices, height, width)` integer labels.
        size: height and width of the grid in pixels.
        classes: 1 for tumour (any label) or not; K for one channel for each label 1..K.

    Returns:
        `(slices, size, size, classes)` float32 of 0 and 1: a grid pixel belongs to a
        class if at least half of its area does.
    """
    labels = mask[..., None] > 0 if classes == 1 else mask[..., None] == np.arange(1, classes + 1)
    return (to_grid(labels, size) >= 0.5).astype(np.float32)


def from_grid(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring maps on the model's grid back to the size of the slice.

    Args:
        grid: `(slices, size, size, channels)`.
        height: of the slice in pixels.
        width: of the slice in pixels.

    Returns:
        `(slices, height, width, channels)` float32.
    """
    side, (top, left) = _square((height, width))
    return _resize(np.asarray(grid, np.float32), side)[:, top : top + height, left : left + width]


def _square(shape: tuple[int, ...]) -> tuple[int, tuple[int, int]]:
    side = max(shape[0], shape[1])
    return side, ((side - shape[0]) // 2, (side - shape[1]) // 2)


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[1] == size:
        return images
    interpolation = cv2.INTER_AREA if images.shape[1] > size else cv2.INTER_LINEAR
    resized = [cv2.resize(image, (size, size), interpolation=interpolation) for image in images]
    return np.stack(resized).reshape(len(images), size, size, images.shape[3])
