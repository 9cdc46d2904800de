"""Every name of the zoo is a recipe, and all networks are in it."""

import pytest

from toolkit.config import Recipe, check_recipe
from toolkit.models.networks import NETWORKS
from toolkit.models.zoo import ZOO


@pytest.mark.parametrize("name", ZOO)
def test_it_is_a_recipe(name):
    model = check_recipe(ZOO[name], name).model
    assert name.startswith(model.network)
    assert model.regions == Recipe().model.regions


def test_every_network_has_a_name():
    assert {check_recipe(changes, name).model.network for name, changes in ZOO.items()} == set(NETWORKS)
