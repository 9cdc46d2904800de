"""The best of all candidates is found, by the Dice that bts-evaluate prints, and none is taken unless one is better."""

import numpy as np
import pytest

from tests.small_models import small_info
from toolkit.data.regions import label_mask, region_masks
from toolkit.evaluation.evaluator import CaseResult, evaluate_cases
from toolkit.evaluation.postprocessing import CANDIDATES, NONE, Candidate, Contest
from toolkit.inference.postprocessing import likeliest_labels, post_processed
from toolkit.models.model_file import ModelInfo, PostProcessing

RECIPE = small_info().recipe
NESTED = small_info(model={"regions": {"whole": [1, 2], "core": [2]}}, label_map={"oedema": 1, "core": 2}).recipe


def tumour(seed, n_slices=3):
    """A disc that moves."""
    row, column = np.indices((32, 32)) - np.random.default_rng(seed).integers(10, 22, (2, 1, 1))
    return np.stack([(row - k) ** 2 + column**2 < 30 for k in range(n_slices)]).astype(np.uint8)


def sure(mask, inside=0.9, outside=0.1):
    return np.where(mask, inside, outside).astype(np.float32)[..., np.newaxis]


def contest_of(*cases, recipe=RECIPE):
    contest = Contest(recipe)
    for number, (probability, truth) in enumerate(cases):
        contest.add(probability, truth, f"p{number}", None)
    return contest


def test_none_is_what_a_fresh_model_does_and_is_tried_first():
    fields = ModelInfo.model_fields
    assert Candidate(fields["threshold"].default, fields["post_processing"].default) == NONE == CANDIDATES[0]
    assert len(set(CANDIDATES)) == len(CANDIDATES)


def test_where_nothing_is_better_than_none_none_it_stays():
    """Sure and right: all but the removal of all that is small do as well."""
    contest = contest_of(*((sure(tumour(seed)), tumour(seed)) for seed in range(3)))
    assert contest.ranked()[0] == NONE
    assert contest.row(NONE)["dice"] == 1


def test_a_model_that_is_too_careful_gets_a_lower_threshold_and_no_more():
    contest = contest_of(*((sure(tumour(seed), inside=0.45), tumour(seed)) for seed in range(3)))
    assert contest.ranked()[0] == Candidate(0.4)
    row = contest.row(Candidate(0.4))
    assert (row["dice"], row["gain"], row["gain_low"], row["gain_high"]) == (1, 1, 1, 1)


def test_specks_and_holes_are_seen_to():
    cases = []
    for seed in range(3):
        truth = tumour(seed)
        probability = sure(truth)
        probability[:, 1, 1] = probability[:, 1, 5] = 0.9
        row, column = np.argwhere(truth[1]).mean(axis=0).astype(int)
        probability[1, row, column] = 0.1
        cases.append((probability, truth))
    best = contest_of(*cases).ranked()[0]
    assert best.threshold == 0.5
    assert best.post_processing.fill_holes
    assert best.post_processing.largest_only or best.post_processing.smallest_component


@pytest.mark.parametrize("recipe", [RECIPE, NESTED], ids=["one region", "two regions"])
def test_dice_is_that_of_bts_evaluate(recipe, tmp_path):
    """Its own way through masks to per_image_mean."""
    rng, regions = np.random.default_rng(0), len(recipe.model.regions)
    cases = []
    for seed in range(4):
        truth = tumour(seed) * rng.integers(1, regions + 1, (3, 32, 32)).astype(np.uint8)
        noise = rng.random((3, 32, 32, regions), np.float32)
        cases.append((0.5 * noise + 0.5 * region_masks(truth, recipe.model), truth))
    cases.append((np.zeros_like(cases[0][0]), np.zeros_like(cases[0][1])))
    contest = contest_of(*cases, recipe=recipe)
    for candidate in (NONE, Candidate(0.6, PostProcessing(largest_only=True)), CANDIDATES[7], CANDIDATES[-1]):

        def results(candidate=candidate):
            for number, (probability, truth) in enumerate(cases):
                labels = label_mask(probability, recipe.model, candidate.threshold)
                mask = post_processed(
                    labels, likeliest_labels(probability, recipe.model), candidate.post_processing, recipe, None
                )
                both = region_masks(truth, recipe.model), region_masks(mask, recipe.model)
                for index in range(regions):
                    yield CaseResult(f"c{number}", f"p{number}", *(m[..., index] for m in both), label=str(index))

        metrics = evaluate_cases(results(), tmp_path)
        assert contest.row(candidate)["dice"] == pytest.approx(metrics["per_image_mean"]["dice"])


def test_the_interval_is_of_paired_differences_over_patients():
    """One patient gains 1, the other nothing: of two patients a resample is one of 0, 1/2, 1."""
    contest = contest_of((sure(tumour(0), inside=0.45), tumour(0)), (sure(tumour(1)), tumour(1)))
    row = contest.row(Candidate(0.4))
    assert row["gain"] == 0.5
    assert (row["gain_low"], row["gain_high"]) == (0, 1)


def test_of_a_single_patient_nothing_is_said_about_others():
    assert np.isnan(contest_of((sure(tumour(0)), tumour(0))).row(NONE)["gain_low"])
