"""Models are compared patient by patient, on the same pictures, and nobody who leaks takes part."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from toolkit.errors import ToolkitError
from toolkit.evaluation.comparison import (
    COLUMNS,
    RunResult,
    holm,
    paired_test,
    patient_dice,
    scores_of,
    smallest_p,
    table_rows,
)


def pictures(dice, per_patient=2):
    """Rows of per_image.csv: consecutive pictures belong to one patient."""
    return [
        {"case": f"c{i // per_patient}", "slice": str(i), "label": "tumour", "patient_group": f"p{i // per_patient}"}
        | {metric: value / (2 - value) if metric == "jaccard" else value for metric in COLUMNS.values()}
        for i, value in enumerate(dice)
    ]


def run(model, dice, seed=1, leaking=False, per_patient=2):
    split = "by_slice_leaking" if leaking else "by_patient"
    return RunResult(model, seed, pictures(dice, per_patient), 25.0, [0.5] * 14, 1000, split, leaking)


def row_of(rows, model, seed="1"):
    (row,) = [row for row in rows if (row["model"], row["seed"]) == (model, seed)]
    return row


def test_holm_on_the_textbook_example():
    """Four p-values 0.01, 0.04, 0.03, 0.005: times 3, 1, 2 and 4, then never below a smaller one's."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_agrees_with_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    p_values = np.random.default_rng(0).beta(0.3, 2, 20)
    np.testing.assert_allclose(holm(p_values), multitest.multipletests(p_values, method="holm")[1])


def test_the_signed_rank_test_by_hand():
    """Six patients gain 1 to 6 points, but for the one of 2: rank sums 19 and 2.

    Of the 64 ways to give six ranks a sign, three have a sum of 2 or less on the lesser side ({}, {1}, {2});
    two-sided 6/64.
    """
    reference = dict.fromkeys("abcdef", 0.5)
    gains = dict(zip("abcdef", (0.01, -0.02, 0.03, 0.04, 0.05, 0.06), strict=True))
    model = {patient: 0.5 + gain for patient, gain in gains.items()}
    result = paired_test(model, reference)
    assert result["p_value"] == pytest.approx(6 / 64)
    assert result["difference"] == pytest.approx(0.17 / 6)
    assert result["difference_low"] < 0.17 / 6 < result["difference_high"]
    assert paired_test(reference, reference)["p_value"] == 1.0


def test_with_few_patients_no_test_can_show_a_difference():
    five = {f"p{i}": 0.5 + i / 100 for i in range(5)}
    better = {patient: value + 0.1 + value / 10 for patient, value in five.items()}
    assert paired_test(better, five)["p_value"] == pytest.approx(smallest_p(5)) == 0.0625


def test_a_row_is_the_mean_over_pictures_and_a_patient_has_one_vote_in_the_test():
    dice = [0.9, 0.7, 0.8, 0.6]
    (row,) = table_rows([run("a", dice)], "a", [1])
    assert row["dsc"] == pytest.approx(0.75)
    assert row["ji"] == pytest.approx(np.mean([d / (2 - d) for d in dice]))
    assert row["dsc_low"] == pytest.approx(0.7)
    assert row["dsc_high"] == pytest.approx(0.8)
    assert (row["n_images"], row["n_patients"], row["epochs"], row["minutes"]) == (4, 2, 14, 25)
    uneven = [
        *pictures([0.9, 0.7], 2),
        *[{**p, "patient_group": "late", "case": "late"} for p in pictures([0.1, 0.2, 0.6], 3)],
    ]
    assert patient_dice(scores_of([RunResult("a", 1, uneven, 1, [0.5], 1, "by_patient", False)])) == pytest.approx(
        {"late": 0.3, "p0": 0.8}
    )


def test_seeds_are_averaged_before_the_test_and_their_spread_is_told():
    rng = np.random.default_rng(1)
    ours, theirs = rng.uniform(0.6, 0.9, (3, 20)), rng.uniform(0.5, 0.8, (3, 20))
    runs = [run(m, dice, seed) for m, all_ in (("a", ours), ("b", theirs)) for seed, dice in enumerate(all_, 1)]
    rows = table_rows(runs, "a", [1, 2, 3])
    assert [row["seed"] for row in rows] == ["1", "2", "3", "all"] * 2
    last = row_of(rows, "b", "all")
    assert last["dsc"] == pytest.approx(theirs.mean())
    assert last["dsc_seed_sd"] == pytest.approx(theirs.mean(axis=1).std(ddof=1))
    of_patients = (theirs - ours).mean(axis=0).reshape(10, 2).mean(axis=1)
    assert last["p_value"] == pytest.approx(wilcoxon(of_patients).pvalue)
    assert last["difference"] == pytest.approx(of_patients.mean())
    assert math.isnan(row_of(rows, "b", "2")["p_value"])
    assert math.isnan(row_of(rows, "a", "all")["p_value"])


def test_the_correction_counts_the_tests_and_who_leaks_is_not_tested():
    rng = np.random.default_rng(2)
    base = rng.uniform(0.5, 0.7, 20)
    runs = [run("a", base), run("b", base + 0.05 + base / 50), run("c", base + rng.normal(0, 0.05, 20))]
    rows = table_rows([*runs, run("d", base[:7] + 0.2, leaking=True)], "a", [1])
    tested = [row_of(rows, "b"), row_of(rows, "c")]
    assert [row["p_holm"] for row in tested] == pytest.approx(holm([row["p_value"] for row in tested]))
    assert tested[0]["p_holm"] == pytest.approx(2 * tested[0]["p_value"])
    leaking = row_of(rows, "d")
    assert leaking["leaking"]
    assert math.isnan(leaking["p_value"])
    assert leaking["dsc"] == pytest.approx(np.mean(base[:7] + 0.2))


def test_a_model_is_tested_only_when_all_its_seeds_are_there():
    dice = np.linspace(0.5, 0.9, 12)
    runs = [run("a", dice, 1), run("a", dice, 2), run("b", dice + 0.05, 1)]
    assert math.isnan(row_of(table_rows(runs, "a", [1, 2]), "b", "all")["p_value"])
    assert not math.isnan(row_of(table_rows([*runs, run("b", dice + 0.05, 2)], "a", [1, 2]), "b", "all")["p_value"])


def test_models_judged_on_other_pictures_are_no_pairs():
    runs = [run("a", [0.5, 0.6, 0.7]), run("b", [0.5, 0.6])]
    with pytest.raises(ToolkitError, match="b, seed 1: was judged on other pictures than a, seed 1"):
        table_rows(runs, "a", [1])
