"""Areas, volumes, diameters, lesions and side, counted on squared paper."""

import numpy as np
import pytest

from toolkit.config import ModelRecipe
from toolkit.inference.measures import measure
from toolkit.inference.side import HeadMiddle

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
    for name in ("largest_diameter_mm", "perpendicular_diameter_mm", "diameter_product_mm2", "diameter_slice_index"):
        assert result[name] is None
    assert result["number_of_lesions"] == 1
    assert (result["slices_with_tumour"], result["total_pixels"]) == (2, 10)


def test_a_lone_slice_has_an_area_but_no_volume():
    result = measure(MASK[1:2], SPACING_MM, ONE)
    assert result["volume_ml"] is None
    assert result["area_mm2"] == pytest.approx([6])


def test_without_tumour_all_is_zero():
    result = measure(np.zeros_like(MASK), SPACING_MM, ONE)
    assert (result["slices_with_tumour"], result["total_pixels"], result["volume_ml"]) == (0, 0, 0)
    assert (result["number_of_lesions"], result["largest_diameter_mm"], result["diameter_product_mm2"]) == (0, 0, 0)
    assert result["side"] is None
    assert result["diameter_slice_index"] is None


def test_diameters_are_those_of_the_slice_with_the_largest_product():
    """Slice 1: 2 rows of 0.5 mm by 3 columns of 2 mm. Diagonal sqrt(37); across it 1 / cos a, cos a = 6 / sqrt(37)."""
    result = measure(MASK, SPACING_MM, ONE)
    assert result["largest_diameter_mm"] == pytest.approx(37**0.5)
    assert result["perpendicular_diameter_mm"] == pytest.approx(37**0.5 / 6)
    assert result["diameter_product_mm2"] == pytest.approx(37 / 6)
    assert result["diameter_slice_index"] == 1


def test_a_lesion_goes_on_in_the_next_slice_and_with_a_corner():
    assert measure(MASK, SPACING_MM, ONE)["number_of_lesions"] == 1
    apart = MASK.copy()
    apart[2] = 0
    apart[2, 4, 4] = 1
    assert measure(apart, SPACING_MM, ONE)["number_of_lesions"] == 2


def test_the_side_is_told_where_the_middle_of_the_head_is_known():
    assert measure(MASK, SPACING_MM, ONE)["side"] == "unknown"
    assert measure(MASK, SPACING_MM, ONE, HeadMiddle(2, 4.0, grows_to_right=False))["side"] == "right"
    assert measure(MASK, None, ONE, HeadMiddle(2, 4.0, grows_to_right=True))["side"] == "left"


def test_the_numbers_are_plain_so_that_they_can_be_written_as_json():
    result = measure(MASK, SPACING_MM, ONE)
    whole = ("total_pixels", "slices_with_tumour", "number_of_lesions", "diameter_slice_index")
    real = ("volume_ml", "largest_diameter_mm", "perpendicular_diameter_mm", "diameter_product_mm2")
    assert {type(value) for value in (*map(result.get, whole), *result["area_pixels"])} == {int}
    assert {type(value) for value in (*map(result.get, real), *result["area_mm2"])} == {float}


def test_several_regions_are_measured_each_also_where_they_overlap():
    nested = ModelRecipe(regions={"whole": [1, 2], "core": [2]})
    regions = measure(MASK, SPACING_MM, nested)["regions"]
    assert {name: region["total_pixels"] for name, region in regions.items()} == {"whole": 10, "core": 4}
    assert regions["core"]["volume_ml"] == pytest.approx(0.02)
    assert [regions[name]["slices_with_tumour"] for name in regions] == [2, 1]
    assert regions["core"]["largest_diameter_mm"] == pytest.approx((8**2 + 0.5**2) ** 0.5)
    assert regions["core"]["diameter_slice_index"] == 2
    assert measure(MASK, SPACING_MM, ONE)["regions"] == {}
