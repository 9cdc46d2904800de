"""Loss and metric of restored slices, against scikit-image and by hand."""

import keras
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from toolkit.restoration import PeakSignalToNoise, RestorationLoss, peak_signal_to_noise, restoration_loss

RNG = np.random.default_rng(0)
# Brighter than a tenth everywhere: all windows count alike.
TRUTH = RNG.uniform(0.3, 0.9, (1, 2, 27, 31, 2)).astype(np.float32)
RESTORED = np.clip(TRUTH + RNG.normal(0, 0.1, TRUTH.shape), 0, 1).astype(np.float32)


def loss(l1, ssim, truth=TRUTH, restored=RESTORED):
    return keras.ops.convert_to_numpy(restoration_loss(truth, restored, l1, ssim))


def test_the_ssim_part_is_scikit_images_in_every_fourth_window():
    expected = []
    for truth, restored in zip(TRUTH[0], RESTORED[0], strict=True):
        _, full = structural_similarity(truth, restored, data_range=1.0, channel_axis=-1, full=True)
        expected.append(1 - full[3:-3:4, 3:-3:4].mean())
    np.testing.assert_allclose(loss(0, 1)[0], expected, atol=1e-5)


def test_the_l1_part_of_an_even_error_is_that_error():
    np.testing.assert_allclose(loss(2.0, 0, restored=TRUTH + 0.05), 0.1, rtol=1e-4)


def test_a_perfect_answer_costs_nothing():
    np.testing.assert_allclose(loss(1, 1, restored=TRUTH), 0, atol=1e-6)


def test_of_logarithms_a_tenth_less_of_any_error_is_worth_the_same():
    def worth(error):
        return restoration_loss(TRUTH, TRUTH + error, 1.0, 0, True) - restoration_loss(
            TRUTH, TRUTH + 0.9 * error, 1.0, 0, True
        )

    # But for the least error that counts.
    np.testing.assert_allclose(worth(0.2), np.log(0.201 / 0.181), rtol=1e-3)
    np.testing.assert_allclose(worth(0.02), np.log(0.021 / 0.019), rtol=1e-3)


def test_an_error_in_air_costs_a_tenth_of_one_in_the_head():
    truth = np.zeros((1, 1, 7, 15, 1), np.float32)
    truth[:, :, :, :7] = 0.5  # three windows: the head, a mixed one, air
    in_head, in_air = truth.copy(), truth.copy()
    in_head[:, :, :, :2] += 0.1
    in_air[:, :, :, -2:] += 0.1
    assert loss(1, 0, truth, in_head)[0, 0] == pytest.approx(10 * loss(1, 0, truth, in_air)[0, 0], rel=1e-4)


def test_psnr_is_scikit_images():
    expected = [peak_signal_noise_ratio(t, r, data_range=1.0) for t, r in zip(TRUTH[0], RESTORED[0], strict=True)]
    np.testing.assert_allclose(peak_signal_to_noise(TRUTH, RESTORED)[0], expected, rtol=1e-5)


def test_slices_without_weight_do_not_count():
    metric = PeakSignalToNoise()
    metric.update_state(TRUTH, RESTORED, sample_weight=np.array([[0.0, 1.0]]))
    assert float(metric.result()) == pytest.approx(float(peak_signal_to_noise(TRUTH, RESTORED)[0, 1]))
    value = RestorationLoss(1, 0.2)(TRUTH, RESTORED, sample_weight=np.array([[0.0, 1.0]]))
    assert float(value) == pytest.approx(float(loss(1, 0.2)[0, 1]), rel=1e-6)


def test_loss_and_metric_are_made_again_from_their_config():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(RestorationLoss(0.5, 0.7, True)))
    assert (again.l1, again.ssim, again.logarithm) == (0.5, 0.7, True)
    assert PeakSignalToNoise.from_config(PeakSignalToNoise().get_config()).name == "psnr"
