"""What a recipe learns must be in the store; the rest of training is seen end to end."""

import pytest

from toolkit.config import load_recipe
from toolkit.errors import StoreError
from toolkit.training.trainer import train


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
