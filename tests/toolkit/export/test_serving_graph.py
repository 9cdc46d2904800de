"""The graph that leaves says of any case what the toolkit says of it: arithmetic that stands twice, held together."""

import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import N_SLICES, awake_segmenter, scan, small_info, stand_in
from toolkit.config import DataRecipe
from toolkit.data.grid import WayBack, model_grid
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.regions import label_mask
from toolkit.data.windows import windows
from toolkit.export.serving_graph import ServingGraph, WindowPlan, case_ranges, normalised
from toolkit.inference.runtimes.keras_file import KerasRuntime

NOT_KNOWN = tf.fill((1, 1, 2), np.float32(np.nan))
REGIONS = {"whole": [1, 2, 3], "core": [1, 3], "enhancing": [3]}
RNG = np.random.default_rng(1)
LABELS = {"background": 0, "necrosis": 1, "oedema": 2, "enhancing": 3}


def in_mm(spacing_mm):
    return None if spacing_mm is None else tf.constant([spacing_mm], tf.float32)


class Both:
    """The same network twice: run by the toolkit, and inside the graph."""

    def __init__(self, info, make=stand_in):
        self.info, model = info, make(info)
        self.toolkit, self.graph = KerasRuntime("model", model, info), ServingGraph(model, info)

    def say(self, images, spacing_mm=None, value_range=None):
        """Probability `(slices, height, width, regions)` by the toolkit and by the graph."""
        limits = intensity_range(images) if value_range is None else value_range
        known = NOT_KNOWN if value_range is None else tf.constant(value_range[None])
        ours = self.graph.probability(tf.constant(images[None], tf.float32), known, in_mm(spacing_mm))
        return self.toolkit.probability(images, limits, spacing_mm), ours.numpy()[0]

    def agree(self, *case, **more):
        toolkit, graph = self.say(*case, **more)
        assert toolkit.std() > 0.05, "the network has nothing to say, so nothing is shown"
        np.testing.assert_allclose(graph, toolkit, atol=1e-5)


@pytest.fixture(scope="module")
def both():
    return Both(small_info())


@pytest.fixture(scope="module")
def in_millimetres():
    return Both(small_info({"spacing_mm": (3.0, 1.0, 1.0)}))


@pytest.fixture(scope="module")
def overlapping():
    return Both(small_info(model={"regions": REGIONS}, modalities=("t1c", "t2f"), label_map=LABELS))


@pytest.fixture(scope="module")
def exclusive():
    regions = {"oedema": [2], "core": [1], "enhancing": [3]}
    return Both(small_info(model={"regions": regions, "exclusive": True}, modalities=("t1c", "t2f"), label_map=LABELS))


# --- the toolkit's own answer -----------------------------------------------------


def test_a_real_segmenter_says_the_same_inside_and_outside():
    Both(small_info(), awake_segmenter).agree(scan(5))


@pytest.mark.parametrize("n_slices", [1, N_SLICES - 1, N_SLICES, N_SLICES + 1, 11, 24])
def test_a_case_may_have_any_number_of_slices(both, n_slices):
    both.agree(scan(n_slices))


@pytest.mark.parametrize(
    ("height", "width"),
    [(32, 32), (40, 28), (21, 32), (96, 60), (45, 64), (20, 24), (7, 100), (33, 31), (257, 129)],
)
def test_its_slices_may_have_any_size(both, height, width):
    both.agree(scan(5, height, width))


def test_every_slice_has_a_say_about_its_neighbours(both):
    """Else all of the tests here would pass with slices mixed up."""
    images = scan(4)
    changed = images.copy()
    changed[0] = changed[0].max() - changed[0]
    limits = intensity_range(images)
    before, after = (both.say(case, value_range=limits)[1] for case in (images, changed))
    assert (np.abs(after - before).max(axis=(1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize("spacing_mm", [(3.0, 1.0, 1.0), (6.0, 0.5, 0.7), (1.0, 0.9, 0.9), (5.0, 2.2, 1.3)])
def test_a_model_in_mm_resamples_the_case_and_its_answer(in_millimetres, spacing_mm):
    in_millimetres.agree(scan(9, 30, 26), spacing_mm)


@pytest.mark.parametrize("rows", [25, 35, 45])
def test_half_a_row_of_the_grid_is_rounded_alike(in_millimetres, rows):
    """0.7 mm times 25 is half a row, but of 0.7 as the graph gets it, in float32, a little less."""
    in_millimetres.agree(scan(4, rows, rows), (3.0, 0.7, 0.7))


def test_cases_of_unlike_spacing_in_one_request_are_refused(in_millimetres):
    """A server that puts requests together must not resample one patient by the distances of another."""
    slices = tf.constant(np.stack([scan(4), scan(4)]), tf.float32)
    spacings = tf.constant([(3.0, 1.0, 1.0), (3.0, 0.5, 0.5)], tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="need one spacing_mm"):
        in_millimetres.graph.probability(slices, NOT_KNOWN, spacings)


@pytest.mark.parametrize("regions", ["overlapping", "exclusive"])
def test_several_modalities_and_regions(regions, request):
    request.getfixturevalue(regions).agree(scan(6, 37, 45, modalities=2))


def test_several_cases_at_once_are_answered_as_one_by_one(overlapping):
    cases = [scan(6, modalities=2, seed=seed) * (seed + 1) for seed in range(3)]
    at_once = overlapping.graph.probability(tf.constant(np.stack(cases), tf.float32), NOT_KNOWN).numpy()
    for case, answer in zip(cases, at_once, strict=True):
        np.testing.assert_allclose(answer, overlapping.say(case)[0], atol=1e-5)


# --- masks ------------------------------------------------------------------------


@pytest.mark.parametrize("regions", ["overlapping", "exclusive"])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75])
def test_a_mask_has_the_label_that_bts_predict_writes(regions, threshold, request):
    both = request.getfixturevalue(regions)
    # Of four that add up to 1: three regions and the background, each pixel with one likely and others less so.
    probability = RNG.dirichlet([0.5] * 4, (3, 20, 24))[..., :3].astype(np.float32)
    expected = label_mask(probability, both.info.recipe.model, threshold)
    assert np.unique(expected).tolist() == [0, 1, 2, 3]
    graph = ServingGraph(both.toolkit.model, both.info.model_copy(update={"threshold": threshold}))
    mask = graph.mask(tf.constant(probability[None])).numpy()[0]
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)


def test_a_pixel_is_tumour_from_the_threshold_on(both):
    probability = np.array([0.0, 0.49999997, 0.5, 1.0], np.float32).reshape(1, 1, 2, 2, 1)
    np.testing.assert_array_equal(both.graph.mask(tf.constant(probability)), [[[[0, 0], [1, 1]]]])


# --- intensity --------------------------------------------------------------------

CASES = {
    "a scan": scan(5),
    "two modalities": scan(5, modalities=2) * [1, 7],
    "12 bit with negative values": RNG.integers(-200, 4095, (3, 17, 23, 2)),
    "floating point": RNG.normal(0, 1e-3, (2, 19, 21, 1)),
    "one value": np.full((2, 8, 8, 2), 300),
    "one value but for a pixel": np.pad(np.full((1, 1, 1, 1), 9), ((0, 1), (0, 7), (0, 7), (0, 0))),
    "one pixel": np.full((1, 1, 1, 1), -5),
    "99 and 101 pixels": np.arange(101).reshape(1, 1, 101, 1),
    "100 pixels": np.arange(100).reshape(1, 10, 10, 1),
    "large numbers": RNG.integers(0, 2**31, (2, 20, 20, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_range_of_a_case_is_found_by_counting(case):
    images = CASES[case].astype(np.float32)
    found = case_ranges(tf.constant(images[None]), NOT_KNOWN).numpy()
    np.testing.assert_array_equal(found[0], intensity_range(images))


def test_each_case_of_a_request_has_its_own_range():
    cases = np.stack([scan(5), scan(5, seed=1) * 9]).astype(np.float32)
    found = case_ranges(tf.constant(cases), NOT_KNOWN).numpy()
    np.testing.assert_array_equal(found, [intensity_range(case) for case in cases])


def test_a_range_that_is_sent_is_taken_and_one_that_is_not_is_found():
    images = scan(5, modalities=2).astype(np.float32)
    sent = np.array([[[3.0, 70.0], [np.nan, np.nan]]], np.float32)
    found = case_ranges(tf.constant(images[None]), tf.constant(sent)).numpy()[0]
    np.testing.assert_array_equal(found, [[3, 70], intensity_range(images)[1]])


def test_values_are_normalised_as_in_training():
    images, limits = scan(3, modalities=2).astype(np.float32), np.array([[10, 100], [0, 250]], np.float32)
    found = normalised(tf.constant(images[None]), tf.constant(limits[None])).numpy()[0]
    expected = normalise(images, limits)
    assert expected.max() == 1.5  # the clip has its share
    np.testing.assert_array_equal(found, expected)


def test_a_piece_of_a_case_with_the_range_of_the_case_is_answered_as_in_the_case(both):
    """How a client sends a long case: windows 1 and 2 of it, the slices from the first's start to the second's end."""
    images = scan(10)
    images[8:] *= 5
    whole, _ = both.say(images)
    plan = windows(10, N_SLICES, 1)
    piece = images[plan[1].slices[0] : plan[2].slices[-1] + 1]
    limits = intensity_range(images)
    _, answer = both.say(piece, value_range=limits)
    counting = np.concatenate([window.slices[window.counts] for window in plan[1:3]])
    np.testing.assert_allclose(answer[counting - plan[1].slices[0]], whole[counting], atol=1e-5)
    _, without_range = both.say(piece)
    assert np.abs(without_range[counting - plan[1].slices[0]] - whole[counting]).max() > 0.05


# --- windows ----------------------------------------------------------------------


@pytest.mark.parametrize(("size", "halo"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0), (5, 2), (8, 3), (16, 4)])
def test_windows_follow_the_halo_rule(size, halo):
    for n_slices in [*range(1, 3 * size + 2), 155]:
        plan = WindowPlan(tf.constant(n_slices), size, halo)
        expected = windows(n_slices, size, halo)
        np.testing.assert_array_equal(plan.slices, [window.slices for window in expected])
        for number, window in enumerate(expected):
            counting = window.slices[window.counts]
            np.testing.assert_array_equal(plan.window.numpy()[counting], number)
            np.testing.assert_array_equal(plan.place.numpy()[counting], np.flatnonzero(window.counts))


# --- the enhancer -----------------------------------------------------------------


@pytest.mark.parametrize("spacing_mm", [None, (6.0, 0.9, 1.4)])
def test_an_enhanced_slice_is_the_slice_and_the_correction_brought_back_from_the_grid(spacing_mm):
    target = None if spacing_mm is None else (3.0, 1.0, 1.0)
    both = Both(small_info({"spacing_mm": target}, modalities=("t1c", "t2f")))
    images = scan(6, 45, 50, modalities=2) * np.array([1, 5], np.int16)
    limits = intensity_range(images)
    seen = normalise(images, limits)
    grid = model_grid(images.shape[:3], spacing_mm, DataRecipe(image_size=32, spacing_mm=target))
    way_back, known = WayBack(grid), []
    for window in windows(grid.n_slices, N_SLICES, 1):
        before = grid.images(lambda wanted: seen[wanted], window.slices)
        look = both.toolkit.enhance(before[None])[0]
        for index, change in zip(window.slices[window.counts], (look - before)[window.counts], strict=True):
            known += way_back.add(index, {"change": change})
    correction = np.stack([maps["change"] for maps in known])
    assert np.abs(correction).max() > 0.1
    found = both.graph.enhanced(tf.constant(images[None], tf.float32), NOT_KNOWN, in_mm(spacing_mm)).numpy()[0]
    np.testing.assert_allclose(found, images + correction * (limits[:, 1] - limits[:, 0]), rtol=1e-5, atol=2e-3)
