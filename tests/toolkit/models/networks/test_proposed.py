"""The attention U-Net alone: its logits, its first step, and what it shows the encoder."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

import toolkit
from toolkit.config import ModelRecipe
from toolkit.models.networks.parts import TUMOUR_PRIOR, set_rgb_kernel
from toolkit.models.networks.proposed import proposed

SIZE = 32
FEW_FILTERS = (8, 8, 4, 4, 4)


def build(modalities=1, **changes):
    recipe = ModelRecipe(encoder_weights="none", decoder_filters=FEW_FILTERS, **changes)
    images = keras.Input((SIZE, SIZE, modalities))
    model = keras.Model(images, proposed(images, recipe))
    set_rgb_kernel(model)
    return model


@pytest.fixture(scope="module")
def three_classes():
    return build(modalities=2, regions={"a": (1,), "b": (2,), "c": (3,)}, dropout=0.0)


def test_there_is_a_logit_for_every_pixel_and_class(three_classes):
    logits = three_classes(np.random.default_rng(5).random((2, SIZE, SIZE, 2), np.float32))
    assert logits.shape == (2, SIZE, SIZE, 3)


def test_the_output_starts_at_the_expected_share_of_tumour(three_classes):
    bias = three_classes.get_layer("logits").get_weights()[1]
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), TUMOUR_PRIOR, rtol=1e-5)


def test_every_skip_of_the_encoder_has_its_gate(three_classes):
    gates = {layer.name: layer.output[1].shape[1] for layer in three_classes.layers if layer.name.endswith("_gate")}
    assert gates == {"decoder4_gate": 2, "decoder3_gate": 4, "decoder2_gate": 8, "decoder1_gate": 16}


def test_without_attention_there_is_no_gate_and_without_dropout_no_dropout(three_classes):
    plain = build(attention=False, dropout=0.3)
    names = [layer.name for layer in plain.layers]
    assert not any(name.endswith("_gate") for name in names)
    assert [plain.get_layer(name).rate for name in names if name.endswith("_dropout")] == [0.3] * 5
    assert not any(layer.name.endswith("_dropout") for layer in three_classes.layers)


# --- modalities to colours --------------------------------------------------------


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
def test_the_encoder_first_sees_the_scan_as_a_picture(modalities):
    """One modality as grey, three as they are, else the mean in each colour; 0-1 becomes 0-255."""
    images = keras.Input((SIZE, SIZE, modalities))
    rgb = keras.layers.Conv2D(3, 1, bias_initializer="ones", name="modalities_to_rgb")(images * 255.0)
    model = keras.Model(images, rgb)
    set_rgb_kernel(model)
    scan = np.random.default_rng(6).random((1, SIZE, SIZE, modalities), np.float32)
    expected = scan if modalities == 3 else np.repeat(scan.mean(axis=-1, keepdims=True), 3, axis=-1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(scan)), expected * 255, atol=1e-3)


def test_the_unet_brings_its_images_to_the_range_of_the_encoder(three_classes):
    seen = keras.Model(three_classes.input, three_classes.get_layer("modalities_to_rgb").output)
    scan = np.random.default_rng(6).random((1, SIZE, SIZE, 2), np.float32)
    grey = scan.mean(axis=-1, keepdims=True) * 255
    np.testing.assert_allclose(keras.ops.convert_to_numpy(seen(scan)), np.repeat(grey, 3, axis=-1), atol=1e-3)


# --- one code for every backend ---------------------------------------------------

TOOLKIT = Path(toolkit.__file__).parent
NEUTRAL = sorted(
    [
        *TOOLKIT.glob("models/**/*.py"),
        *TOOLKIT.glob("layers/*.py"),
        TOOLKIT / "losses.py",
        TOOLKIT / "training/picture_dice.py",
    ]
)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", NEUTRAL, ids=lambda path: str(path.relative_to(TOOLKIT)))
def test_what_makes_up_a_model_knows_of_no_backend(path):
    assert not {"tensorflow", "tf", "jax", "jaxlib", "torch"} & set(imported(path))


def test_an_import_of_a_backend_would_be_seen(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from tensorflow.keras import layers\n    import jax.numpy as jnp\n")
    assert {"tensorflow", "jax"} <= set(imported(module))
    assert len(NEUTRAL) > 10
