"""Single lesions: three to find, one of them missed, one marked where there is none."""

import numpy as np
import pytest
from panoptica import (
    ConnectedComponentsInstanceApproximator,
    InputType,
    NaiveThresholdMatching,
    Panoptica_Evaluator,
)
from panoptica.metrics import Metric

from toolkit.evaluation.lesions import IOU_THRESHOLD, Lesion, find_lesions, summarise


def blocks(*boxes, shape=(32, 32)):
    """A mask of boxes, each given as `(start, stop)` along every axis."""
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[tuple(slice(*edge) for edge in box)] = True
    return mask


LARGE, SMALL, OVERLOOKED = ((2, 8), (2, 8)), ((15, 20), (15, 20)), ((25, 28), (3, 6))
TRUTH = blocks(LARGE, SMALL, OVERLOOKED)
PREDICTION = blocks(((3, 8), (2, 9)), ((16, 22), (15, 20)), ((2, 5), (25, 29)))


def panoptica(truth, prediction):
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(matching_threshold=IOU_THRESHOLD),
        instance_metrics=[Metric.DSC, Metric.IOU],
    )
    return evaluator.evaluate(prediction.astype(np.uint8), truth.astype(np.uint8))["ungrouped"]


def test_two_found_one_missed_one_invented():
    lesions = find_lesions(TRUTH, PREDICTION)
    assert sorted(lesions, key=lambda lesion: -lesion.truth_pixels) == [
        Lesion("found", 36, 35, pytest.approx(30 / 41), pytest.approx(60 / 71)),
        Lesion("found", 25, 30, pytest.approx(20 / 35), pytest.approx(40 / 55)),
        Lesion("missed", 9, 0, 0.0, 0.0),
        Lesion("false_positive", 0, 12, 0.0, 0.0),
    ]


def test_the_summary_gives_a_missed_lesion_a_dice_of_zero():
    summary = summarise(find_lesions(TRUTH, PREDICTION), n_cases=2)
    assert summary.dice == pytest.approx((60 / 71 + 40 / 55 + 0) / 3)
    assert summary.sensitivity == pytest.approx(2 / 3)
    assert summary.false_positives_per_case == 0.5
    assert summary.n_lesions == 3


def test_panoptica_finds_the_same_lesions_with_the_same_dice():
    theirs, ours = panoptica(TRUTH, PREDICTION), find_lesions(TRUTH, PREDICTION)
    states = [lesion.status for lesion in ours]
    assert (theirs.tp, theirs.fn, theirs.fp) == (
        states.count("found"),
        states.count("missed"),
        states.count("false_positive"),
    )
    # Its quality is a mean over the found lesions only, its recall is our sensitivity.
    found = [lesion for lesion in ours if lesion.status == "found"]
    assert np.mean([lesion.dice for lesion in found]) == pytest.approx(theirs.sq_dsc)
    assert np.mean([lesion.iou for lesion in found]) == pytest.approx(theirs.sq)
    assert summarise(ours, 1).sensitivity == pytest.approx(theirs.rec)


@pytest.mark.parametrize("seed", range(6))
def test_panoptica_agrees_on_volumes_where_lesions_merge_and_split(seed):
    rng = np.random.default_rng(seed)
    shape = (6, 32, 32)
    corners = rng.integers([0, 0, 0], [4, 26, 26], size=(9, 3))

    def boxes(offset):
        return blocks(*[[(c + o, c + o + 3) for c, o in zip(x, offset, strict=True)] for x in corners], shape=shape)

    truth, prediction = boxes((0, 0, 0)), boxes((0, 1, 1))
    prediction[:, :, 12:14] = False  # cuts some in two
    prediction[2, 5, :] = True  # joins some
    theirs, ours = panoptica(truth, prediction), find_lesions(truth, prediction)
    states = [lesion.status for lesion in ours]
    assert (theirs.tp, theirs.fn, theirs.fp) == tuple(
        states.count(status) for status in ("found", "missed", "false_positive")
    )
    assert np.sum([lesion.dice for lesion in ours]) == pytest.approx(theirs.sq_dsc * theirs.tp)


def test_one_blob_over_two_lesions_finds_only_the_one_it_fits_better():
    truth = blocks(((2, 12), (2, 12)), ((2, 12), (14, 19)))
    prediction = blocks(((2, 12), (2, 19)))
    assert [lesion.status for lesion in find_lesions(truth, prediction)] == ["found", "missed"]


@pytest.mark.parametrize(("width", "status"), [(9, "missed"), (10, "found")])
def test_a_lesion_counts_as_found_from_an_iou_of_a_tenth(width, status):
    truth = blocks(((0, 10), (0, 10)))
    prediction = blocks(((0, 1), (0, width)))
    lesion = find_lesions(truth, prediction)[0]
    assert (lesion.status, IOU_THRESHOLD) == (status, 0.1)


def test_pixels_that_touch_at_a_corner_are_one_lesion_within_and_across_slices():
    corner = blocks(((2, 4), (2, 4)), ((4, 6), (4, 6)))
    assert len(find_lesions(corner, corner)) == 1
    across = blocks(((0, 1), (2, 4), (2, 4)), ((1, 2), (4, 6), (4, 6)), shape=(2, 8, 8))
    assert len(find_lesions(across, across)) == 1
    apart = blocks(((0, 1), (2, 4), (2, 4)), ((2, 3), (4, 6), (4, 6)), shape=(3, 8, 8))
    assert len(find_lesions(apart, apart)) == 2


def test_without_any_lesion_there_is_no_sensitivity():
    nothing = np.zeros((16, 16), bool)
    assert find_lesions(nothing, nothing) == []
    summary = summarise(find_lesions(nothing, blocks(((2, 4), (2, 4)), shape=(16, 16))), n_cases=1)
    assert (summary.dice, summary.sensitivity, summary.false_positives_per_case) == (None, None, 1.0)
