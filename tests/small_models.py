"""Models made in a moment whose answers tell slices, windows and places apart, for tests of what runs a model."""

from functools import cache, cached_property

import keras
import numpy as np

from toolkit.config import check_recipe
from toolkit.data.intensity import intensity_range, normalise
from toolkit.export.saved_model import write_saved_model
from toolkit.export.tflite import tflite_model
from toolkit.layers.exclusive import ExclusiveProbability
from toolkit.layers.slices import MergeSlices, SplitSlices
from toolkit.models.model_file import ModelInfo, save_model
from toolkit.models.segmenter import build_segmenter

SIZE, N_SLICES, HALO = 32, 4, 1
SEGMENTER = {"enhancer": {"filters": 2}, "network": "unet", "filters": 4}


def small_info(data=None, model=None, modalities=("t1c",), **more):
    """What a model of windows of 4 slices on a grid of 32 pixels says of itself."""
    data = {"image_size": SIZE, "window": {"slices": N_SLICES, "halo": HALO}} | (data or {})
    values = {
        "modalities": modalities,
        "label_map": {"background": 0, "tumour": 1},
        "data_kind": "phantom",
        "data_checksums_sha256": {},
        "synthetic_data": True,
    }
    recipe = check_recipe({"name": "small", "data": data, "model": SEGMENTER | (model or {})}, "test")
    return ModelInfo(recipe=recipe, **(values | more))


def stand_in(info, seed=0):
    """A model of two layers; every slice of a window has a say about every other, and so has its place there."""
    rng = np.random.default_rng(seed)
    data, regions = info.recipe.data, len(info.recipe.model.regions)
    n_slices, size, modalities = data.window.slices, data.image_size, len(info.modalities)
    slices = keras.Input((n_slices, size, size, modalities), name="slices")
    look = keras.layers.Conv3D(modalities, (2 * n_slices - 1, 3, 3), padding="same")
    enhanced = keras.layers.Add(name="enhanced")([slices, look(slices)])
    weigh = keras.layers.Dense(regions, name="network")
    lone = weigh(MergeSlices(name="merge_slices")(enhanced))
    logits = SplitSlices(n_slices, name="split_slices")(lone)
    if info.recipe.model.exclusive:
        probability = ExclusiveProbability(dtype="float32", name="probability")(logits)
    else:
        probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
    look.set_weights([rng.normal(0, 0.1, weight.shape) for weight in look.get_weights()])
    weigh.set_weights([rng.normal(0, 3, weight.shape) for weight in weigh.get_weights()])
    return keras.Model({"slices": slices}, {"probability": probability}, name="segmenter")


def brightness_model(kernel, bias, size=SIZE):
    """A network of one pixel's width: the probability of a normalised pixel x is `sigmoid(kernel * x + bias)`."""
    slices = keras.Input((N_SLICES, size, size, 1), name="slices")
    lone = MergeSlices(name="merge_slices")(keras.layers.Identity(name="enhanced")(slices))
    weigh = keras.layers.Dense(1, name="logits")
    logits = SplitSlices(N_SLICES, name="split_slices")(weigh(lone))
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
    weigh.set_weights([np.array([[kernel]]), np.array([bias])])
    return keras.Model({"slices": slices}, {"probability": probability}, name="segmenter")


def awake_segmenter(info, seed=0):
    """A real segmenter, never trained, whose enhancer does change slices and whose probabilities go from 0 to 1."""
    model = build_segmenter(info.recipe, len(info.modalities))
    rng = np.random.default_rng(seed)
    for name in ("enhancer_gain_out", "enhancer_detail_out"):
        layer = model.get_layer(name)
        layer.set_weights([rng.normal(0, 0.1, weight.shape) for weight in layer.get_weights()])
    last = model.get_layer("logits")
    data = info.recipe.data
    images = scan(data.window.slices, data.image_size, data.image_size, len(info.modalities))[None]
    seen = normalise(images, intensity_range(images[0]))
    logits = keras.ops.convert_to_numpy(keras.Model(model.inputs, last.output)({"slices": seen}))
    factors = 2 / logits.std(axis=(0, 1, 2))
    kernel, bias = last.get_weights()
    last.set_weights([kernel * factors, (bias - logits.mean(axis=(0, 1, 2))) * factors])
    return model


def scan(n_slices=7, height=40, width=28, modalities=1, seed=0, dtype=np.int16):
    """A head with a bright disc that moves from slice to slice, values as a scanner stores them."""
    rng = np.random.default_rng(seed)
    row, column = np.indices((height, width))
    inside = ((row / height - 0.5) ** 2 + (column / width - 0.5) ** 2 < 0.2) * 90
    images = rng.integers(0, 30, (n_slices, height, width, modalities)) + inside[..., None]
    for index in range(n_slices):
        lesion = (row - height / 3 - index) ** 2 + (column - width / 3) ** 2 < (min(height, width) / 5) ** 2
        images[index, lesion] += 100 + 3 * index
    return images.astype(dtype)


class SmallExports:
    """One small segmenter as every kind of file, each written when it is first asked for.

    Args:
        folder: where the files lie.
    """

    CARD = "# A small model\n"

    def __init__(self, folder):
        self._folder, self.info = folder, small_info()
        self.tflite = cache(self._tflite)

    @cached_property
    def model(self):
        return awake_segmenter(self.info)

    @cached_property
    def keras_file(self):
        save_model(self.model, self._folder / "small.keras", self.info)
        return self._folder / "small.keras"

    @cached_property
    def saved_model(self):
        write_saved_model(self.model, self.info, self.CARD, self._folder / "small")
        return self._folder / "small"

    def _tflite(self, precision="float32", plane=None):
        path = self._folder / f"{precision}_{plane}.tflite"
        path.write_bytes(tflite_model(self.model, self.info, self.CARD, precision, plane, self._calibration))
        return path

    def _calibration(self):
        for seed in range(3):
            images = scan(N_SLICES, SIZE, SIZE, seed=seed)
            yield normalise(images, intensity_range(images))[None], np.array([[[0, 1]]], np.float32)
