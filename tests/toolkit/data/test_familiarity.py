"""Scans like those learned from are told from others by how bright the head is."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from tests.small_models import small_info
from toolkit.data.familiarity import (
    FEATURES,
    MOST_SLICES,
    QUANTILES,
    Familiarity,
    case_brightness,
    fit_familiarity,
    head_brightness,
    training_familiarity,
)
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.sources.phantom import phantom_cases


def brightness(images):
    return case_brightness(images, intensity_range(images))


@pytest.fixture(scope="module")
def heads():
    return [case.images for case in phantom_cases(24, 1, 64, 6)]


@pytest.fixture(scope="module")
def fitted(heads):
    return fit_familiarity([brightness(images) for images in heads[:48]])


def test_features_of_a_slice_by_hand():
    image = np.zeros((64, 64, 1), np.float32)
    image[:16] = np.linspace(0.2, 1.2, 16 * 64).reshape(16, 64, 1)
    features = head_brightness(image)
    assert features.shape == (FEATURES,)
    np.testing.assert_allclose(features[:-1], 0.2 + QUANTILES, atol=1e-5)
    assert features[-1] == pytest.approx(0.25)


def test_features_do_not_depend_on_the_size_of_the_picture_or_on_its_units(heads):
    images = heads[0]
    large = np.kron(images, np.ones((1, 4, 4, 1), images.dtype))
    np.testing.assert_allclose(brightness(large), brightness(images), atol=1e-3)
    np.testing.assert_allclose(brightness(3.0 * images + 70), brightness(images), atol=1e-3)


def test_nothing_to_be_seen_has_features_of_zeros():
    assert not head_brightness(np.zeros((32, 32, 2), np.float32)).any()


def test_the_distance_is_mahalanobis(fitted, heads):
    images = heads[50][:1]
    by_hand = mahalanobis(brightness(images)[0], fitted.mean, np.linalg.inv(fitted.covariance)) / np.sqrt(FEATURES)
    assert fitted.unlikeness(images) == pytest.approx(by_hand / fitted.usual)


def test_other_heads_are_alike_and_the_same_in_another_sequence_is_not(fitted, heads):
    others = heads[48:]
    assert np.mean([fitted.unlikeness(images) > 1 for images in others]) < 0.25
    # Bright where it was dark, as T2 is beside T1: air stays air.
    inverted = [np.where(images > 0.1 * images.max(), 1.1 * images.max() - images, 0 * images) for images in others]
    assert np.mean([fitted.unlikeness(images) > 1 for images in inverted]) > 0.9


def test_noise_and_nothing_are_unlike(fitted):
    rng = np.random.default_rng(1)
    assert fitted.unlikeness(rng.normal(100, 20, (4, 64, 64, 1))) > 1
    assert fitted.unlikeness(np.zeros((4, 64, 64, 1))) > 1


def test_all_training_cases_but_a_twentieth_are_usual(fitted, heads):
    unusual = [fitted.unlikeness(images) > 1 for images in heads[:48]]
    assert sum(unusual) == 3  # of 48


def test_modalities_that_are_missing_have_no_say(heads):
    pairs = [np.concatenate([images, images // 2 + 5], axis=-1) for images in heads[:48]]
    both = fit_familiarity([brightness(images) for images in pairs])
    first = fit_familiarity([brightness(images) for images in heads[:48]])
    lacking = np.concatenate([heads[50], np.zeros_like(heads[50])], axis=-1)
    distances = [
        f * g.usual
        for f, g in ((both.unlikeness(lacking, None, (True, False)), both), (first.unlikeness(heads[50]), first))
    ]
    assert distances[0] == pytest.approx(distances[1])
    assert both.unlikeness(lacking) > 1
    assert both.unlikeness(lacking, present=(False, False)) == 0


def test_a_damaged_distribution_is_refused(fitted):
    values = fitted.model_dump()
    with pytest.raises(ValueError, match="of different lengths"):
        Familiarity.model_validate(values | {"mean": values["mean"][:-1]})
    with pytest.raises(ValueError, match="of other modalities"):
        small_info(modalities=("t1c", "t2f"), familiarity=fitted)
    assert small_info(familiarity=fitted).familiarity == fitted


def test_it_survives_json(fitted, heads):
    again = Familiarity.model_validate_json(fitted.model_dump_json())
    assert again.unlikeness(heads[3]) == fitted.unlikeness(heads[3])


def test_one_slice_is_enough_to_fit(heads):
    fitted = fit_familiarity([brightness(heads[0][:1])])
    assert fitted.unlikeness(heads[0][:1]) <= 1
    assert np.isfinite(fitted.unlikeness(heads[7]))


def test_of_a_long_volume_some_slices_are_looked_at(heads):
    assert len(brightness(np.repeat(heads[0], 50, axis=0))) == MOST_SLICES


def test_training_scans_are_told_from_all_slices_of_the_training_patients_alone(make_store):
    store = make_store()
    training = store.spans("by_patient", "train")
    told = training_familiarity(store, training)
    features = [
        head_brightness(normalise(image, np.array(span.case.intensity_range)))
        for span in training
        for image in store.read(span.case, range(span.start, span.stop))[0]
    ]
    np.testing.assert_allclose(told.mean, np.mean(features, axis=0), atol=1e-9)
    assert told != training_familiarity(store, training[1:])


def test_cases_that_lack_modalities_do_not_tell_what_training_scans_are_like(make_store, make_case):
    cases = [make_case(f"p{p}", f"p{p}", modalities=2, seed=p, present=(True, p % 2 == 0)) for p in range(8)]
    store = make_store(cases)
    spans = store.spans("by_patient", "train")
    whole = [span for span in spans if all(span.case.present)]
    assert training_familiarity(store, spans) == training_familiarity(store, whole)
    assert training_familiarity(store, [span for span in spans if span not in whole]) is None
