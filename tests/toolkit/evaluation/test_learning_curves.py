"""Learning curves: every epoch a row, means where every seed has been."""

import numpy as np
import pytest

from toolkit.evaluation.comparison import RunResult
from toolkit.evaluation.learning_curves import COLOURS, curve_rows, draw_curves, mean_curve


def run(model, seed, curve):
    return RunResult(model, seed, [], 10.0, curve, 1, "by_patient", False)


ROWS = list(curve_rows([run("a", 1, [0.2, 0.4, 0.6, 0.8]), run("a", 2, [0.4, 0.5]), run("b", 1, [0.9])]))


def test_every_epoch_is_a_row_with_the_minutes_spent():
    assert len(ROWS) == 7
    assert ROWS[1] == {"model": "a", "seed": 1, "epoch": 2, "minutes": 5.0, "val_dice": 0.4}
    assert ROWS[3]["minutes"] == ROWS[6]["minutes"] == 10.0


def test_the_mean_ends_where_the_first_seed_does():
    epochs, dice = mean_curve([row for row in ROWS if row["model"] == "a"])
    assert epochs.tolist() == [1, 2]
    assert dice.tolist() == pytest.approx([0.3, 0.45])


def rows_of(picture, colour):
    """Heights at which a colour is drawn, left of the legend."""
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    found = np.abs(picture[:, : picture.shape[1] // 2].astype(int) - rgb).max(axis=2) < 12
    return np.flatnonzero(found.any(axis=1))


def test_higher_dice_is_drawn_higher_and_each_model_in_its_colour():
    rows = list(curve_rows([run("a", 1, [0.2, 0.2]), run("b", 1, [0.9, 0.9])]))
    picture = draw_curves(rows, {"a": "A", "b": "B"})
    low, high = (rows_of(picture, colour) for colour in COLOURS[:2])
    assert low.size
    assert high.size
    assert high.max() < low.min()


def test_a_synthetic_store_is_named_on_the_picture():
    labels = {"a": "A", "b": "B"}
    assert (draw_curves(ROWS, labels, synthetic=True) != draw_curves(ROWS, labels)).any()
