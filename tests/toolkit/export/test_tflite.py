"""A TFLite file: built-in operators only, knows what it is for, and says what Keras says."""

import subprocess
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.small_models import scan, small_info, stand_in
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError
from toolkit.export.tflite import _is_behind_stem, tflite_model
from toolkit.inference.runtimes.keras_file import KerasRuntime
from toolkit.inference.runtimes.lite import LiteRuntime
from toolkit.models.model_file import read_info

PRECISIONS = ["float32", "float16", "dynamic", "int8"]
# How far probability may be off: of integers of 8 bits and an untrained network, which has no reserves, far.
CLOSE = {"float32": 1e-5, "float16": 5e-3, "dynamic": 0.1, "int8": 0.5}


@pytest.fixture(scope="module")
def keras(small_exports):
    runtime = KerasRuntime("model", small_exports.model, small_exports.info)
    return lambda images: runtime.probability(images, intensity_range(images), None)


def operators(path):
    interpreter = Interpreter(model_path=str(path))
    return interpreter._get_ops_details(), interpreter.get_tensor_details()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_operator_is_one_that_phones_lack(small_exports, precision):
    ops, _ = operators(small_exports.tflite(precision))
    names = {op["op_name"] for op in ops}
    assert "CONV_2D" in names
    assert not [name for name in names if name.startswith("Flex") or "custom" in name.lower()]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_file_of_any_precision_says_what_keras_says(small_exports, keras, precision):
    images = scan(6)
    limits = intensity_range(images)
    answer = LiteRuntime(small_exports.tflite(precision)).probability(images, limits, None)
    difference = np.abs(answer - keras(images))
    assert difference.max() < CLOSE[precision]
    assert ((answer >= 0.5) == (keras(images) >= 0.5)).mean() > 0.97


def test_smaller_precisions_make_smaller_files(small_exports):
    sizes = {precision: small_exports.tflite(precision).stat().st_size for precision in PRECISIONS}
    assert sizes["dynamic"] < sizes["float16"] < sizes["float32"]
    assert sizes["int8"] < sizes["float32"]


def test_in_int8_the_network_is_integers_and_the_enhancer_is_not(small_exports):
    """256 steps would swallow the small corrections that an enhancer makes to raw values of any range."""
    ops, tensors = operators(small_exports.tflite("int8"))
    kinds = {tensor["index"]: (tensor["name"], np.dtype(tensor["dtype"]).name) for tensor in tensors}
    outputs = [kinds[op["outputs"][0]] for op in ops if op["op_name"] == "CONV_2D"]
    behind = {kind for name, kind in outputs if _is_behind_stem(name)}
    before = {kind for name, kind in outputs if not _is_behind_stem(name)}
    assert behind == {"int8"}
    assert before == {"float32"}


@pytest.mark.parametrize(
    ("tensor", "behind"),
    [
        ("mul_3", False),
        ("segmenter_1/enhancer_gain_in_1/x", False),
        ("segmenter_1/encoder_1/rescale_1/add;segmenter_1/modalities_to_rgb_1/Squeeze", False),
        ("segmenter_1/encoder_1/stem_relu_1/Relu6;segmenter_1/encoder_1/stem_conv_1/convolution", False),
        ("segmenter_1/encoder_1/block0_depthwise_conv_1/depthwise", True),
        ("segmenter_1/down0_1_conv_1/convolution", True),
    ],
)
def test_operators_before_the_network_are_told_by_their_layers(tensor, behind):
    assert _is_behind_stem(tensor) == behind


def test_the_file_tells_what_it_is_for_and_any_unzip_shows_the_card(small_exports, tmp_path):
    path = small_exports.tflite("float16")
    assert read_info(path) == small_exports.info
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"bts.json", "MODEL_CARD.md"}
    subprocess.run(["python3", "-m", "zipfile", "-e", path, tmp_path], check=True)
    assert (tmp_path / "MODEL_CARD.md").read_text() == small_exports.CARD


def test_inputs_and_output_are_named(small_exports):
    run = Interpreter(model_path=str(small_exports.tflite("float32", (40, 28)))).get_signature_runner("serving_default")
    shapes = {name: tuple(d["shape"]) for name, d in run.get_input_details().items()}
    assert shapes == {"slices": (1, 4, 40, 28, 1), "value_range": (1, 1, 2)}
    assert {name: tuple(d["shape"]) for name, d in run.get_output_details().items()} == {
        "probability": (1, 4, 40, 28, 1)
    }


# --- sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("n_slices", [1, 3, 4, 5, 11])
def test_a_file_for_one_size_takes_slices_as_stored_and_any_number(small_exports, keras, n_slices):
    images = scan(n_slices)
    answer = LiteRuntime(small_exports.tflite("float32", (40, 28))).probability(images, intensity_range(images), None)
    np.testing.assert_allclose(answer, keras(images), atol=1e-5)


@pytest.mark.parametrize("plane", [(32, 32), (21, 32), (96, 60), (20, 24), (33, 31)])
def test_slices_of_any_size_can_be_what_a_file_is_for(plane, tmp_path):
    """Larger and smaller than the grid, lying and standing, even and odd; two modalities and two regions."""
    info = small_info(model={"regions": {"whole": [1, 2], "core": [1]}}, modalities=("t1c", "t2f"))
    model, images = stand_in(info), scan(5, *plane, modalities=2)
    limits = intensity_range(images)
    path = tmp_path / "sized.tflite"
    path.write_bytes(tflite_model(model, info, "card", "float32", plane))
    answer = LiteRuntime(path).probability(images, limits, None)
    expected = KerasRuntime("model", model, info).probability(images, limits, None)
    assert expected.std() > 0.05
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_scan_of_another_size_is_refused_with_what_to_export(small_exports):
    images = scan(4, 45, 64)
    runtime = LiteRuntime(small_exports.tflite("float32", (40, 28)))
    with pytest.raises(
        ModelError, match=r"is for slices of 40x28 pixels, the scan has 45x64; export with --size 45x64"
    ):
        runtime.probability(images, intensity_range(images), None)
