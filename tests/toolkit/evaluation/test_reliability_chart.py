"""The reliability diagram is drawn, also where there is nothing to show."""

import numpy as np
import pytest

from toolkit.config import ModelRecipe
from toolkit.evaluation.calibration import PixelCounter, patient_sums
from toolkit.evaluation.reliability_chart import COLOURS, draw_reliability


def sums_of(probability, truth, temperature=1.0):
    counter = PixelCounter(ModelRecipe())
    counter.add(np.asarray(probability, np.float32), truth, "p")
    return patient_sums(counter.samples(), temperature)


def colour_places(picture, colour):
    """Rows and columns of the pixels that have exactly a colour of the palette."""
    return np.nonzero((picture == [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).all(axis=-1))


def test_a_curve_below_the_diagonal_is_lower_than_one_above():
    """Of 0.3 and 0.7 half are tumour each: told at a temperature it is drawn together, at another apart."""
    probability = np.repeat([0.3, 0.7], 200).reshape(1, 20, 20, 1)
    truth = np.tile([0, 1], 200).reshape(1, 20, 20)
    picture = draw_reliability({"before": sums_of(probability, truth), "after": sums_of(probability, truth, 10.0)})
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
    (_, before), (_, after) = (colour_places(picture, colour) for colour in COLOURS)
    assert len(before) > 100
    assert len(after) > 100
    assert np.ptp(after) < np.ptp(before)


@pytest.mark.filterwarnings("error")
def test_without_a_pixel_there_is_an_empty_diagram():
    nothing = sums_of(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4), int))
    assert not len(colour_places(draw_reliability({"as told": nothing}, synthetic=True), COLOURS[1])[0])
