"""A SavedModel folder is asked for whole cases, as they are stored."""

import shutil

import numpy as np
import pytest

from tests.small_models import scan, small_info
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError
from toolkit.inference.runtimes.keras_file import KerasRuntime
from toolkit.inference.runtimes.runtime import WholeCaseRuntime
from toolkit.inference.runtimes.saved_model import SavedModelRuntime, case_inputs


def test_a_piece_of_a_case_is_answered_by_the_range_of_the_case(small_exports):
    images, limits = scan(5) // 2, intensity_range(scan(5))
    keras = KerasRuntime("model", small_exports.model, small_exports.info)
    answer = SavedModelRuntime(small_exports.saved_model).probability(images, limits, None)
    np.testing.assert_allclose(answer, keras.probability(images, limits, None), atol=1e-5)
    assert np.abs(answer - keras.probability(images, intensity_range(images), None)).max() > 0.01


@pytest.mark.parametrize("missing", ["saved_model.pb", "variables", "assets"])
def test_a_damaged_folder_is_named_with_the_fix(small_exports, tmp_path, missing):
    folder = tmp_path / "damaged"
    shutil.copytree(small_exports.saved_model, folder)
    shutil.rmtree(folder / missing) if (folder / missing).is_dir() else (folder / missing).write_bytes(b"\xff" * 50)
    with pytest.raises(ModelError, match=r"damaged: .*export it again") as raised:
        SavedModelRuntime(folder)
    assert "\n" not in str(raised.value)


def test_a_model_in_mm_is_sent_the_spacing_and_wants_to_know_it():
    class InMm(WholeCaseRuntime):
        name, info = "model", small_info({"spacing_mm": (3.0, 1.0, 1.0)})

        def probability(self, *_):
            """Not asked."""

    case = np.zeros((2, 4, 5, 1), np.int16), np.array([[0, 1]])
    inputs = case_inputs(InMm(), *case, (3.0, 0.9, 0.9))
    assert {name: (values.shape, values.dtype.name) for name, values in inputs.items()} == {
        "slices": ((1, 2, 4, 5, 1), "float32"),
        "value_range": ((1, 1, 2), "float32"),
        "spacing_mm": ((1, 3), "float32"),
    }
    with pytest.raises(ModelError, match="model: works in mm, and the spacing is unknown; give it with --spacing"):
        case_inputs(InMm(), *case, None)
