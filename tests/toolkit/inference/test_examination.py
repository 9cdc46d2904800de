"""What is asked of a model about a case hangs together: mask, probability, doubt."""

import numpy as np
import pytest

from tests.small_models import scan
from toolkit.data.case import Case
from toolkit.inference.examination import examine
from toolkit.inference.predictor import Predictor


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
    assert answer.review_score == pytest.approx(1 - 2 * p[p >= 0.5].sum() / ((p >= 0.5).sum() + p.sum()), rel=1e-5)


def test_where_nothing_is_marked_the_likeliest_pixel_counts(predictor, case, monkeypatch):
    probability = np.full((1, 4, 4, 1), 0.1, np.float32)
    probability[0, 2, 2] = 0.4
    monkeypatch.setattr(predictor, "predict", lambda images, spacing_mm: probability)
    assert examine(predictor, case).review_score == pytest.approx(0.8)
