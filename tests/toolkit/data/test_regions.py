"""From labels to regions and back."""

import numpy as np
import pytest

from toolkit.config import ModelRecipe, check_recipe
from toolkit.data.regions import label_mask, region_masks, tumour_probability
from toolkit.errors import RecipeError

BRATS = {"whole_tumour": [1, 2, 3], "tumour_core": [1, 3], "enhancing_tumour": [3]}
NESTED = ModelRecipe(regions=BRATS)
EXCLUSIVE = ModelRecipe(regions={"necrotic_core": [1], "oedema": [2], "enhancing_tumour": [3]}, exclusive=True)


def test_regions_of_brats_are_unions_of_labels():
    assert region_masks(np.arange(4), NESTED).astype(int).tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1]]


def test_a_region_without_labels_is_every_label():
    assert region_masks(np.array([0, 1, 7]), ModelRecipe())[:, 0].tolist() == [False, True, True]


@pytest.mark.parametrize("model", [NESTED, EXCLUSIVE], ids=["overlapping", "exclusive"])
def test_labels_survive_the_way_to_sure_regions_and_back(model):
    labels = np.random.default_rng(0).integers(0, 4, (3, 8, 8)).astype(np.uint8)
    back = label_mask(region_masks(labels, model).astype(np.float32), model, 0.5)
    assert back.dtype == np.uint8
    assert (back == labels).all()


@pytest.mark.parametrize(
    ("whole", "core", "enhancing", "label"),
    [(0.6, 0.4, 0.4, 2), (0.6, 0.5, 0.4, 1), (0.9, 0.9, 0.9, 3), (0.4, 0.4, 0.4, 0), (0.1, 0.1, 0.6, 3)],
)
def test_overlapping_regions_are_painted_from_the_widest_to_the_narrowest(whole, core, enhancing, label):
    assert label_mask(np.array([whole, core, enhancing]), NESTED, 0.5) == label


@pytest.mark.parametrize(
    ("probability", "label"), [([0.2, 0.2, 0.2], 1), ([0.1, 0.3, 0.2], 2), ([0.2, 0.1, 0.1], 0), ([0.0, 0.0, 0.5], 3)]
)
def test_of_exclusive_regions_the_likeliest_wins_where_tumour_is_likelier_than_none(probability, label):
    assert label_mask(np.array(probability), EXCLUSIVE, 0.5) == label
    assert tumour_probability(np.array(probability), EXCLUSIVE) == pytest.approx(sum(probability))


def test_of_overlapping_regions_the_likeliest_tells_where_the_tumour_is():
    assert tumour_probability(np.array([0.6, 0.2, 0.1]), NESTED) == 0.6


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"regions": {"core": [1, 3], "whole": [1, 2, 3]}}, "region core has no label that later regions leave to it"),
        ({"regions": {"a": [1], "b": [1]}}, "region a has no label"),
        ({"regions": {"a": [], "b": []}}, "two regions have the same labels"),
        ({"regions": {"a": [1, 2], "b": [2]}, "exclusive": True}, "exclusive regions need labels of their own"),
        ({"regions": {"a": []}, "exclusive": True}, "exclusive regions need labels of their own"),
        ({"regions": {}}, "model.regions"),
        ({"regions": {"a": [0]}}, "model.regions.a.0"),
    ],
)
def test_regions_that_could_not_be_written_as_labels_are_refused(model, reason):
    with pytest.raises(RecipeError, match=reason):
        check_recipe({"model": model}, "recipe.yaml")
