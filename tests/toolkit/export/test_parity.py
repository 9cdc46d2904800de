"""How far an export is from Keras, worked by hand, and what is still let through."""

import json

import numpy as np
import pytest

from tests.small_models import small_info
from toolkit.data.intensity import intensity_range, normalise
from toolkit.export.parity import Probe, judge_parity, rescaled
from toolkit.inference.runtimes.runtime import WholeCaseRuntime


class Told(WholeCaseRuntime):
    """Gives the answers it was told, one a case."""

    name = "told"

    def __init__(self, *answers):
        self.info, self._answers = small_info(), iter(answers)

    def probability(self, images, value_range, spacing_mm):
        return next(self._answers)


def case(truth=None):
    images = np.arange(100, dtype=np.int16).reshape(1, 10, 10, 1)
    return Probe("case", images, intensity_range(images), None, truth)


def pixels(*values):
    """One slice of 10 x 10 pixels of probability 0, but for the first of them."""
    flat = np.zeros(100, np.float32)
    flat[: len(values)] = values
    return flat.reshape(1, 10, 10, 1)


def truth(n):
    mask = np.zeros(100, np.uint8)
    mask[:n] = 1
    return mask.reshape(1, 10, 10)


def test_the_numbers_are_those_worked_by_hand():
    """Keras marks four pixels, the export two of them; the truth is three."""
    reference, exported = pixels(0.9, 0.9, 0.9, 0.9), pixels(0.9, 0.7, 0.4, 0.4)
    row = judge_parity("dynamic", [reference], Told(exported), [case(truth(3))])
    assert row["max_difference"] == pytest.approx(0.5)
    # Of 100 differences in order the 99.9th percentile lies 0.901 of the way from the 99th to the last; both are 0.5.
    assert row["p999_difference"] == pytest.approx(0.5)
    assert row["dice_between"] == pytest.approx(2 * 2 / (4 + 2))
    # Against the truth: 2 * 2 / (3 + 2) less 2 * 3 / (3 + 4).
    assert row["dice_change"] == pytest.approx(4 / 5 - 6 / 7)
    assert row["slices"] == 1
    assert (row["judged_by"], row["off_by"]) == ("dice_change", pytest.approx(6 / 7 - 4 / 5))
    assert not row["passed"]


def test_the_percentile_tells_one_bad_pixel_from_many():
    """One pixel of a thousand is off: 0.999 of the way, between the 999th and the last value, lies 0.1 %."""
    reference = np.zeros((10, 10, 10, 1), np.float32)
    exported = reference.copy()
    exported[0, 0, 0] = 0.3
    row = judge_parity("float32", [reference], Told(exported), [case()._replace(images=np.zeros((10, 10, 10, 1)))])
    assert row["max_difference"] == pytest.approx(0.3)
    assert row["p999_difference"] == pytest.approx(0.3 * 0.001, abs=2e-5)


def test_two_empty_masks_agree_and_a_slice_without_tumour_has_no_say_about_the_truth():
    reference = [pixels(), pixels(0.9, 0.9)]
    row = judge_parity("dynamic", reference, Told(pixels(), pixels(0.9)), [case(truth(0)), case(truth(1))])
    assert row["dice_between"] == pytest.approx((1 + 2 / 3) / 2)
    assert row["dice_change"] == pytest.approx(1 - 2 / 3)
    assert row["slices"] == 2


def test_an_export_in_float32_is_judged_by_its_worst_pixel():
    for factor, passed in ((0.9, True), (1.1, False)):
        row = judge_parity("float32", [pixels(0.2)], Told(pixels(0.2 + 1e-4 * factor)), [case(truth(1))])
        assert (row["judged_by"], row["tolerance"], row["passed"]) == ("max_difference", 1e-4, passed)


def test_of_float16_a_pixel_in_ten_thousand_may_be_far_off_but_not_one_in_a_hundred():
    reference, images = np.zeros((10, 100, 10, 1), np.float32), np.zeros((10, 100, 10, 1))
    for wrong, passed in ((1, True), (100, False)):
        exported = reference.copy()
        exported.ravel()[:wrong] = 0.01
        row = judge_parity("float16", [reference], Told(exported), [case()._replace(images=images)])
        assert (row["judged_by"], row["tolerance"], row["passed"]) == ("p999_difference", 5e-3, passed)
        assert row["max_difference"] == pytest.approx(0.01)


@pytest.mark.parametrize("precision", ["dynamic", "int8"])
def test_an_integer_export_is_judged_by_dice_whichever_way_it_changes(precision):
    """A probability that moves and marks nothing else is no harm; a Dice that rises is a change too."""
    moved = judge_parity(precision, [pixels(0.9)], Told(pixels(0.6)), [case(truth(1))])
    assert moved["passed"] is True
    assert moved["max_difference"] == pytest.approx(0.3)
    better = judge_parity(precision, [pixels(0.9, 0.9)], Told(pixels(0.9)), [case(truth(1))])
    assert better["dice_change"] > 0.01
    assert better["passed"] is False


def test_without_a_truth_masks_may_differ_by_as_little():
    alike = judge_parity("int8", [pixels(0.9, 0.9)], Told(pixels(0.8, 0.8)), [case()])
    apart = judge_parity("int8", [pixels(0.9, 0.9)], Told(pixels(0.8, 0.4)), [case()])
    assert alike["dice_change"] is apart["dice_change"] is None
    assert alike["passed"] is True
    assert apart["dice_between"] == pytest.approx(2 / 3)
    assert (apart["judged_by"], apart["off_by"]) == ("dice_between", pytest.approx(1 / 3))
    assert apart["passed"] is False


def test_a_probability_that_is_no_number_is_let_through_nowhere():
    for precision in ("float32", "float16", "dynamic", "int8"):
        row = judge_parity(precision, [pixels(0.1)], Told(pixels(np.nan)), [case(truth(1))])
        assert row["passed"] is False


def test_numbers_can_be_written_as_json():
    row = judge_parity("float32", [pixels(0.9)], Told(pixels(0.9)), [case(truth(1))])
    assert json.loads(json.dumps(row))["passed"] is True


# --- the same case, as another scanner stores it ----------------------------------


@pytest.mark.parametrize(("largest", "kind"), [(255, np.int16), (2041, np.int16), (2042, np.int32), (32767, np.int32)])
def test_a_rescaled_case_fits_its_type_and_looks_the_same_to_the_network(largest, kind):
    """16 x 2041 + 100 is 32756, which int16 holds; of 2042 it is 32772, which it does not."""
    images = np.linspace(0, largest, 200).round().astype(np.int16).reshape(2, 10, 10, 1)
    again = rescaled(Probe("case", images, intensity_range(images), (3.0, 1.0, 1.0), None))
    assert again.images.dtype == kind
    np.testing.assert_array_equal(again.images, images.astype(np.int64) * 16 + 100)
    np.testing.assert_allclose(
        normalise(again.images, again.value_range), normalise(images, intensity_range(images)), atol=1e-6
    )
    assert (again.name, again.spacing_mm) == ("case, rescaled", (3.0, 1.0, 1.0))
