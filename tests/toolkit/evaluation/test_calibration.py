"""Whether probabilities are what they say, and the temperature that makes them so."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from toolkit.config import ModelRecipe
from toolkit.errors import StoreError
from toolkit.evaluation.calibration import (
    N_BINS,
    PixelCounter,
    cross_fitted,
    described,
    difference,
    fit_scaling,
    measured,
    patient_sums,
    reliability,
)

ONE = ModelRecipe()
SEVERAL = ModelRecipe(regions={"core": (1,), "oedema": (2,)}, exclusive=True)
NESTED = ModelRecipe(regions={"whole": (1, 2), "core": (2,)})


def counted(model, *cases):
    """Samples of cases `(probability, truth)`, each of a patient of its own."""
    counter = PixelCounter(model)
    for number, (probability, truth) in enumerate(cases):
        counter.add(np.asarray(probability, np.float32), np.asarray(truth), f"p{number}")
    return counter.samples()


def overconfident(seed, temperature, size=128):
    """Pixels whose truth is drawn from a probability, of which the model tells one whose logits are larger."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (1, size, size))
    return expit(honest * temperature)[..., None], (rng.uniform(size=honest.shape) < expit(honest)).astype(np.uint8)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_from_which_data_were_drawn_is_found(temperature):
    samples = counted(ONE, *(overconfident(seed, temperature) for seed in range(6)))
    assert fit_scaling(samples).temperature == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("temperature", [0.6, 2.5])
def test_it_is_found_of_exclusive_regions_too(temperature):
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 1.5, (1, 150, 150, 3))
    drawn = rng.uniform(size=(1, 150, 150, 1)) < np.cumsum(softmax(honest, axis=-1), axis=-1)
    truth = np.array([1, 2, 0])[drawn.argmax(axis=-1)]
    samples = counted(SEVERAL, (softmax(honest * temperature, axis=-1)[..., :2], truth))
    assert fit_scaling(samples).temperature == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize(("temperature", "offset"), [(1.0, -1.2), (2.0, 0.7)])
def test_an_offset_of_all_logits_is_found_too(temperature, offset):
    """What is told has logits `t (honest - b)`, so honest ones are `told / t + b`."""
    rng = np.random.default_rng(5)
    honest = rng.normal(0, 1.5, (1, 200, 200))
    truth = (rng.uniform(size=honest.shape) < expit(honest)).astype(np.uint8)
    samples = counted(ONE, (expit(temperature * (honest - offset))[..., None], truth))
    found = fit_scaling(samples)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.offsets == pytest.approx([offset], abs=0.05)
    assert measured(patient_sums(samples, *found))["ece"] < 0.01
    assert measured(patient_sums(samples, found.temperature))["ece"] > 0.05  # a temperature alone does not do


def test_of_exclusive_regions_each_has_an_offset_of_its_own():
    rng = np.random.default_rng(6)
    honest = rng.normal(0, 1.5, (1, 200, 200, 3))
    drawn = rng.uniform(size=(1, 200, 200, 1)) < np.cumsum(softmax(honest, axis=-1), axis=-1)
    truth = np.array([1, 2, 0])[drawn.argmax(axis=-1)]
    told = softmax(honest - np.array([0.8, -0.5, 0.0]), axis=-1)[..., :2]
    found = fit_scaling(counted(SEVERAL, (told, truth)))
    assert found.offsets == pytest.approx([0.8, -0.5], abs=0.1)
    assert found.temperature == pytest.approx(1, rel=0.05)


def test_where_all_pixels_turn_out_alike_there_is_nothing_to_fit():
    with pytest.raises(StoreError, match="too few with a tumour"):
        fit_scaling(counted(ONE, (np.full((1, 4, 4, 1), 0.3), np.zeros((1, 4, 4), int))))


def test_the_error_by_hand():
    """Ten pixels of 0.7 of which 4 are tumour, ten of 0.1 of which 1 is: 1/2 |0.4 - 0.7| + 1/2 |0.1 - 0.1|."""
    probability = np.repeat([0.7, 0.1], 10).reshape(1, 4, 5, 1)
    truth = np.concatenate([[1] * 4 + [0] * 6, [1] + [0] * 9]).reshape(1, 4, 5)
    values = measured(patient_sums(counted(ONE, (probability, truth)), 1.0))
    assert values["ece"] == pytest.approx(0.15, abs=0.003)
    brier = (4 * 0.3**2 + 6 * 0.7**2 + 1 * 0.9**2 + 9 * 0.1**2) / 20
    assert values["brier"] == pytest.approx(brier, abs=0.003)
    nll = -(4 * np.log(0.7) + 6 * np.log(0.3) + np.log(0.1) + 9 * np.log(0.9)) / 20
    assert values["nll"] == pytest.approx(nll, abs=0.003)
    assert values["ece_95"] is None  # Of one patient nothing can be said about others.


@pytest.mark.parametrize("temperature", [1.0, 1.8])
def test_fine_bins_tell_what_single_pixels_tell(temperature):
    probability, truth = overconfident(3, 1.8)
    values = measured(patient_sums(counted(ONE, (probability, truth)), temperature))
    p, y = expit(logit(probability.ravel()) / temperature), truth.ravel()
    place = np.clip(np.digitize(p, np.linspace(0, 1, N_BINS + 1)) - 1, 0, N_BINS - 1)
    ece = sum(abs((y - p)[place == b].sum()) for b in range(N_BINS)) / p.size
    assert values["ece"] == pytest.approx(ece, abs=5e-4)
    assert values["nll"] == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), abs=5e-4)
    assert values["brier"] == pytest.approx(((p - y) ** 2).mean(), abs=5e-4)


def test_of_exclusive_regions_the_likelihood_is_of_all_outcomes_and_the_rest_region_by_region():
    """One pixel of region 1 told (0.6, 0.3, background 0.1)."""
    values = measured(patient_sums(counted(SEVERAL, ([[[[0.6, 0.3]]]], [[[1]]])), 1.0))
    assert values["nll"] == pytest.approx(-np.log(0.6), abs=0.15)
    assert values["brier"] == pytest.approx((0.4**2 + 0.3**2) / 2, abs=0.03)
    assert values["ece"] == pytest.approx((0.4 + 0.3) / 2, abs=0.05)


def test_of_overlapping_regions_a_pixel_counts_once_for_each():
    """A pixel of oedema: in the whole tumour (0.8), not in the core (0.3)."""
    samples = counted(NESTED, ([[[[0.8, 0.3]]]], [[[1]]]))
    assert samples.pixels.sum() == 2
    values = measured(patient_sums(samples, 1.0))
    assert values["brier"] == pytest.approx((0.2**2 + 0.3**2) / 2, abs=0.003)
    assert values["nll"] == pytest.approx(-(np.log(0.8) + np.log(0.7)) / 2, abs=0.01)


def test_pixels_count_in_the_box_of_truth_and_of_all_that_the_model_thinks_of():
    probability, truth = np.full((3, 20, 20, 1), 0.05), np.zeros((3, 20, 20), int)
    truth[0, 2:5, 2:4] = 1  # missed
    probability[0, 8, 9] = 0.12  # 7 x 8 pixels with it
    probability[1, 4:6, 4:6] = 0.9  # found where there is nothing: 2 x 2
    assert described(patient_sums(counted(ONE, (probability, truth)), 1.0))["n_pixels"] == 7 * 8 + 2 * 2


def test_certain_pixels_cost_what_float32_can_tell_and_no_more():
    samples = counted(ONE, (np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2), int)))
    assert measured(patient_sums(samples, 1.0))["nll"] == pytest.approx(16, abs=0.01)


@pytest.mark.filterwarnings("error")
def test_where_nothing_counts_nothing_is_told():
    nothing = np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 4), int)
    values = described(patient_sums(counted(ONE, nothing, nothing), 1.0))
    assert (values["n_pixels"], values["ece"], values["ece_95"], values["nll"]) == (0, None, None, None)


def test_cross_fitting_measures_nobody_by_a_temperature_he_had_a_say_in():
    """Eleven patients need 1, one needs 4: his own fold must not know of it, and the others' do."""
    cases = [overconfident(seed, 4.0 if seed == 7 else 1.0, 48) for seed in range(12)]
    samples = counted(ONE, *cases)
    temperatures, _ = cross_fitted(samples)
    assert temperatures[7] == pytest.approx(1, rel=0.1)
    same_fold = np.isclose(temperatures, temperatures[7])
    assert temperatures[~same_fold].min() > temperatures[7] + 0.1
    others = samples.of(np.flatnonzero(~same_fold))
    assert temperatures[7] == pytest.approx(fit_scaling(others).temperature, rel=1e-3)
    assert len(np.unique(temperatures.round(6))) == 5


def test_the_order_of_the_patients_does_not_matter_to_cross_fitting():
    cases = {f"p{seed:02d}": overconfident(seed, 1 + seed / 5, 32) for seed in range(7)}

    def by_name(names):
        counter = PixelCounter(ONE)
        for name in names:
            counter.add(np.float32(cases[name][0]), cases[name][1], name)
        return dict(zip(names, cross_fitted(counter.samples()).temperature, strict=True))

    assert by_name(sorted(cases)) == pytest.approx(by_name(sorted(cases, reverse=True)), rel=1e-3)


def test_one_patient_can_not_be_left_out():
    assert cross_fitted(counted(ONE, overconfident(0, 2.0))) is None


def test_the_interval_holds_the_value_and_of_a_difference_it_is_paired():
    samples = counted(ONE, *(overconfident(seed, 3.0, 48) for seed in range(10)))
    before, after = patient_sums(samples, 1.0), patient_sums(samples, 3.0)
    for name in ("ece", "nll", "brier"):
        low, high = measured(before)[f"{name}_95"]
        assert low < measured(before)[name] < high
        gained = difference(after, before)
        assert gained[name] == pytest.approx(measured(after)[name] - measured(before)[name])
        assert gained[f"{name}_95"][1] < 0  # surely better
    same = difference(before, before)
    assert (same["ece"], same["ece_95"]) == (0, [0, 0])


def test_pictures_of_one_patient_group_are_drawn_together():
    counter = PixelCounter(ONE)
    for seed in range(4):
        probability, truth = overconfident(seed, 2.0, 16)
        counter.add(np.float32(probability), truth, "a" if seed < 2 else "b")
    sums = patient_sums(counter.samples(), 1.0)
    assert sums.pixels.tolist() == [512, 512]
    assert sums.bins[..., 0].sum() == 1024


def test_the_diagram_tells_each_bin():
    probability = np.repeat([0.7, 0.1], 10).reshape(1, 4, 5, 1)
    truth = np.concatenate([[1] * 4 + [0] * 6, [1] + [0] * 9]).reshape(1, 4, 5)
    rows = reliability(patient_sums(counted(ONE, (probability, truth)), 1.0))
    assert len(rows) == N_BINS
    filled = {index: row for index, row in enumerate(rows) if row["pixels"]}
    assert filled.keys() == {1, 10}
    assert (filled[10]["share_true"], filled[1]["share_true"]) == (0.4, 0.1)
    assert filled[10]["mean_probability"] == pytest.approx(0.7, abs=0.01)
    assert rows[0]["share_true"] is None


@pytest.mark.parametrize("n_regions", [3, 8, 12])
def test_many_exclusive_regions_still_fit(n_regions):
    model = ModelRecipe(regions={f"r{k}": (k + 1,) for k in range(n_regions)}, exclusive=True)
    rng = np.random.default_rng(n_regions)
    q = softmax(rng.normal(0, 2, (1, 30, 30, n_regions + 1)), axis=-1)
    samples = counted(model, (q[..., :-1], rng.integers(0, n_regions + 1, (1, 30, 30))))
    assert samples.pixels.sum() == 900
    told = softmax(samples.log_shares, axis=-1)
    assert np.average(told, axis=0, weights=samples.pixels) == pytest.approx(q.mean(axis=(0, 1, 2)), abs=0.03)
