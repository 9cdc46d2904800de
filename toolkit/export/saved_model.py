"""A segmenter as a SavedModel: everything in the graph, for TensorFlow and TensorFlow Serving."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import tensorflow as tf

from toolkit.data.sources.pictures import BGR_WEIGHTS
from toolkit.export.serving_graph import ServingGraph
from toolkit.inference.outputs import WHITE
from toolkit.models.model_file import ENTRY, ModelInfo

CARD = "MODEL_CARD.md"
PNG_DEPTH_AT = 24  # byte of a PNG file that holds its bit depth (PNG specification, 11.2.2)


def write_saved_model(model: keras.Model, info: ModelInfo, card: str, path: Path) -> None:
    """Write a SavedModel folder.

    Signatures, all with named inputs and outputs, the first dimension being the batch: `serving_default` (slices to
    probability and mask), `enhance` (slices to enhanced slices), `encoded` (PNG or JPEG files to PNG masks; where no
    distances in mm are needed), `describe` (what the model was made for). Assets: `bts.json`, the same, and the card.

    Args:
        model: core model in float32.
        info: what it was made for.
        card: model card, Markdown.
        path: folder that does not exist yet.
    """
    graph = ServingGraph(model, info)
    with TemporaryDirectory() as folder:
        graph.information = _asset(Path(folder) / ENTRY, info.model_dump_json(indent=2))
        graph.card = _asset(Path(folder) / CARD, card)
        tf.saved_model.save(graph, str(path), signatures=signatures(graph))


def signatures(graph: ServingGraph) -> dict[str, Any]:
    """The signatures of `write_saved_model`, by name."""
    info = graph.info
    # Whoever may ask a server need not know who the patients were; those who have the files do.
    told = info.model_copy(update={"training_patient_groups": ()}).model_dump_json()

    def marked(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probability = graph.probability(*inputs)
        return {"probability": probability, "mask": graph.mask(probability)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None,), tf.int32, name="requests")])
    def describe(requests):
        return {"information": tf.fill(tf.shape(requests), told)}

    found = {
        "serving_default": _of_cases(marked, info),
        "enhance": _of_cases(lambda *inputs: {"enhanced": graph.enhanced(*inputs)}, info),
        "describe": describe,
    }
    if info.recipe.data.spacing_mm is not None:
        return found

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec((None, len(info.modalities)), tf.string, name="picture_bytes")]
    )
    def encoded(picture_bytes):
        return {"mask_bytes": tf.map_fn(lambda files: _encoded_mask(graph, files), picture_bytes)}

    return {**found, "encoded": encoded}


def _of_cases(answer: Callable[..., dict[str, tf.Tensor]], info: ModelInfo) -> Any:
    """A function of cases with the inputs that the model needs; the range may be left out."""
    modalities = len(info.modalities)
    slices = tf.TensorSpec((None, None, None, None, modalities), tf.float32, name="slices")
    value_range = tf.TensorSpec((None, None, 2), tf.float32, name="value_range")
    # A default has to be a tensor for the signature to keep it.
    unknown = tf.fill((1, 1, 2), math.nan)
    if info.recipe.data.spacing_mm is None:

        @tf.function(autograph=False, input_signature=[slices, value_range])
        def of_pixels(slices, value_range=unknown):
            return answer(slices, value_range)

        return of_pixels

    @tf.function(
        autograph=False, input_signature=[slices, tf.TensorSpec((None, 3), tf.float32, name="spacing_mm"), value_range]
    )
    def of_millimetres(slices, spacing_mm, value_range=unknown):
        return answer(slices, value_range, spacing_mm)

    return of_millimetres


def _encoded_mask(graph: ServingGraph, files: tf.Tensor) -> tf.Tensor:
    """A PNG of the mask of one slice, as `bts-predict` writes it."""
    channels = [_decoded(file) for file in tf.unstack(files)]
    slices = tf.stack(channels, axis=-1)[None, None]
    mask = graph.mask(graph.probability(slices, tf.fill((1, 1, 2), math.nan)))[0, 0]
    if len(graph.info.mask_labels) == 1:
        mask = tf.where(mask > 0, tf.constant(WHITE, tf.uint8), mask)
    return tf.io.encode_png(mask[..., None])


def _decoded(file: tf.Tensor) -> tf.Tensor:
    """A grey slice `(height, width)` float32 out of a PNG or JPEG, by the rules of `toolkit.data.sources.pictures`."""

    def png() -> tf.Tensor:
        deep = tf.strings.substr(file, PNG_DEPTH_AT, 1) == b"\x10"
        return tf.cond(
            deep,
            lambda: tf.cast(tf.io.decode_png(file, 3, tf.uint16), tf.float64),
            lambda: tf.cast(tf.io.decode_png(file, 3), tf.float64),
        )

    colours = tf.cond(
        tf.io.is_jpeg(file), lambda: tf.cast(tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE"), tf.float64), png
    )
    colours = tf.ensure_shape(colours, (None, None, 3))
    # Halves are rounded to even, as NumPy does. Of three equal channels this is the channel.
    luminance = tf.tensordot(colours, tf.constant(BGR_WEIGHTS[::-1], tf.float64), 1) / sum(BGR_WEIGHTS)
    return tf.cast(tf.round(luminance), tf.float32)


def _asset(path: Path, text: str) -> tf.saved_model.Asset:
    path.write_text(text, encoding="utf-8")
    return tf.saved_model.Asset(str(path))
