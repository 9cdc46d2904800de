"""What is asked of a model about a case hangs together: mask, probability, doubt."""

import numpy as np
import pytest

from tests.small_models import scan
from toolkit.data.case import Case
from toolkit.errors import ModelError
from toolkit.inference.examination import examine
from toolkit.inference.predictor import Predictor
from toolkit.models.model_file import PostProcessing


@pytest.fixture(scope="module")
def predictor(small_exports):
    return Predictor(small_exports.tflite())


@pytest.fixture(scope="module")
def case():
    return Case(scan(5, 40, 36), None, "patient", "case", ("t1c",))


def test_an_answer_is_of_the_probability_the_model_gives(predictor, case):
    answer = examine(predictor, case)
    p = predictor.predict(case.images)[..., 0].astype(np.float64)
    np.testing.assert_array_equal(answer.mask, p >= 0.5)
    np.testing.assert_allclose(answer.highest_probability, p.max(axis=(1, 2)), rtol=1e-6)
    bits = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    assert answer.uncertainty.dtype == np.uint8
    np.testing.assert_allclose(answer.uncertainty, 255 * bits, atol=0.51)
    in_question = p[p >= 0.1].sum()
    assert answer.review_score == pytest.approx(1 - 2 * p[p >= 0.5].sum() / ((p >= 0.5).sum() + in_question), rel=1e-4)


def test_where_nothing_is_marked_the_likeliest_pixel_counts(small_exports, case):
    predictor = Predictor(small_exports.tflite())
    highest = float(predictor.predict(case.images).max())
    predictor.info = predictor.info.model_copy(update={"threshold": 1.0})
    answer = examine(predictor, case)
    assert not answer.mask.any()
    assert answer.review_score == pytest.approx(min(1.0, highest / 0.5), rel=1e-3)


def test_certainty_is_told_calibrated_and_the_mask_is_not(small_exports, case):
    plain, cooled = (Predictor(small_exports.tflite()) for _ in range(2))
    cooled.info = cooled.info.model_copy(update={"temperature": 3.0})
    before, after = examine(plain, case), examine(cooled, case)
    np.testing.assert_array_equal(after.mask, before.mask)
    p = plain.predict(case.images)[..., 0].astype(np.float64)
    q = 1 / (1 + ((1 - p) / p) ** (1 / 3))
    np.testing.assert_allclose(after.highest_probability, q.max(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(after.uncertainty, -255 * (q * np.log2(q) + (1 - q) * np.log2(1 - q)), atol=0.6)


def test_what_the_network_saw_is_kept_of_the_modality_that_is_shown(small_exports, case):
    answer = examine(Predictor(small_exports.keras_file), case)
    seen = Predictor(small_exports.keras_file).inspect(case.images, wanted=["enhanced"])["enhanced"][..., 0]
    np.testing.assert_allclose(answer.enhanced, 255 * np.clip(seen / 1.5, 0, 1), atol=0.51)


def test_an_explanation_is_scaled_to_the_largest_of_the_case(small_exports, case):
    predictor = Predictor(small_exports.keras_file)
    answer = examine(predictor, case, explain=True)
    assert answer.grad_cam.max() == 255
    assert answer.attention is None  # this network has no gates
    raw = predictor.inspect(case.images, wanted=["grad_cam"])["grad_cam"][..., 0]
    np.testing.assert_allclose(answer.grad_cam, 255 * raw / raw.max(), atol=0.51)


def test_what_a_file_can_not_explain_is_refused(predictor, case):
    with pytest.raises(ModelError, match=r"does not show grad_cam; take the \.keras file"):
        examine(predictor, case, explain=True)


def test_holes_are_filled_as_for_a_whole_probability(small_exports, case):
    predictor = Predictor(small_exports.tflite())
    filled = PostProcessing(fill_holes=True, largest_only=True)
    predictor.info = predictor.info.model_copy(update={"post_processing": filled})
    expected = predictor.mask(predictor.predict(case.images))
    np.testing.assert_array_equal(examine(predictor, case).mask, expected)
