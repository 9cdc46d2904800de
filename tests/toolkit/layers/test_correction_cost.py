"""The price on changing the image: its value by hand, and that it is paid in training."""

import keras
import numpy as np
import pytest

from toolkit.config import load_recipe
from toolkit.layers.correction_cost import CorrectionCost
from toolkit.losses import DiceFocalLoss
from toolkit.models.segmenter import build_segmenter


def test_it_costs_the_mean_absolute_correction_and_changes_nothing():
    layer = CorrectionCost(0.5)
    enhanced = np.array([[0.2, 0.5]], np.float32)
    passed = layer([np.array([[0.1, 0.8]], np.float32), enhanced])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(passed), enhanced)
    assert float(layer.losses[0]) == pytest.approx(0.5 * (0.1 + 0.3) / 2)


def test_a_segmenter_pays_it_in_training():
    losses = []
    for weight in (0.0, 10.0):
        model = build_segmenter(load_recipe("tiny", [f"loss.correction={weight}"]), 1)
        # Twice as bright: the mean absolute correction is that of the slices.
        gain = model.get_layer("enhancer_gain_out")
        gain.set_weights([gain.get_weights()[0], np.full_like(gain.get_weights()[1], 100)])
        model.compile("sgd", loss={"probability": DiceFocalLoss()}, jit_compile=False)
        slices = np.full((1, 4, 32, 32, 1), 0.3, np.float32)
        losses.append(model.evaluate({"slices": slices}, {"probability": np.zeros_like(slices)}, verbose=0))
    assert losses[1] - losses[0] == pytest.approx(10 * 0.3, rel=1e-4)
