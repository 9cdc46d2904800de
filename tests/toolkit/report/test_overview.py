"""The overview counts what is in a data set; every number here is worked by hand."""

import numpy as np
import pytest

from toolkit.data.case import Case
from toolkit.report import overview as overview_module
from toolkit.report.overview import DatasetOverview


@pytest.fixture
def overview():
    return DatasetOverview()


def case(slices, mask=None, name="a", patient="anna", modalities=("t1c",), **more):
    """A case of slices given as nested lists `(slices, rows, columns)`, the same in every modality."""
    images = np.repeat(np.asarray(slices, np.int16)[..., None], len(modalities), axis=-1)
    labels = None if mask is None else np.asarray(mask, np.uint8)
    return Case(images, labels, patient=patient, case=name, modalities=modalities, **more)


def marked(*pixels_a_slice, size=10):
    """A mask with so many pixels of label 1 in each slice of `size` x `size`."""
    mask = np.zeros((len(pixels_a_slice), size * size), np.uint8)
    for rows, pixels in zip(mask, pixels_a_slice, strict=True):
        rows[:pixels] = 1
    return mask.reshape(-1, size, size)


def blank(n_slices, size=10):
    return np.arange(n_slices * size * size).reshape(n_slices, size, size) % 100


def filled(counts):
    return {index: pytest.approx(count) for index, count in enumerate(np.asarray(counts).tolist()) if count}


def test_intensities_are_pooled_after_normalising_each_case(overview):
    overview.see(case([[[0, 100], [50, 100]]]))  # 0 to 100: pixels at 0, 0.5 and twice 1
    overview.see(case([[[200, 1000, 200, 1000], [200, 1000, 200, 1000]]]))  # four at 0, four at 1
    histogram = overview.intensities()["t1c"]
    assert (histogram.edges[0], histogram.edges[-1], len(histogram.counts)) == (0, 1.5, 64)
    # A bin is 1.5 / 64 wide, so 0.5 falls into number 21 and 1 into number 42.
    assert filled(histogram.counts) == {0: 5 / 12, 21: 1 / 12, 42: 6 / 12}


def test_of_a_large_case_some_pixels_stand_for_all(overview, monkeypatch):
    monkeypatch.setattr(overview_module, "SAMPLE_PIXELS", 256)
    overview.see(case(np.repeat([[[0] * 64, [100] * 64]], 32, axis=1)))  # 4096 pixels, half of them 0
    overview.see(case([[[0] * 4] * 192 + [[100] * 4] * 64]))  # 1024 pixels, three quarters of them 0
    shares = overview.intensities()["t1c"].counts
    assert filled(shares) == {0: (2048 + 768) / 5120, 42: (2048 + 256) / 5120}


def test_percentiles_tell_how_different_the_scanners_are(overview):
    for gain in (1, 10, 2):
        overview.see(case([[[0, gain, 2 * gain, 3 * gain, 4 * gain]]]))
    lowest_median_highest = overview.percentiles()["t1c"]
    assert lowest_median_highest[25] == (1, 2, 10)
    assert lowest_median_highest[50] == (2, 4, 20)
    assert lowest_median_highest[99] == pytest.approx((3.96, 7.92, 39.6))


def test_sizes_spacings_and_planes_are_counted(overview):
    overview.see(case(blank(3), spacing_mm=(5, 0.9, 0.899), plane="axial"))
    overview.see(case(blank(2), spacing_mm=(5, 0.9, 0.901), plane="axial"))
    overview.see(case(blank(3, size=12)))
    assert overview.slice_sizes() == {"10 × 10": {"cases": 2, "slices": 5}, "12 × 12": {"cases": 1, "slices": 3}}
    assert overview.slice_counts() == {"3": {"cases": 2, "slices": 6}, "2": {"cases": 1, "slices": 2}}
    assert overview.spacings() == {
        "0.90 × 0.90 mm, slices 5.00 mm apart": {"cases": 2, "slices": 5},
        "unknown": {"cases": 1, "slices": 3},
    }
    assert overview.planes() == {"axial": {"cases": 2, "slices": 5}, "unknown": {"cases": 1, "slices": 3}}


def test_a_table_of_many_sizes_stays_short(overview):
    for size in range(4, 24):
        overview.see(case(blank(1, size=size)))
    overview.see(case(blank(1, size=23)))
    table = overview.slice_sizes()
    assert next(iter(table)) == "23 × 23"
    assert len(table) == 9
    assert table["12 others"] == {"cases": 12, "slices": 12}


def test_classes_by_patient_group_case_and_slice_and_by_part_of_the_split(overview):
    overview.see(case(blank(3), marked(0, 4, 9), patient="anna", tumour_type="glioma"))
    overview.see(case(blank(2), marked(1, 0), patient="anna", tumour_type="glioma"))
    overview.see(case(blank(1), marked(7), patient="berta", patient_group="b", tumour_type="pituitary"))
    overview.see(case(blank(1), marked(0), patient="berta2", patient_group="b", tumour_type="pituitary"))
    assert overview.tumour_types() == {
        "glioma": {"patient_groups": 1, "cases": 2, "slices": 5, "with_tumour": 3},
        "pituitary": {"patient_groups": 1, "cases": 2, "slices": 2, "with_tumour": 1},
    }
    assert overview.splits({"train": ["anna"], "val": ["b"], "test": []}) == {
        "train": {"patient_groups": 1, "cases": 2, "slices": 5, "glioma": 1, "pituitary": 0},
        "val": {"patient_groups": 1, "cases": 2, "slices": 2, "glioma": 0, "pituitary": 1},
        "test": {"patient_groups": 0, "cases": 0, "slices": 0, "glioma": 0, "pituitary": 0},
    }


def test_labels_are_named_and_one_without_a_name_is_still_counted(overview):
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, 0, :6] = [1, 1, 1, 4, 4, 7]
    overview.see(case(blank(1), mask))
    overview.see(case(blank(4)))  # no mask, so its pixels are of no label
    assert overview.labels({"oedema": 1, "core": 2, "enhancing": 4}) == {
        "background": {"pixels": 94, "share": 0.94},
        "oedema": {"pixels": 3, "share": 0.03},
        "core": {"pixels": 0, "share": 0.0},
        "enhancing": {"pixels": 2, "share": 0.02},
        "label 7": {"pixels": 1, "share": 0.01},
    }


def test_slices_with_tumour_without_and_without_a_mask(overview):
    overview.see(case(blank(3), marked(0, 4, 9)))
    overview.see(case(blank(2)))
    assert overview.slices() == {"with_tumour": 2, "without_tumour": 1, "without_mask": 2}


def test_tumours_are_sized_by_slice_and_in_mm_where_spacing_is_known(overview):
    overview.see(case(blank(3), marked(3, 7, 0), spacing_mm=(5, 1, 4)))
    overview.see(case(blank(2), marked(2, 100)))
    overview.see(case(blank(1), marked(0), spacing_mm=(1, 1, 1)))
    # Four bins a decade from 0.01 %: 2 %, 3 % and 7 % in numbers 9, 9 and 11, the whole slice in the last.
    assert filled(overview.tumour_shares().counts) == {9: 2, 11: 1, 15: 1}
    # The largest section is 7 pixels of 4 mm²: four bins a decade from 1 mm², so number 5.
    assert filled(overview.tumour_areas_mm2().counts) == {5: 1}
    # 10 pixels of 20 mm³ are 0.2 ml: four bins a decade from 0.01 ml, so number 5.
    assert filled(overview.tumour_volumes_ml().counts) == {5: 1}


def test_a_tumour_smaller_or_larger_than_the_axis_is_counted_at_its_end(overview):
    overview.see(case(blank(1, size=200), marked(1, size=200), spacing_mm=(1, 0.1, 0.1)))
    overview.see(case(blank(1, size=200), marked(40000, size=200), spacing_mm=(100, 1, 1)))
    for histogram in (overview.tumour_shares(), overview.tumour_areas_mm2(), overview.tumour_volumes_ml()):
        assert filled(histogram.counts) == {0: 1, len(histogram.counts) - 1: 1}


def test_a_missing_modality_is_counted_and_not_taken_for_dark(overview):
    for present in ((True, True), (True, False), (True, False)):
        zeroed = case(blank(2), modalities=("t1c", "t2w"), present=present)
        zeroed.images[..., ~np.array(present)] = 0
        overview.see(zeroed)
    assert overview.modalities() == {"t1c": {"cases": 3, "missing": 0}, "t2w": {"cases": 1, "missing": 2}}
    np.testing.assert_allclose(overview.intensities()["t2w"].counts, overview.intensities()["t1c"].counts)
    lowest, median, highest = overview.percentiles()["t2w"][50]
    assert lowest == median == highest > 0


def test_an_empty_data_set_has_an_overview_too(overview):
    assert overview.intensities() == overview.percentiles() == overview.tumour_types() == {}
    assert overview.slices() == {"with_tumour": 0, "without_tumour": 0, "without_mask": 0}
    assert not overview.tumour_shares().counts.any()
