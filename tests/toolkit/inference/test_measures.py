"""Areas and volumes, counted on squared paper."""

import numpy as np
import pytest

from toolkit.config import ModelRecipe
from toolkit.inference.measures import measure

MASK = np.zeros((3, 5, 5), np.uint8)
MASK[1, :2, :3] = 1  # 6 pixels
MASK[2, 0, :4] = 2  # 4 pixels, of another label
SPACING_MM = (5.0, 0.5, 2.0)
ONE = ModelRecipe()


def test_worked_by_hand():
    result = measure(MASK, SPACING_MM, ONE)
    assert result["slices_with_tumour"] == 2
    assert result["area_pixels"] == [0, 6, 4]
    assert result["total_pixels"] == 10
    assert result["area_mm2"] == pytest.approx([0, 6, 4])  # a pixel is 0.5 x 2 = 1 mm2
    assert result["volume_ml"] == pytest.approx(0.05)  # 10 pixels of 5 mm3 are 50 mm3


def test_area_goes_with_rows_and_columns_and_volume_with_the_slice_distance_too():
    assert measure(MASK, (5.0, 0.5, 0.25), ONE)["area_mm2"] == pytest.approx([0, 0.75, 0.5])
    assert measure(MASK, (10.0, 0.5, 2.0), ONE)["volume_ml"] == pytest.approx(0.1)


def test_where_spacing_is_unknown_only_pixels_are_told():
    result = measure(MASK, None, ONE)
    assert result["volume_ml"] is None
    assert result["area_mm2"] is None
    assert (result["slices_with_tumour"], result["total_pixels"]) == (2, 10)


def test_a_lone_slice_has_an_area_but_no_volume():
    result = measure(MASK[1:2], SPACING_MM, ONE)
    assert result["volume_ml"] is None
    assert result["area_mm2"] == pytest.approx([6])


def test_without_tumour_all_is_zero():
    result = measure(np.zeros_like(MASK), SPACING_MM, ONE)
    assert (result["slices_with_tumour"], result["total_pixels"], result["volume_ml"]) == (0, 0, 0)


def test_the_numbers_are_plain_so_that_they_can_be_written_as_json():
    result = measure(MASK, SPACING_MM, ONE)
    assert {type(value) for value in (result["total_pixels"], *result["area_pixels"])} == {int}
    assert {type(value) for value in (result["volume_ml"], *result["area_mm2"])} == {float}


def test_several_regions_are_measured_each_also_where_they_overlap():
    nested = ModelRecipe(regions={"whole": [1, 2], "core": [2]})
    regions = measure(MASK, SPACING_MM, nested)["regions"]
    assert {name: region["total_pixels"] for name, region in regions.items()} == {"whole": 10, "core": 4}
    assert regions["core"]["volume_ml"] == pytest.approx(0.02)
    assert measure(MASK, SPACING_MM, ONE)["regions"] == {}
