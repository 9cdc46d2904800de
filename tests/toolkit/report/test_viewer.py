"""What the viewer gets of a case: every lesion, in pictures small enough for a page."""

import base64

import cv2
import numpy as np
import pytest

from toolkit.pictures import PREDICTION_COLOUR
from toolkit.report.viewer import embedded_range, layers, overlay_of_first_slice, shown_slices, viewer_data


def picture(uri):
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def data_of(case):
    shown = shown_slices(case.mask)
    return viewer_data(case, shown, layers(case, shown))


def layer(data, name):
    (found,) = [layer for layer in data["layers"] if layer["name"] == name]
    return found


def test_slices_are_lossless_8_bit_over_the_range_of_the_case(predicted_case):
    case = predicted_case()
    data = data_of(case)
    low, high = data["range"]
    assert (low, high) == embedded_range(case)
    for uri, image in zip(data["pictures"], case.images, strict=True):
        np.testing.assert_allclose(picture(uri), np.clip((image - low) / (high - low), 0, 1) * 255, atol=0.51)


@pytest.mark.parametrize(("brightest", "end"), [(700, 800), (900, 900), (5000, 1100)])
def test_a_window_can_be_opened_beyond_white_but_an_outlier_does_not_squash_the_rest(predicted_case, brightest, end):
    images = np.full((5, 32, 40), 300.0)
    images[0, 0, 0] = brightest
    case = predicted_case(images=images)
    assert embedded_range(case) == (200, end)
    data = data_of(case)
    assert data["black"] == 0
    assert data["white"] == pytest.approx(600 / (end - 200))


def test_the_slice_with_most_tumour_comes_first_and_without_any_the_middle_one(predicted_case):
    assert data_of(predicted_case())["first"] == 2
    assert data_of(predicted_case())["marked"] == [False, True, True, True, False]
    assert data_of(predicted_case(mask=np.zeros((5, 32, 40), np.uint8)))["first"] == 2


def test_only_layers_that_a_case_has_are_there(predicted_case):
    case = predicted_case()
    assert [layer["name"] for layer in data_of(case)["layers"]] == ["Prediction"]
    maps = np.linspace(0, 255, case.mask.size).reshape(case.mask.shape).astype(np.uint8)
    case = predicted_case(truth=case.mask, maps={"uncertainty": maps, "grad_cam": maps}, enhanced=maps)
    data = data_of(case)
    names = [layer["name"] for layer in data["layers"]]
    assert names == ["Enhanced image", "Uncertainty", "Grad-CAM", "Prediction", "Truth"]
    assert len({layer["key"] for layer in data["layers"]} | {"r"}) == 6, "each has its own key, and R resets"
    np.testing.assert_array_equal(picture(layer(data, "Uncertainty")["pictures"][4]), maps[4])


def test_an_enhanced_slice_is_shown_on_the_scale_of_the_scan(predicted_case):
    """White is two thirds of the brightest a network sees."""
    images = np.full((5, 32, 40), 600, np.int16)
    case = predicted_case(images=images, value_range=(200.0, 600.0), enhanced=np.full(images.shape, 170, np.uint8))
    data = data_of(case)
    assert layer(data, "Enhanced image")["pictures"] == data["pictures"]


def test_each_label_has_its_own_outline_and_colour(predicted_case):
    mask = predicted_case().mask.copy()
    mask[3][mask[3] > 0] = 3
    first, second = layer(data_of(predicted_case(mask=mask, labels={"oedema": 1, "core": 3})), "Prediction")["outlines"]
    assert (first["name"], second["name"]) == ("oedema", "core")
    assert tuple(first["colour"]) == PREDICTION_COLOUR != tuple(second["colour"])
    assert [bool(path) for path in first["paths"]] == [False, True, True, False, False]
    assert [bool(path) for path in second["paths"]] == [False, False, False, True, False]


def test_of_a_long_case_the_slices_with_tumour_are_kept():
    mask = np.zeros((1000, 8, 8), np.uint8)
    for i in (3, 333, 998):
        mask[i, 2, 2] = 1
    shown = shown_slices(mask)
    assert len(shown) == 160
    assert {3, 333, 998} <= set(shown.tolist())
    assert (np.diff(shown) > 0).all()


@pytest.mark.parametrize(("n_slices", "side"), [(1, 512), (40, 512), (160, 256), (170, 256)])
def test_the_more_slices_the_smaller_they_are_but_outlines_keep_their_place(predicted_case, n_slices, side):
    mask = np.zeros((n_slices, 600, 300), np.uint8)
    mask[0, 599, 299] = 1
    case = predicted_case(
        images=np.zeros(mask.shape, np.uint8), mask=mask, measures={"area_pixels": mask.sum((1, 2))}, spacing_mm=None
    )
    data = data_of(case)
    assert picture(data["pictures"][0]).shape == (side, side // 2)
    assert data["pixels"] == [300, 600]
    assert layer(data, "Prediction")["outlines"][0]["paths"][0].startswith("M299.4 599.1L")


def test_pixels_that_are_not_square_are_shown_in_their_true_shape(predicted_case):
    assert data_of(predicted_case(spacing_mm=(5.0, 1.0, 0.5)))["aspect"] == 0.625  # 20 mm by 32 mm
    guessed = predicted_case(spacing_mm=(5.0, 1.0, 0.5), spacing_is_placeholder=True)
    assert data_of(guessed)["aspect"] == 1.25


def test_made_up_images_say_so_on_every_picture(predicted_case):
    case = predicted_case(enhanced=np.full((5, 32, 40), 85, np.uint8))
    real, synthetic = data_of(case), data_of(predicted_case(enhanced=case.enhanced, synthetic=True))
    for plain, labelled in zip(real["pictures"], synthetic["pictures"], strict=True):
        assert plain != labelled
    for plain, labelled in zip(real["layers"][0]["pictures"], synthetic["layers"][0]["pictures"], strict=True):
        assert plain != labelled


def test_the_still_picture_has_the_outline(predicted_case):
    rgb = overlay_of_first_slice(predicted_case(), 64)
    assert rgb.shape == (51, 64, 3)
    assert (rgb == PREDICTION_COLOUR).all(axis=-1).any()
