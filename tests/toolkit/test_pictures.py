"""What a reader sees in a picture is what the mask says, and both colours can be told apart."""

import cv2
import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from skimage.color import rgb2gray, rgb2lab
from skimage.draw import ellipse
from skimage.segmentation import find_boundaries

from toolkit import pictures
from toolkit.errors import OutputError
from toolkit.pictures import PREDICTION_COLOUR, TRUTH_COLOUR


@pytest.fixture
def tumour_mask():
    mask = np.zeros((48, 40), np.uint8)
    mask[ellipse(20, 18, 9, 6)] = 1
    return mask


@pytest.fixture
def slice_grey():
    return np.random.default_rng(7).integers(0, 256, (48, 40), np.uint8)


def is_colour(rgb, colour):
    return np.all(rgb == colour, axis=-1)


def test_the_range_becomes_black_to_white_and_the_rest_is_clipped():
    image = np.array([[-50.0, 100.0, 150.0], [200.0, 900.0, np.nan]])
    assert pictures.to_grey(image, 100, 200).tolist() == [[0, 0, 128], [255, 255, 0]]


def test_a_slice_of_one_value_is_drawn_black_and_not_divided_by_zero():
    assert pictures.to_grey(np.full((2, 2), 7, np.int16), 7, 7).tolist() == [[0, 0], [0, 0]]


def test_a_clinical_scan_and_an_8_bit_picture_of_it_look_the_same():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    scan = picture.astype(np.int16) * 12 - 900
    np.testing.assert_array_equal(pictures.to_grey(scan, -900, 2160), pictures.to_grey(picture, 0, 255))


def test_only_the_inside_of_the_mask_is_filled(slice_grey, tumour_mask):
    drawn = pictures.overlay(slice_grey, tumour_mask)
    changed = np.any(drawn != slice_grey[..., None], axis=-1)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (48, 40, 3)
    assert not changed[tumour_mask == 0].any()
    assert changed[tumour_mask == 1].mean() > 0.95


def test_the_fill_lets_the_tissue_show_through(tumour_mask):
    grey = np.full((48, 40), 100, np.uint8)
    expected = [round(0.65 * 100 + 0.35 * channel) for channel in PREDICTION_COLOUR]
    assert pictures.overlay(grey, tumour_mask)[20, 18].tolist() == expected


def test_the_outline_is_one_pixel_along_the_inner_rim(slice_grey, tumour_mask):
    drawn = pictures.overlay(slice_grey, tumour_mask)
    rim = find_boundaries(tumour_mask, mode="inner", connectivity=1)
    np.testing.assert_array_equal(is_colour(drawn, PREDICTION_COLOUR), rim)


def test_a_tumour_at_the_border_of_the_picture_is_outlined_there_too():
    drawn = pictures.overlay(np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8))
    outline = is_colour(drawn, PREDICTION_COLOUR)
    assert outline[0].all()
    assert outline[:, -1].all()
    assert not outline[1:-1, 1:-1].any()


def test_truth_is_an_outline_alone(slice_grey, tumour_mask):
    drawn = pictures.overlay(slice_grey, None, tumour_mask)
    rim = find_boundaries(tumour_mask, mode="inner", connectivity=1)
    np.testing.assert_array_equal(is_colour(drawn, TRUTH_COLOUR), rim)
    assert np.all(drawn[~rim] == slice_grey[~rim][:, None])


def test_a_probability_counts_from_one_half(slice_grey, tumour_mask):
    probability = np.where(tumour_mask, 0.5, 0.49).astype(np.float32)
    np.testing.assert_array_equal(pictures.overlay(slice_grey, probability), pictures.overlay(slice_grey, tumour_mask))


def test_drawing_does_not_write_into_the_slice(slice_grey, tumour_mask):
    before = slice_grey.copy()
    pictures.overlay(slice_grey, tumour_mask, tumour_mask, synthetic=True)
    pictures.panel([("MRI", slice_grey)], height=48, synthetic=True)
    pictures.label_synthetic(slice_grey)
    np.testing.assert_array_equal(slice_grey, before)


def test_enlarged_the_outline_stays_one_pixel_and_of_pure_colour(slice_grey, tumour_mask):
    drawn = pictures.overlay(slice_grey, tumour_mask, height=240)
    assert drawn.shape == (240, 200, 3)
    outline = is_colour(drawn, PREDICTION_COLOUR)
    rows = outline[100]
    assert rows.sum() <= 4
    left, right = np.flatnonzero(rows)[[0, -1]]
    columns = np.flatnonzero(tumour_mask[20])
    assert abs(left - 5 * columns[0]) <= 3
    assert abs(right - (5 * columns[-1] + 4)) <= 3


def test_a_lesion_of_one_pixel_does_not_vanish_from_a_small_picture():
    mask = np.zeros((64, 64), np.uint8)
    mask[33, 21] = 1
    drawn = pictures.overlay(np.zeros((64, 64), np.uint8), mask, height=16)
    assert is_colour(drawn, PREDICTION_COLOUR)[33 // 4, 21 // 4]


def test_both_colours_differ_in_hue_and_in_blue_and_yellow_which_every_eye_sees():
    prediction, truth = (rgb2lab(np.array(colour) / 255.0) for colour in (PREDICTION_COLOUR, TRUTH_COLOUR))
    # Red-green blindness leaves the b axis (blue to yellow) intact.
    assert abs(prediction[2] - truth[2]) > 60


def test_heat_rises_in_brightness_and_needs_no_clean_input():
    ramp = np.linspace(-0.5, 1.5, 64)[None]
    brightness = rgb2gray(pictures.heat(ramp))[0]
    assert np.all(np.diff(brightness) >= -1e-9)
    assert brightness[0] < 0.05
    assert brightness[-1] > 0.9
    assert pictures.heat(np.full((2, 2), np.nan)).shape == (2, 2, 3)


def test_a_map_covers_the_slice_the_more_the_higher_it_is(slice_grey):
    """Worked by hand, pixel by pixel: 0 leaves the slice, 1 is seven tenths of the brightest heat."""
    values = np.zeros((48, 40), np.float32)
    values[10:20], values[30:] = 1, 0.5
    drawn = pictures.map_overlay(slice_grey, values)
    grey = slice_grey[..., None].astype(float)
    np.testing.assert_array_equal(drawn[values == 0], np.repeat(grey[values == 0], 3, axis=1))
    for value in (0.5, 1.0):
        mixed = (1 - 0.7 * value) * grey + 0.7 * value * pictures.heat(np.array([[value]])).astype(float)
        np.testing.assert_allclose(drawn[values == value], mixed[values == value], atol=1)


def test_the_outline_of_the_prediction_can_be_seen_on_any_heat_and_nothing_is_filled(slice_grey, tumour_mask):
    values = np.linspace(0, 1, 40, dtype=np.float32)[None].repeat(48, axis=0)
    drawn = pictures.map_overlay(slice_grey, values, tumour_mask)
    inner, outer = (find_boundaries(tumour_mask, mode=mode, connectivity=1) for mode in ("inner", "outer"))
    assert is_colour(drawn, (255, 255, 255))[inner].all()
    assert is_colour(drawn, (0, 0, 0))[outer].all()
    rest = ~inner & ~outer
    np.testing.assert_array_equal(drawn[rest], pictures.map_overlay(slice_grey, values)[rest])


def test_a_map_keeps_its_place_when_the_picture_is_enlarged():
    values = np.zeros((48, 40), np.float32)
    values[30:36, 10:14] = 1
    drawn = pictures.map_overlay(np.zeros((48, 40), np.uint8), values, height=480)
    assert drawn.shape == (480, 400, 3)
    rows, columns = np.nonzero(drawn.sum(axis=-1) > 0.5 * drawn.sum(axis=-1).max())
    assert abs(rows.mean() - 10 * 33 + 0.5) < 1
    assert abs(columns.mean() - 10 * 12 + 0.5) < 1


def test_a_panel_puts_pictures_of_any_size_side_by_side(slice_grey, tumour_mask):
    enhanced = np.zeros((24, 20), np.uint8)
    truth = pictures.overlay(slice_grey, None, tumour_mask)
    row = pictures.panel([("MRI", slice_grey), ("enhanced", enhanced), ("truth", truth)], height=48)
    assert row.dtype == np.uint8
    assert row.shape[1] == 3 * 40 + 2 * 4
    bar = row.shape[0] - 48
    np.testing.assert_array_equal(row[bar:, :40], np.repeat(slice_grey[..., None], 3, 2))
    np.testing.assert_array_equal(row[bar:, -40:], truth)
    assert row[:bar, :40].max() > 150, "the title can be read"


def test_a_long_title_stays_in_its_column_and_any_letters_are_taken(slice_grey):
    pair = pictures.panel([("Übersicht " * 20, slice_grey), ("", slice_grey)], height=200)
    bar = pair.shape[0] - 200
    assert pair[:bar, -150:].max() == pictures.BACKGROUND


def test_a_stack_is_as_wide_as_the_widest_row():
    stacked = pictures.stack([np.full((5, 10, 3), 200, np.uint8), np.full((6, 16, 3), 100, np.uint8)])
    assert stacked.shape == (5 + 4 + 6, 16, 3)
    assert np.all(stacked[:5, :10] == 200)
    assert np.all(stacked[:5, 10:] == pictures.BACKGROUND)
    assert np.all(stacked[9:] == 100)


def test_a_contact_sheet_breaks_into_rows(slice_grey):
    tiles = [(f"slice {i}", slice_grey) for i in range(5)]
    row = pictures.panel(tiles[:2], height=48)
    sheet = pictures.contact_sheet(tiles, n_columns=2, height=48)
    assert sheet.shape == (3 * row.shape[0] + 2 * 4, row.shape[1], 3)
    np.testing.assert_array_equal(sheet[: row.shape[0]], row)


def test_made_up_images_are_labelled_in_the_lower_left_and_nowhere_else():
    grey = np.full((128, 128), 90, np.uint8)
    labelled = pictures.overlay(grey, None, synthetic=True)
    changed = np.any(labelled != 90, axis=-1)
    assert changed[112:, :40].any()
    assert labelled.max() > 200, "white letters"
    assert not changed[:100].any()
    assert not changed[:, 80:].any()
    assert not np.any(pictures.overlay(grey, None) != 90)


def test_a_transposed_slice_can_be_labelled():
    """Slices of MATLAB files come transposed, in a memory layout OpenCV refuses to draw on."""
    grey = np.zeros((30, 50), np.uint8).T
    assert pictures.label_synthetic(grey).shape == (50, 30)


def test_the_svg_outline_holds_the_pixels_of_the_mask(tumour_mask):
    tumour_mask[20:23, 17:20] = 0  # A hole, such as a necrotic core.
    path = pictures.outline_path(tumour_mask, most=100)
    assert path.data.count("M") == 2
    np.testing.assert_array_equal(filled(path.data, tumour_mask.shape), tumour_mask > 0)


def test_an_empty_mask_has_no_outline():
    assert pictures.outline_path(np.zeros((5, 5), np.uint8), most=1) == ("", 0)


def filled(path, shape):
    """What a browser fills, even-odd."""
    centres = np.stack(np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5), -1).reshape(-1, 2)
    inside = np.zeros(len(centres), bool)
    for ring in path.removeprefix("M").split("M") if path else ():
        points = [tuple(map(float, point.split())) for point in ring.removesuffix("Z").split("L")]
        inside ^= Polygon(points).contains_points(centres)
    return inside.reshape(shape)


def test_of_many_pieces_the_largest_are_outlined_and_the_others_counted():
    mask = np.zeros((40, 40), np.uint8)
    mask[2:20, 2:20] = mask[30:34, 30:34] = 1
    mask[25:40:2, 2:20:2] = 1
    path = pictures.outline_path(mask, most=8)
    expected = mask.copy()
    expected[25:40:2, 2:20:2] = 0
    np.testing.assert_array_equal(filled(path.data, mask.shape), expected)
    assert path.left_out == 8 * 9


@pytest.mark.parametrize("share", [0.2, 0.5, 0.6, 0.8])
def test_whatever_is_left_out_nothing_is_filled_that_is_not_marked(share):
    mask = np.random.default_rng(1).random((64, 64)) < share
    path = pictures.outline_path(mask, most=300)
    assert path.left_out
    assert not (filled(path.data, mask.shape) & ~mask).any()


def test_a_picture_is_shrunk_to_fit_but_never_enlarged():
    assert pictures.fit(np.zeros((1000, 500), np.uint8), 384).shape == (384, 192)
    assert pictures.fit(np.zeros((100, 50, 3), np.uint8), 384).shape == (100, 50, 3)


def test_a_saved_picture_has_its_colours_and_values(tmp_path, slice_grey, tumour_mask):
    drawn = pictures.overlay(slice_grey, tumour_mask)
    pictures.save_png(tmp_path / "overlay.png", drawn)
    bgr = cv2.imread(str(tmp_path / "overlay.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(bgr[..., ::-1], drawn)

    scan = slice_grey.astype(np.uint16) * 200
    pictures.save_png(tmp_path / "scan.png", scan)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "scan.png"), cv2.IMREAD_UNCHANGED), scan)


def test_a_picture_without_pixels_is_refused_by_name(tmp_path):
    with pytest.raises(OutputError, match=r"empty\.png"):
        pictures.save_png(tmp_path / "empty.png", np.zeros((0, 0), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_the_training_curve_draws_what_the_history_holds(tmp_path):
    rows = [{"epoch": str(i), "loss": f"{1 / (i + 1)}", "val_dice": "" if i == 0 else "0.5"} for i in range(4)]
    pictures.curve_png(rows, tmp_path / "curve.png")
    drawn = cv2.imread(str(tmp_path / "curve.png"))
    blank = pictures.training_curve([])
    assert drawn.shape == blank.shape
    middle = drawn.shape[1] // 2
    differs = np.any(drawn[..., ::-1] != blank, axis=-1)
    assert differs[:, :middle].any(), "loss is on the left"
    assert differs[:, middle:].any(), "Dice is on the right"


def test_a_curve_leaves_no_global_figure_behind():
    from matplotlib import pyplot

    pictures.training_curve([{"epoch": 0, "loss": 1.0}])
    assert pyplot.get_fignums() == []
