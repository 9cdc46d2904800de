"""Our metrics against hand-worked values and against four independent sources.

The masks are small enough to draw on squared paper, or ellipses as a tumour's
outline might be.
"""

import math

import numpy as np
import pytest
import surface_distance
from panoptica.metrics import Metric as Panoptica
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance
from skimage.segmentation import find_boundaries

from toolkit import metrics
from toolkit.metrics import Counts, EmptyMaskRule, count, surface_distances

ONE, LEFT_OUT = EmptyMaskRule.BOTH_EMPTY_IS_ONE, EmptyMaskRule.BOTH_EMPTY_IS_LEFT_OUT
OVERLAPS = ("dice", "jaccard", "precision", "recall", "f1")
SPACINGS = [None, (1.0, 1.0), (0.5, 0.5), (3.0, 0.7)]


def square(*corners, shape=(16, 16)):
    """A mask whose pixels from `corners[0:2]` up to, not including, `corners[2:4]` are True."""
    mask = np.zeros(shape, bool)
    top, left, bottom, right = corners
    mask[top:bottom, left:right] = True
    return mask


def ellipse(centre, radii, shape=(64, 64)):
    grid = np.indices(shape).reshape(len(shape), -1).T
    inside = (((grid - np.array(centre)) / np.array(radii)) ** 2).sum(axis=1) <= 1
    return inside.reshape(shape)


TUMOUR = ellipse((30, 28), (12, 17))
PREDICTIONS = {
    "shifted": ellipse((33, 30), (12, 17)),
    "too small": ellipse((30, 28), (8, 11)),
    "with a stray island": ellipse((31, 28), (11, 18)) | ellipse((8, 56), (3, 3)),
    "elsewhere": ellipse((52, 52), (6, 5)),
}


# --- from counts -----------------------------------------------------------------


def test_worked_by_hand_a_marked_block_that_is_half_right():
    truth, prediction = square(2, 2, 6, 6), square(2, 4, 6, 10)  # 16 and 24 pixels, 8 shared

    counts = count(truth, prediction)

    assert counts == Counts(tp=8, fp=16, fn=8, tn=224)
    values = metrics.metrics_from_counts(counts)
    assert values["dice"] == pytest.approx(16 / 40)
    assert values["jaccard"] == pytest.approx(8 / 32)
    assert values["precision"] == pytest.approx(8 / 24)
    assert values["recall"] == pytest.approx(8 / 16)
    assert values["specificity"] == pytest.approx(224 / 240)
    assert values["accuracy"] == pytest.approx(232 / 256)
    assert values["f1"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))


def test_counts_add_up_as_the_pooled_pixels_would():
    first, second = (TUMOUR, PREDICTIONS["shifted"]), (PREDICTIONS["too small"], TUMOUR)
    together = count(np.stack([first[0], second[0]]), np.stack([first[1], second[1]]))
    assert count(*first) + count(*second) == together


@pytest.mark.parametrize("seed", range(5))
def test_f1_is_dice_and_jaccard_follows_from_it(seed):
    rng = np.random.default_rng(seed)
    values = metrics.metrics_from_counts(count(rng.random((32, 32)) < 0.3, rng.random((32, 32)) < 0.4))
    assert values["f1"] == pytest.approx(values["dice"])
    assert values["jaccard"] == pytest.approx(values["dice"] / (2 - values["dice"]))


@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS.keys())
def test_overlap_agrees_with_panoptica(prediction):
    values = metrics.metrics_from_counts(count(TUMOUR, prediction))
    assert values["dice"] == pytest.approx(Panoptica.DSC(TUMOUR, prediction))
    assert values["jaccard"] == pytest.approx(Panoptica.IOU(TUMOUR, prediction))


def test_probabilities_and_labels_are_no_masks():
    with pytest.raises(ValueError, match="bool"):
        count(TUMOUR, TUMOUR.astype(np.float32))
    with pytest.raises(ValueError, match="differ in shape"):
        count(TUMOUR, TUMOUR[:-1])


# --- from surface distances ------------------------------------------------------


def brute_force_boundary(mask):
    """Pixels of the mask with one of their 2 * ndim nearest neighbours outside, found one by one."""
    points = []
    for point in np.argwhere(mask):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                other = point.copy()
                other[axis] += step
                beyond = other[axis] < 0 or other[axis] >= mask.shape[axis]
                if beyond or not mask[tuple(other)]:
                    points.append(tuple(point))
    return np.array(sorted(set(points)))


def brute_force(truth, prediction, spacing):
    """Both directed lists of distances, from the full table of distances between all boundary pixels."""
    steps = np.ones(truth.ndim) if spacing is None else np.array(spacing)
    table = cdist(brute_force_boundary(truth) * steps, brute_force_boundary(prediction) * steps)
    return table.min(axis=1), table.min(axis=0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS.keys())
def test_hd95_and_nsd_agree_with_brute_force(prediction, spacing):
    forth, back = brute_force(TUMOUR, prediction, spacing)
    distances = surface_distances(TUMOUR, prediction, spacing)
    assert metrics.hd95(distances) == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)))
    for tolerance in (0.5, 2.0, 5.0):
        within = np.sum(forth <= tolerance) + np.sum(back <= tolerance)
        expected = within / (len(forth) + len(back))
        assert metrics.nsd(distances, tolerance=tolerance) == pytest.approx(expected)


def test_masks_at_the_picture_edge_have_a_boundary_there():
    truth, prediction = square(0, 0, 16, 9), square(3, 0, 16, 16)
    forth, back = brute_force(truth, prediction, (2.0, 1.0))
    distances = surface_distances(truth, prediction, (2.0, 1.0))
    assert np.sort(distances.from_truth) == pytest.approx(np.sort(forth))
    assert np.sort(distances.from_prediction) == pytest.approx(np.sort(back))


def test_volumes_are_measured_across_slices():
    spacing = (3.0, 0.9, 1.1)
    truth = ellipse((5, 12, 14), (3, 7, 8), shape=(10, 24, 28))
    prediction = ellipse((6, 13, 12), (2.5, 8, 6), shape=(10, 24, 28))
    forth, back = brute_force(truth, prediction, spacing)
    distances = surface_distances(truth, prediction, spacing)
    assert metrics.hd95(distances) == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)))
    assert metrics.nsd(distances) == pytest.approx(np.mean(np.concatenate([forth, back]) <= 2.0))


@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS.keys())
def test_the_largest_distance_agrees_with_scikit_image(prediction):
    """scikit-image has the 100th percentile only, in pixels, between the point sets it is given."""
    distances = surface_distances(TUMOUR, prediction)
    ours = max(distances.from_truth.max(), distances.from_prediction.max())
    outlines = [find_boundaries(mask, connectivity=1, mode="inner") for mask in (TUMOUR, prediction)]
    assert ours == pytest.approx(hausdorff_distance(*outlines))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS.keys())
def test_the_largest_distance_agrees_with_panoptica(prediction, spacing):
    distances = surface_distances(TUMOUR, prediction, spacing)
    ours = max(distances.from_truth.max(), distances.from_prediction.max())
    assert ours == pytest.approx(Panoptica.HD(TUMOUR, prediction, voxelspacing=spacing))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_hd95_and_nsd_agree_with_panoptica_where_the_definitions_meet(spacing):
    """panoptica takes one percentile of both directions together, and the mean of two shares.

    The definitions meet where both directions have the same distances, as for a
    mask and its mirror image.
    """
    truth = ellipse((30, 24), (12, 15)) | ellipse((44, 20), (9, 9))
    prediction = truth[:, ::-1]
    distances = surface_distances(truth, prediction, spacing)
    assert np.sort(distances.from_truth) == pytest.approx(np.sort(distances.from_prediction))
    theirs = Panoptica.HD95(truth, prediction, voxelspacing=spacing)
    # Doubling each distance moves the place that is interpolated to within one rank.
    ranks = np.sort(distances.from_truth)
    step = np.max(np.diff(ranks[int(0.9 * len(ranks)) :]))
    assert metrics.hd95(distances) == pytest.approx(theirs, abs=step + 1e-9)
    assert metrics.hd95(distances) > 3 * step
    for tolerance in (2.0, 5.0):
        theirs = Panoptica.NSD(truth, prediction, voxelspacing=spacing, threshold=tolerance)
        assert metrics.nsd(distances, tolerance=tolerance) == pytest.approx(theirs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("truth", "prediction", "spacing"),
    [(TUMOUR, other, spacing) for other in PREDICTIONS.values() for spacing in SPACINGS[1:]]
    + [
        (
            ellipse((8, 16, 16), (5, 10, 9), shape=(16, 32, 32)),
            ellipse((9, 17, 15), (5, 8, 10), shape=(16, 32, 32)),
            (2.0, 1.0, 1.0),
        )
    ],
)
def test_hd95_and_nsd_agree_with_surface_distance_up_to_where_the_boundary_lies(truth, prediction, spacing):
    """The reference code of Nikolov et al. puts the boundary on pixel corners, ours is on pixel centres.

    A corner is half a pixel diagonal from its pixel's centre. Both outlines may
    move by that much, so a distance may differ by one diagonal, and one within
    a diagonal of the tolerance may change sides. Their elements weigh by length
    or area, ours all the same, for which NSD gets 5 % beside.
    """
    diagonal = float(np.linalg.norm(spacing))
    theirs = surface_distance.compute_surface_distances(truth, prediction, spacing)
    ours = surface_distances(truth, prediction, spacing)

    reference_hd95 = surface_distance.compute_robust_hausdorff(theirs, 95)
    assert metrics.hd95(ours) == pytest.approx(reference_hd95, abs=diagonal)
    for tolerance in (2.0, 4.0):
        reference_nsd = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        stricter = metrics.nsd(ours, tolerance=tolerance - diagonal)
        laxer = metrics.nsd(ours, tolerance=tolerance + diagonal)
        assert stricter - 0.05 <= reference_nsd <= laxer + 0.05


def test_the_tolerance_is_in_mm_once_the_spacing_is_known():
    truth, prediction = square(4, 4, 10, 10), square(4, 7, 10, 13)  # three columns aside
    in_pixels, in_mm = surface_distances(truth, prediction), surface_distances(truth, prediction, (0.5, 0.5))
    assert metrics.hd95(in_pixels) == 3.0
    assert metrics.hd95(in_mm) == 1.5
    assert metrics.nsd(in_pixels) < 1.0
    assert metrics.nsd(in_mm) == 1.0


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, math.nan), (1.0, 1.0, 1.0)])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    with pytest.raises(ValueError, match="2 positive numbers"):
        surface_distances(TUMOUR, TUMOUR, spacing)


# --- empty masks -----------------------------------------------------------------


def everything(truth, prediction, rule, spacing=None):
    distances = surface_distances(truth, prediction, spacing)
    return metrics.metrics_from_counts(count(truth, prediction), rule) | metrics.metrics_from_distances(distances, rule)


NOTHING, SOMETHING = square(0, 0, 0, 0), square(4, 4, 8, 8)


def test_nothing_to_find_and_nothing_marked_is_a_full_success():
    values = everything(NOTHING, NOTHING, ONE)
    assert values.pop("hd95") == 0.0
    assert values == dict.fromkeys(values, 1.0)


def test_nothing_to_find_and_nothing_marked_may_be_left_out_instead():
    values = everything(NOTHING, NOTHING, LEFT_OUT)
    assert all(math.isnan(values.pop(name)) for name in (*OVERLAPS, "hd95", "nsd"))
    assert values == {"specificity": 1.0, "accuracy": 1.0}


@pytest.mark.parametrize("rule", EmptyMaskRule)
@pytest.mark.parametrize(
    ("truth", "prediction", "specificity"),
    [(SOMETHING, NOTHING, 1.0), (NOTHING, SOMETHING, 240 / 256)],
    ids=["missed", "invented"],
)
def test_one_empty_mask_is_a_full_failure_under_every_rule(truth, prediction, specificity, rule):
    values = everything(truth, prediction, rule, spacing=(2.0, 1.5))
    assert [values[name] for name in OVERLAPS] == [0.0] * 5
    assert values["nsd"] == 0.0
    assert values["hd95"] == pytest.approx(math.hypot(16 * 2.0, 16 * 1.5))
    assert values["specificity"] == pytest.approx(specificity)
    assert values["accuracy"] == pytest.approx(240 / 256)


def test_a_missed_tumour_in_a_brats_volume_costs_what_the_challenge_takes():
    """BraTS gives 373.13 mm, the diagonal of its 240 x 240 x 155 volumes of 1 mm voxels."""
    truth = np.zeros((155, 240, 240), bool)
    truth[70:75, 100:110, 100:110] = True
    distances = surface_distances(truth, np.zeros_like(truth), (1.0, 1.0, 1.0))
    assert metrics.hd95(distances) == pytest.approx(373.13, abs=0.005)


def test_a_picture_that_is_all_tumour_has_no_background_to_get_wrong():
    full = np.ones((8, 8), bool)
    assert metrics.specificity(count(full, full)) == 1.0


def test_every_metric_is_registered_with_its_direction():
    assert list(metrics.METRICS) == [*OVERLAPS[:4], "specificity", "accuracy", "f1", "hd95", "nsd"]
    assert [name for name, metric in metrics.METRICS.items() if metric.better == "lower"] == ["hd95"]
    perfect, poor = everything(TUMOUR, TUMOUR, ONE), everything(TUMOUR, PREDICTIONS["elsewhere"], ONE)
    for name, metric in metrics.METRICS.items():
        assert (perfect[name] > poor[name]) == (metric.better == "higher"), name
