"""The resize of `toolkit.data.grid` as matrices, so that a graph can do it for sizes known only when it runs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def resize_weights(n_from: Any, n_to: Any) -> tf.Tensor:
    """Share of each of `n_from` samples in each of `n_to`, `(n_to, n_from)` float32; rows sum to 1.

    Shrinking averages what each new sample covers, growing interpolates linearly between sample centres; the same
    as OpenCV's INTER_AREA and INTER_LINEAR, which `toolkit.data.grid` takes.

    Args:
        n_from: number of samples, an integer or a scalar tensor.
        n_to: number wanted, likewise.
    """
    return tf.cond(tf.less(n_to, n_from), lambda: _means(n_from, n_to), lambda: _interpolation(n_from, n_to))


def _means(n_from: Any, n_to: Any) -> tf.Tensor:
    scale = tf.cast(n_from, tf.float64) / tf.cast(n_to, tf.float64)
    first = tf.cast(tf.range(n_to), tf.float64)[:, None] * scale
    sample = tf.cast(tf.range(n_from), tf.float64)[None]
    covered = tf.minimum(first + scale, sample + 1) - tf.maximum(first, sample)
    return tf.cast(tf.maximum(covered, 0) / scale, tf.float32)


def _interpolation(n_from: Any, n_to: Any) -> tf.Tensor:
    scale = tf.cast(n_from, tf.float64) / tf.cast(n_to, tf.float64)
    place = (tf.cast(tf.range(n_to), tf.float64) + 0.5) * scale - 0.5
    place = tf.clip_by_value(place, 0, tf.cast(n_from, tf.float64) - 1)
    distance = tf.abs(place[:, None] - tf.cast(tf.range(n_from), tf.float64)[None])
    return tf.cast(tf.maximum(1 - distance, 0), tf.float32)


def resampled(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Resize within the plane.

    Args:
        images: `(n, height, width, channels)`.
        rows: weights `(new height, height)`.
        columns: weights `(new width, width)`.
    """
    # One after the other, said here: of sizes it does not know einsum may multiply both weights first, gigabytes.
    return tf.einsum("wW,nhWc->nhwc", columns, tf.einsum("hH,nHWc->nhWc", rows, images))
