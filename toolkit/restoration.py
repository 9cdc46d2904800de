"""Loss and metrics of restored slices against clean ones, in backend-neutral Keras.

All take truth and restored slices `(batch, slices, height, width, modalities)`, normalised, and
give `(batch, slices)`, so that a slice can be weighed or left out.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from toolkit.data.intensity import HEAD_LEVEL

# Of intensities in 0-1; Wang et al. 2004, section III-B.
C1, C2 = 0.01**2, 0.03**2
SSIM_WINDOW, SSIM_STEP = 7, 4
PIXELS = (2, 3, 4)
AIR_WEIGHT = 0.1
LEAST = 1e-3  # what counts as no error at all, where it is the logarithm that counts


def restoration_loss(truth, restored, l1: float, ssim: float, logarithm: bool = False):
    """`l1 * mean absolute error + ssim * (1 - SSIM)` of every slice, both with air counting little.

    With `logarithm`, `log(loss + 0.001)`: to take a tenth off a slight damage is worth as much as off a heavy one,
    as it is in dB. Else the heavy ones, whose errors are largest, say nearly all that is learned.

    Head and air are told by the truth: a window of 7 x 7 pixels counts by its mean, up to a tenth of the
    range, and air still a tenth. Most of a picture is air, where any speck ruins SSIM: counted alike, a
    small network learns to make air black and blurs the head.
    """
    truth, restored = (ops.cast(images, "float32") for images in (truth, restored))
    n_slices = truth.shape[1]
    a, b = (ops.reshape(images, (-1, *truth.shape[2:])) for images in (truth, restored))
    mean_a = _window_mean(a)
    weight = ops.clip(mean_a / HEAD_LEVEL, AIR_WEIGHT, 1.0)
    error = l1 * _window_mean(ops.abs(a - b)) + ssim * (1.0 - _similarity(a, b, mean_a))
    loss = ops.sum(weight * error, axis=(1, 2, 3)) / ops.sum(weight, axis=(1, 2, 3))
    loss = ops.log(loss + LEAST) if logarithm else loss
    return ops.reshape(loss, (-1, n_slices))


def _similarity(a, b, mean_a):
    """SSIM of windows of 7 x 7 pixels (Wang et al. 2004, eq. 13); variances are those of the sample."""
    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    mean_b = _window_mean(b)
    variance_a = sample * (_window_mean(a * a) - mean_a * mean_a)
    variance_b = sample * (_window_mean(b * b) - mean_b * mean_b)
    covariance = sample * (_window_mean(a * b) - mean_a * mean_b)
    return ((2 * mean_a * mean_b + C1) * (2 * covariance + C2)) / (
        (mean_a * mean_a + mean_b * mean_b + C1) * (variance_a + variance_b + C2)
    )


def _window_mean(images):
    """Means of windows that step by 4 pixels: all windows would cost more than training the enhancer does."""
    return ops.average_pool(images, SSIM_WINDOW, strides=SSIM_STEP, padding="valid")


def peak_signal_to_noise(truth, restored):
    """PSNR of every slice in dB, of intensities in 0-1: `-10 log10(mean squared error)`, at most 100."""
    error = ops.mean(ops.square(ops.cast(truth, "float32") - ops.cast(restored, "float32")), axis=PIXELS)
    return -10.0 * ops.log10(ops.maximum(error, 1e-10))


@keras.saving.register_keras_serializable(package="bts")
class RestorationLoss(keras.losses.Loss):
    """Weighted sum of the mean absolute error and 1 - SSIM, mean over the slices that weigh (Zhao et al. 2017).

    Args:
        l1: weight of the mean absolute error.
        ssim: weight of 1 - SSIM.
        logarithm: of the sum, for each slice.
    """

    def __init__(
        self,
        l1: float = 1.0,
        ssim: float = 0.2,
        logarithm: bool = False,
        name: str = "restoration",
        reduction: str = "mean_with_sample_weight",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.l1, self.ssim, self.logarithm = l1, ssim, logarithm

    def call(self, y_true, y_pred):
        """Loss of each slice, `(batch, slices)`."""
        return restoration_loss(y_true, y_pred, self.l1, self.ssim, self.logarithm)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "l1": self.l1, "ssim": self.ssim, "logarithm": self.logarithm}


@keras.saving.register_keras_serializable(package="bts")
class PeakSignalToNoise(keras.metrics.MeanMetricWrapper):
    """Mean of `peak_signal_to_noise` over the slices that count (sample weight 1)."""

    def __init__(self, name: str = "psnr", dtype: Any = None) -> None:
        super().__init__(peak_signal_to_noise, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {"name": self.name, "dtype": self.dtype}
