"""What a recipe learns must be in the store; the rest of training is seen end to end."""

import numpy as np
import pytest

from toolkit.config import load_recipe
from toolkit.data.familiarity import head_brightness
from toolkit.data.intensity import normalise
from toolkit.errors import StoreError
from toolkit.training.trainer import train, training_familiarity


def refused(recipe, store, run):
    with pytest.raises(StoreError) as caught:
        train(recipe, store.path, run)
    assert not run.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_region_of_labels_that_the_store_has_not(tmp_path, make_store):
    recipe = load_recipe("tiny", ["model.regions={whole: [1, 2], core: [2]}"])
    message = refused(recipe, make_store(), tmp_path / "run")
    assert "has no label 2, which region whole needs (it has 0 background, 1 tumour)" in message


def test_a_store_that_lacks_modalities_needs_a_recipe_that_can_do_without(tmp_path, make_store, make_case):
    cases = [make_case(f"p{p}", f"p{p}", modalities=2, seed=p, present=(True, p != 3)) for p in range(8)]
    message = refused(load_recipe("tiny"), make_store(cases), tmp_path / "run")
    assert "1 cases lack modalities (e.g. p3)" in message
    assert "data.allow_missing" in message


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
