"""Some of many, evenly spread, with both ends."""

import pytest

from toolkit.spread import evenly_spread


@pytest.mark.parametrize(("n_all", "most", "chosen"), [(1, 5, [0]), (3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (9, 1, [0])])
def test_slices_are_spread_evenly(n_all, most, chosen):
    assert evenly_spread(n_all, most).tolist() == chosen
