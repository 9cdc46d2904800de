"""The picture of a search."""

import numpy as np
import pytest

from toolkit.evaluation.search_chart import BEST, COMPLETE, GIVEN_UP, draw_search

ROWS = [
    {"state": "complete", "dice": 0.5, "rate": 1e-3, "network": "unet", "on": True},
    {"state": "given up", "dice": 0.2, "rate": 1e-4, "network": "proposed", "on": False},
    {"state": "these values do not go together", "dice": None, "rate": 1e-2, "network": "unet", "on": True},
    {"state": "complete", "dice": 0.7, "rate": 2e-3, "network": "proposed", "on": True},
]


def has(picture, colour):
    """Whether a colour is in it; marks are seen through."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(picture.astype(int) - rgb).sum(axis=-1) < 120).sum() > 20


@pytest.mark.parametrize("n_keys", [1, 2, 3])
def test_it_draws_trials_of_numbers_and_of_names(n_keys):
    picture = draw_search(ROWS, ["rate", "network", "on"][:n_keys], {"rate"})
    assert picture.dtype == np.uint8
    assert picture.shape[0] == 330 * (1 if n_keys < 3 else 2)
    for colour in (COMPLETE, GIVEN_UP, BEST):
        assert has(picture, colour)


def test_a_search_without_a_complete_trial_is_drawn_too():
    assert not has(draw_search(ROWS[1:3], ["rate"], ()), BEST)


def test_made_up_data_is_named():
    assert (draw_search(ROWS, ["rate"], (), synthetic=True) != draw_search(ROWS, ["rate"], ())).any()
