"""Whether a score finds the masks that need a look, against counting pairs by hand and SciPy."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from toolkit.evaluation.review import ReviewTable, ranked_pairs
from toolkit.metrics import EmptyMaskRule

RULE = EmptyMaskRule.BOTH_EMPTY_IS_ONE


def auc(scores, low):
    """Of patients with one picture each."""
    (value,) = ranked_pairs(scores, low, [f"p{k}" for k in range(len(low))]).auc(np.ones((1, len(low))))
    return value


def test_the_area_by_hand():
    """Low ones have 0.9 and 0.4, others 0.4, 0.3 and 0.8: of six pairs 3 + 1 + a half are right."""
    assert auc([0.9, 0.4, 0.4, 0.3, 0.8], [True, True, False, False, False]) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_statistic_of_mann_and_whitney(seed):
    rng = np.random.default_rng(seed)
    scores, low = rng.integers(0, 12, 60) / 10, rng.uniform(size=60) < 0.3
    statistic = mannwhitneyu(scores[low], scores[~low]).statistic
    assert auc(scores, low) == pytest.approx(statistic / (low.sum() * (~low).sum()))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("low", [[True, True], [False, False], []])
def test_without_a_low_one_or_without_another_there_is_none(low):
    assert np.isnan(auc([0.1, 0.2][: len(low)], low))


SIZE = 20


def picture(marked, true, doubt=0.0, height=0.9):
    """A slice with so many marked pixels, of which the true ones start with the last; those not marked have `doubt`."""
    mask, truth = np.zeros(SIZE * SIZE, bool), np.zeros(SIZE * SIZE, bool)
    mask[:marked] = True
    truth[max(marked - 1, 0) :][:true] = True
    p = np.where(mask, height, doubt)
    return tuple(array.reshape(1, SIZE, SIZE) for array in (mask, truth, p))


def good(height=0.9):
    mask, _, p = picture(60, 0, height=height)
    return mask, mask, p


def add(table, case, patient):
    """Add a case of a model whose temperature is 1."""
    mask, truth, p = case
    return table.add(mask, truth, p, p, patient)


def table_of(*cases, rule=RULE):
    table = ReviewTable(rule)
    scores = [add(table, case, f"p{number}") for number, case in enumerate(cases)]
    return table.summary(), scores


def test_low_masks_of_which_the_model_is_not_sure_are_found():
    summary, scores = table_of(good(), good(), picture(30, 50, height=0.6), picture(40, 50, height=0.55), good())
    for what in ("pictures", "cases"):
        found = summary[what]
        assert (found["auc"], found["n_low"], found["n"]) == (1, 2, 5)
        assert found["auc_95"] == [1, 1]
        assert found["area_auc"] == 1  # they are smaller, too
        assert (found["auc_gain"], found["auc_gain_95"]) == (0, [0, 0])
    assert scores[0] == (pytest.approx(0.1 / 1.9),)


def test_a_small_area_is_suspicious_and_beside_the_score():
    """The low mask is the larger one, and the model doubts it."""
    summary, _ = table_of(good(), picture(200, 5, height=0.6), good())
    assert (summary["pictures"]["auc"], summary["pictures"]["area_auc"]) == (1, 0)
    assert summary["pictures"]["auc_gain"] == 1


def test_a_tumour_missed_with_confidence_is_not_found():
    nothing, truth, p = picture(0, 30, doubt=0.001)
    summary, scores = table_of(good(), (nothing, truth, p), good())
    assert scores[1][0] == pytest.approx(0.002)
    assert summary["pictures"]["auc"] == 0
    assert summary["pictures"]["area_auc"] == 1


def test_a_case_is_judged_over_all_its_pixels():
    """Slices of Dice 1 and 0, together 2 * 60 / (120 + 5)."""
    mask, truth, p = (np.concatenate(pair) for pair in zip(good(), picture(0, 5, doubt=0.01), strict=True))
    summary, (scores, *_) = table_of((mask, truth, p), good(), good())
    assert (summary["pictures"]["n_low"], summary["pictures"]["n"]) == (1, 4)
    assert (summary["cases"]["n_low"], summary["cases"]["n"]) == (0, 3)
    assert summary["cases"]["auc"] is None
    assert summary["cases"]["auc_95"] is None
    assert len(scores) == 2


def test_pictures_of_a_patient_are_drawn_together():
    """Two patients: resamples that draw one of them twice have no pair of low and other, the rest are certain."""
    table = ReviewTable(RULE)
    for _ in range(5):
        add(table, good(), "well")
        add(table, picture(30, 50, height=0.6), "ill")
    found = table.summary()["pictures"]
    assert (found["auc"], found["auc_95"]) == (1, [1, 1])
    once = ReviewTable(RULE)
    add(once, good(), "one")
    add(once, picture(30, 50, height=0.6), "one")
    assert (once.summary()["pictures"]["auc"], once.summary()["pictures"]["auc_95"]) == (1, None)


def test_the_interval_is_that_of_drawing_patients_by_hand():
    """60 patients of two pictures, resampled one by one with mannwhitneyu."""
    rng = np.random.default_rng(0)
    table, rows = ReviewTable(RULE), []
    for patient in range(60):
        for _ in range(2):
            height = rng.uniform(0.5, 1)
            case = good(height) if rng.uniform() < height else picture(60, 60, height=height)
            (score,) = add(table, case, f"p{patient}")
            rows.append((patient, score, case[1] is not case[0]))
    patient, score, low = map(np.array, zip(*rows, strict=True))
    theirs = []
    for _ in range(2000):
        drawn = np.concatenate([np.flatnonzero(patient == one) for one in rng.integers(0, 60, 60)])
        s, y = score[drawn], low[drawn]
        theirs.append(mannwhitneyu(s[y], s[~y]).statistic / (y.sum() * (~y).sum()))
    found = table.summary()["pictures"]
    assert found["auc_95"] == pytest.approx(np.quantile(theirs, [0.025, 0.975]), abs=0.015)


def test_empty_pictures_that_have_no_dice_are_left_out():
    empty = picture(0, 0, doubt=0.01)
    assert table_of(good(), empty)[0]["pictures"]["n"] == 2
    assert table_of(good(), empty, rule=EmptyMaskRule.BOTH_EMPTY_IS_LEFT_OUT)[0]["pictures"]["n"] == 1
    found = table_of(empty, empty, rule=EmptyMaskRule.BOTH_EMPTY_IS_LEFT_OUT)[0]["pictures"]
    assert (found["n"], found["auc"], found["auc_95"], found["area_auc"]) == (0, None, None, None)
