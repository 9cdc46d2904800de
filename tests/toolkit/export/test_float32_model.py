"""Whatever a model was trained in, it leaves in float32; and what can't leave is told so."""

import keras
import numpy as np
import pytest

from tests.small_models import awake_segmenter, scan, small_info, stand_in
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError, UsageError
from toolkit.export.float32_model import float32_model
from toolkit.inference.runtimes.keras_file import KerasRuntime
from toolkit.models.model_file import save_model


def said(model, info, images):
    return KerasRuntime("model", model, info).probability(images, intensity_range(images), None)


def test_a_model_trained_in_half_precision_leaves_as_its_float32_twin(tmp_path):
    info = small_info()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        trained = awake_segmenter(info)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert "float16" in {layer.compute_dtype for layer in trained.layers}
    save_model(trained, tmp_path / "half.keras", info)
    twin, read = float32_model(tmp_path / "half.keras")
    assert {layer.compute_dtype for layer in twin.layers} == {"float32"}
    assert keras.mixed_precision.global_policy().name == "float32"
    assert read == info
    for ours, theirs in zip(twin.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    images = scan(4)
    np.testing.assert_allclose(said(twin, info, images), said(trained, info, images), atol=0.05)


def test_a_model_in_float32_leaves_as_it_is(small_exports):
    model, info = float32_model(small_exports.keras_file)
    images = scan(4)
    np.testing.assert_array_equal(said(model, info, images), said(small_exports.model, info, images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "enhance"}, r"odd\.keras: is an enhancer and marks no tumours; export the segmenter"),
        ({"data": {"window": {"shuffled": True}}}, r"odd\.keras: was trained on shuffled neighbours"),
    ],
    ids=["enhancer", "shuffled"],
)
def test_what_marks_no_tumours_or_was_only_to_compare_with_does_not_leave(tmp_path, change, message):
    info = small_info()
    values = info.recipe.model_dump()
    for key, value in change.items():
        values[key] = values[key] | {"window": values[key]["window"] | value["window"]} if key == "data" else value
    odd = info.model_copy(update={"recipe": type(info.recipe).model_validate(values)})
    save_model(stand_in(info), tmp_path / "odd.keras", odd)
    with pytest.raises(ModelError, match=message):
        float32_model(tmp_path / "odd.keras")


def test_on_another_backend_than_tensorflow_nothing_leaves(small_exports, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        UsageError, match="KERAS_BACKEND=jax: a model leaves by way of TensorFlow; run bts-export without"
    ):
        float32_model(small_exports.keras_file)
