"""What is known of a case once the model has been asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Answer:
    """What a model, or several, said about a case; maps are as large as the case, and small in memory.

    What is None was not asked for, or can't be told by this kind of model file.

    Args:
        mask: `(slices, height, width)` uint8, labels, post-processed.
        highest_probability: `(slices,)` float32, calibrated, of a pixel to be in any region.
        review_score: how much the case needs a second look, 0 to 1.
        uncertainty: `(slices, height, width)` uint8, predictive entropy; 255 is one bit.
        disagreement: `(slices, height, width)` uint8, standard deviation of the members' probability; 255 is 0.5,
            the largest there can be. None of a single member.
        attention: `(slices, height, width)` uint8, mean of the attention gates; 255 is 1.
        grad_cam: `(slices, height, width)` uint8, what counted most for the mask; 255 is the case's largest.
        enhanced: `(slices, height, width)` uint8, what the network behind the enhancer saw of one modality; 255 is
            the brightest it sees (`toolkit.data.intensity.CLIP`).
    """

    mask: np.ndarray
    highest_probability: np.ndarray
    review_score: float
    uncertainty: np.ndarray
    disagreement: np.ndarray | None = None
    attention: np.ndarray | None = None
    grad_cam: np.ndarray | None = None
    enhanced: np.ndarray | None = None
