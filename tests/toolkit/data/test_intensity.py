"""A 16-bit scan and an 8-bit picture of it come out alike."""

import numpy as np
import pytest

from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.sources.phantom import phantom_cases


@pytest.fixture(scope="module")
def eight_bit():
    """Three cases of `(8, 32, 32, 1)`, scaled to 0-255 as an exporter does."""
    for_each = [case.images.astype(float) for case in phantom_cases(1, seed=4, size=32)]
    return [np.rint(255 * images / images.max()).astype(np.uint8) for images in for_each]


def test_the_range_worked_by_hand():
    """Of 0 … 199 the 1st percentile is the 2nd value; the head is 100 … 199, its 99th percentile the 99th value."""
    values = np.random.default_rng(0).permutation(200).astype(np.int16)
    assert intensity_range(values.reshape(2, 10, 10, 1)).tolist() == [[1, 198]]


def test_the_range_against_numpy(eight_bit):
    for images in eight_bit:
        pixels = images.ravel().astype(np.float64)
        low = np.percentile(pixels, 1, method="inverted_cdf")
        high = np.percentile(pixels[pixels > pixels.mean()], 99, method="inverted_cdf")
        assert intensity_range(images).tolist() == [[low, high]]


def test_both_ends_of_the_range_occur_in_the_image(eight_bit):
    scan = np.random.default_rng(0).normal(500, 200, (3, 20, 20, 2)).astype(np.float32)
    for images in (*eight_bit, scan):
        for channel, ends in enumerate(intensity_range(images)):
            assert np.isin(ends, images[..., channel]).all()


def test_sixteen_bits_and_eight_bits_are_normalised_to_the_same_values(eight_bit):
    for small in eight_bit:
        wide = 16 * small.astype(np.int16) + 100
        low, high = intensity_range(small)[0]
        assert intensity_range(wide).tolist() == [[16 * low + 100, 16 * high + 100]]
        here, there = normalise(small, intensity_range(small)), normalise(wide, intensity_range(wide))
        assert here.dtype == there.dtype == np.float32
        assert np.abs(here - there).max() < 1e-6
        assert here.std() > 0.1


def test_each_modality_has_a_range_of_its_own():
    values = np.arange(200, dtype=np.float32).reshape(2, 10, 10, 1)
    assert intensity_range(np.concatenate([values, 1000 + 3 * values], -1)).tolist() == [[1, 198], [1003, 1594]]


def test_the_range_maps_to_0_and_1_and_what_is_beyond_is_clipped():
    images = np.array([-50, 100, 150, 200, 240, 900], np.int16).reshape(1, 1, 6, 1)
    result = normalise(images, np.array([[100, 200]]))
    assert result.ravel() == pytest.approx([0, 0, 0.5, 1, 1.4, 1.5])


def test_a_window_of_a_case_is_normalised_as_within_the_case(eight_bit):
    images = eight_bit[0]
    of_case = intensity_range(images)
    assert (normalise(images[2:5], of_case) == normalise(images, of_case)[2:5]).all()
    assert (intensity_range(images[::-1]) == of_case).all()


@pytest.mark.parametrize("value", [0, 7, -3])
def test_a_constant_image_has_a_usable_range(value):
    images = np.full((2, 8, 8, 1), value, np.int16)
    low, high = intensity_range(images)[0]
    assert high > low
    assert (normalise(images, intensity_range(images)) == 0).all()
