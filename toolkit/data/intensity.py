"""Intensity range of a case, and normalisation by it.

The range does not change its meaning under ``a * x + b`` with ``a > 0``, so a
16-bit scan and an 8-bit picture of it are normalised to the same values.
"""

from __future__ import annotations

import numpy as np

LOW_PERCENT, HIGH_PERCENT = 1, 99
CLIP = 1.5
HEAD_LEVEL = 0.1  # of intensities in 0-1: below it, inside the range of a case, lies air


def intensity_range(images: np.ndarray) -> np.ndarray:
    """Robust range of each modality over a whole case.

    The low end is the 1st percentile of all pixels (air, where there is any);
    the high end is the 99th percentile of the head, that is of the pixels above
    the case's mean. Both percentiles are values that occur in the image
    (NumPy's ``inverted_cdf``), which an exported graph can find by counting alone.

    Args:
        images: `(slices, height, width, modalities)`, any real type.

    Returns:
        `(modalities, 2)` float32, low and high; high > low always.
    """
    flat = np.asarray(images).reshape(-1, images.shape[-1])
    ranges = np.zeros((flat.shape[1], 2), np.float32)
    for channel in range(flat.shape[1]):
        pixels = flat[:, channel].astype(np.float32)
        n_head = np.count_nonzero(pixels > pixels.mean(dtype=np.float64))
        # Sorted, the head comes last. np.partition, which would do, takes ten times as long: most of air is alike.
        pixels.sort()
        low = _percentile(pixels, LOW_PERCENT)
        high = _percentile(pixels[-n_head:], HIGH_PERCENT) if n_head else low
        ranges[channel] = low, high if high > low else low + 1.0
    return ranges


def _percentile(ordered: np.ndarray, percent: int) -> np.float32:
    """The smallest value that `percent` of all values do not exceed; in whole numbers, as NumPy rounds in float32."""
    return ordered[max(-(-percent * ordered.size // 100) - 1, 0)]


def normalise(images: np.ndarray, value_range: np.ndarray) -> np.ndarray:
    """Map the range to [0, 1] and clip to [0, 1.5], in float32.

    Args:
        images: `(..., modalities)`, values as stored.
        value_range: `(modalities, 2)` from `intensity_range`.
    """
    low, high = np.asarray(value_range, np.float32).T
    return np.clip((np.asarray(images, np.float32) - low) / (high - low), 0.0, CLIP)
