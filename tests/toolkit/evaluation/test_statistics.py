"""The interval around a mean: how wide, how often right, and whose."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from toolkit.evaluation.statistics import bootstrap_interval

RNG = np.random.default_rng


def patients(rng, n, pictures=6, patient_sd=0.1, picture_sd=0.03, mean=0.8):
    """Dice of pictures that resemble those of the same patient, and whose they are."""
    of_patient = rng.normal(mean, patient_sd, n)
    values = (of_patient[:, None] + rng.normal(0, picture_sd, (n, pictures))).ravel()
    return values, [f"patient {i}" for i in range(n) for _ in range(pictures)]


def width(interval):
    return interval[1] - interval[0]


def test_with_one_picture_a_patient_it_is_the_ordinary_bootstrap():
    values = RNG(0).beta(8, 2, 80)
    theirs = bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=RNG(1))
    low, high = bootstrap_interval(values, range(80), seed=0)
    # Either end is itself an estimate; from 2000 resamples its error is about a twentieth of the width.
    assert low == pytest.approx(theirs.confidence_interval.low, abs=(high - low) / 10)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=(high - low) / 10)


def test_the_width_is_that_of_the_spread_between_patients():
    values, groups = patients(RNG(3), n=200)
    low, high = bootstrap_interval(values, groups, seed=0)
    means = values.reshape(200, -1).mean(axis=1)
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * means.std() / math.sqrt(200), rel=0.1)
    assert low < values.mean() < high


def test_nineteen_in_twenty_intervals_hold_the_true_mean():
    """Of 300 studies with 40 patients. The bounds leave three standard errors either side of 94.5 %."""
    rng = RNG(4)
    hits = 0
    for study in range(300):
        low, high = bootstrap_interval(*patients(rng, n=40), seed=study)
        hits += low <= 0.8 <= high
    assert 0.905 <= hits / 300 <= 0.985


def test_drawing_pictures_instead_of_patients_would_promise_too_much():
    values, groups = patients(RNG(5), n=40)
    low, high = bootstrap_interval(values, groups, seed=0)
    naive_low, naive_high = bootstrap_interval(values, range(len(values)), seed=0)
    assert high - low > 1.8 * (naive_high - naive_low)


def test_copies_of_a_patients_pictures_add_no_certainty():
    values, groups = patients(RNG(6), n=12, pictures=1)
    once = bootstrap_interval(values, groups, seed=0)
    hundredfold = bootstrap_interval(np.repeat(values, 100), np.repeat(groups, 100), seed=0)
    assert hundredfold == pytest.approx(once)


def test_one_patient_with_a_hundred_copies_of_a_picture_does_not_buy_certainty():
    """He moves the mean, so the interval moves too, but on average over whom it is it gets no narrower."""
    values, groups = patients(RNG(7), n=12, pictures=1)
    before = width(bootstrap_interval(values, groups, seed=0))
    after, naive = [], []
    for k in range(12):
        copied = np.append(values, np.full(99, values[k]))
        after.append(width(bootstrap_interval(copied, [*groups, *[groups[k]] * 99], seed=0)))
        naive.append(width(bootstrap_interval(copied, range(111), seed=0)))
    assert np.mean(after) >= before
    assert min(after) > 0.5 * before
    assert max(naive) < 0.3 * before  # What drawing pictures would have made of it.


def test_the_seed_decides_and_the_order_of_the_rows_within_a_patient_does_not():
    values, groups = patients(RNG(8), n=10)
    assert bootstrap_interval(values, groups, seed=1) == bootstrap_interval(values, groups, seed=1)
    assert bootstrap_interval(values, groups, seed=1) != bootstrap_interval(values, groups, seed=2)
    reversed_within = values.reshape(10, -1)[:, ::-1].ravel()
    assert bootstrap_interval(reversed_within, groups, seed=1) == pytest.approx(
        bootstrap_interval(values, groups, seed=1)
    )


def test_pictures_without_a_value_are_left_out():
    values, groups = patients(RNG(9), n=10)
    with_gaps = np.append(values, [math.nan] * 5)
    gaps = [*groups[:3], "patient without any", "patient without any"]
    assert bootstrap_interval(with_gaps, [*groups, *gaps], seed=0) == bootstrap_interval(values, groups, seed=0)


@pytest.mark.parametrize(("values", "groups"), [([], []), ([0.8, 0.9], ["one", "one"]), ([math.nan] * 2, "ab")])
def test_fewer_than_two_patients_tell_nothing_about_others(values, groups):
    assert all(math.isnan(end) for end in bootstrap_interval(values, groups, seed=0))


def test_a_value_without_a_patient_is_refused():
    with pytest.raises(ValueError, match="3 groups"):
        bootstrap_interval([0.5, 0.6], ["a", "b", "c"], seed=0)
