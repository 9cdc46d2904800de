"""A .tflite file marks a scan where neither TensorFlow nor Keras is installed."""

import subprocess
import sys

import numpy as np
import pytest

from tests.small_models import scan
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError
from toolkit.inference.runtimes.keras_file import KerasRuntime
from toolkit.inference.runtimes.lite import LiteRuntime

WITHOUT_TENSORFLOW = """
import sys
absent = {"tensorflow", "keras", "jax"}
sys.modules.update({name: None for name in absent})   # importing what is None fails
import numpy as np
from pathlib import Path
from toolkit.inference.predictor import Predictor
model, images, answer = map(Path, sys.argv[1:])
predictor = Predictor(model)
np.save(answer, predictor.mask(predictor.predict(np.load(images))))
assert not [name for name, module in sys.modules.items() if module and name.partition(".")[0] in absent]
"""


@pytest.fixture(scope="module")
def keras(small_exports):
    return KerasRuntime("model", small_exports.model, small_exports.info)


def test_it_needs_neither_tensorflow_nor_keras(small_exports, keras, tmp_path):
    images = scan(7)
    np.save(tmp_path / "images.npy", images)
    arguments = [small_exports.tflite(), tmp_path / "images.npy", tmp_path / "answer.npy"]
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = keras.probability(images, intensity_range(images), None)[..., 0] >= 0.5
    np.testing.assert_array_equal(np.load(tmp_path / "answer.npy"), expected)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 45, 64), (4, 20, 24), (11, 33, 31)])
def test_a_file_for_the_grid_takes_scans_of_any_size(small_exports, keras, shape):
    images = scan(*shape)
    limits = intensity_range(images)
    answer = LiteRuntime(small_exports.tflite()).probability(images, limits, None)
    np.testing.assert_allclose(answer, keras.probability(images, limits, None), atol=1e-5)


def asked(runtime):
    """The signatures a runtime asks, in order."""
    names = []

    def telling(name, run):
        return lambda **inputs: names.append(name) or run(**inputs)

    runtime._enhance, runtime._enhance_inner = (
        telling("enhance", runtime._enhance),
        telling("inner", runtime._enhance_inner),
    )
    runtime._segment = {n: telling(f"segment {n}", run) for n, run in runtime._segment.items()}
    return names


@pytest.mark.parametrize(
    ("n_slices", "signatures"),
    [
        (1, ["enhance", "segment 1"]),
        (4, ["enhance", "segment 4"]),
        (6, ["enhance", "enhance", "segment 4", "segment 1", "segment 1"]),
        (9, ["enhance", "inner", "segment 4", "inner", "enhance", "segment 4", "segment 1"]),
    ],
)
def test_of_windows_within_a_case_only_inner_slices_are_enhanced_and_four_are_marked_at_a_time(
    small_exports, keras, n_slices, signatures
):
    images, runtime = scan(n_slices), LiteRuntime(small_exports.tflite())
    names, limits = asked(runtime), intensity_range(images)
    answer = runtime.probability(images, limits, None)
    assert names == signatures
    np.testing.assert_allclose(answer, keras.probability(images, limits, None), atol=1e-5)


def test_a_piece_of_a_case_is_answered_by_the_range_of_the_case(small_exports, keras):
    images = scan(4) // 2
    limits = intensity_range(scan(4))
    for path in (small_exports.tflite(), small_exports.tflite("float32", (40, 28))):
        answer = LiteRuntime(path).probability(images, limits, None)
        np.testing.assert_allclose(answer, keras.probability(images, limits, None), atol=1e-5)
        assert np.abs(answer - keras.probability(images, intensity_range(images), None)).max() > 0.01


@pytest.mark.parametrize("damage", ["cut", "no model in it", "another signature"])
def test_a_damaged_file_is_named_with_the_fix(small_exports, tmp_path, damage):
    path, whole = tmp_path / "damaged.tflite", small_exports.tflite().read_bytes()
    appendix = whole[whole.index(b"PK\3\4") :]
    content = {
        "cut": whole[: len(whole) // 2],
        "no model in it": b"no FlatBuffer" * 100 + appendix,
        "another signature": whole.replace(b"serving_default\0", b"another_default\0"),
    }
    path.write_bytes(content[damage])
    with pytest.raises(ModelError, match=r"damaged\.tflite: .*export it again") as raised:
        LiteRuntime(path)
    assert "\n" not in str(raised.value)


def test_where_litert_is_missing_it_says_what_to_install(small_exports, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ModelError, match="needs LiteRT to run: pip install ai-edge-litert"):
        LiteRuntime(small_exports.tflite())
