"""A segmenter as a TFLite file: a window of slices of one size, built-in operators only.

A file for the model's grid has its two parts as signatures besides, so that a sequence of slices costs less: behind the
enhancer, slices that a window holds for context only need not be looked at.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from tempfile import TemporaryDirectory
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from toolkit.config import DataRecipe
from toolkit.data.grid import model_grid, resize_weights
from toolkit.export.halves import in_halves
from toolkit.export.joined import joined
from toolkit.export.resampling import resampled
from toolkit.export.saved_model import CARD
from toolkit.export.serving_graph import normalised
from toolkit.inference.runtimes.by_windows import needed_halo
from toolkit.inference.runtimes.lite import ENHANCE, ENHANCE_INNER, SEGMENT
from toolkit.models.inner_enhancer import inner_enhancer
from toolkit.models.model_file import ENTRY, ModelInfo
from toolkit.models.segmenter import split_segmenter

Precision = Literal["float32", "float16", "dynamic", "int8"]
# How names of layers begin that stay in float32 where the rest is int8, up to the encoder's first convolution.
FLOAT_LAYERS = ("enhance", "to_255", "modalities_to_rgb", "rescal", "normalization", "stem")
# A representative window and the range of its case.
Window = tuple[np.ndarray, np.ndarray]
# Gives inputs of a signature, by name.
Examples = Callable[[], Iterator[dict[str, np.ndarray]]]


def tflite_model(
    model: keras.Model,
    info: ModelInfo,
    card: str,
    precision: Precision,
    plane: tuple[int, int] | None = None,
    calibration: Callable[[], Iterable[Window]] | None = None,
) -> bytes:
    """A TFLite file.

    Its signature `serving_default` takes `slices` `(1, S, height, width, modalities)` float32, as stored, and
    `value_range` `(1, modalities, 2)` of their case, and gives `probability` `(1, S, height, width, regions)`.
    Normalisation and resizing stay in float32 whatever the precision, as the range of a scan may be anything.

    Without `plane` there are more: `enhance`, from the same inputs to `enhanced`, the normalised slices behind the
    enhancer, in their shape; `enhance_inner`, where windows overlap, to those that count inside a sequence
    `(1, S - 2 * halo, height, width, modalities)`; and `segment` and `segment_4`, from `enhanced` of 1 or 4 lone slices
    `(n, height, width, modalities)` to `probability` `(n, height, width, regions)`.

    Args:
        model: core model in float32.
        info: what it was made for; lies in the file, beside the card, in a zip behind its end (`unzip FILE`).
        card: model card, Markdown.
        precision: of weights (float16, dynamic), or of all arithmetic (int8).
        plane: height and width of the slices; none: the model's grid, on which slices are not resized.
        calibration: gives windows `(1, S, height, width, modalities)` of training patients; for int8.
    """
    if plane == (info.recipe.data.image_size,) * 2:
        plane = None  # these lie on the grid as they are
    whole = in_halves(model) if precision == "float16" else model
    windows = _named(calibration) if calibration else None
    contents = [_converted("serving_default", _window_function(whole, info, plane), whole, precision, windows)]
    if plane is None:
        parts = split_segmenter(model)
        # Of int8 the enhancer is none, see below.
        of_enhancer: Precision = "float32" if precision == "int8" else precision
        enhancers = {ENHANCE: parts.enhancer}
        if halo := needed_halo(info.recipe):
            enhancers[ENHANCE_INNER] = inner_enhancer(parts.enhancer, halo)
        for name, enhancer in enhancers.items():
            contents.append(_converted(name, _enhance_function(enhancer, info), enhancer, of_enhancer, None))
        network = in_halves(parts.network) if precision == "float16" else parts.network
        for n_slices, name in SEGMENT.items():
            slices = _enhanced(parts.enhancer, calibration, n_slices) if calibration else None
            contents.append(_converted(name, _network_function(network, n_slices), network, precision, slices))
    return _with_appendix(joined(contents), {ENTRY: info.model_dump_json(indent=2), CARD: card})


def _converted(name: str, function: Any, model: keras.Model, precision: Precision, examples: Examples | None) -> bytes:
    """A TFLite file of one signature."""
    with TemporaryDirectory() as folder:
        module = tf.Module()
        module.weights = [variable.value for variable in model.variables]
        # By way of a SavedModel weights become constants and names of inputs and outputs stay.
        tf.saved_model.save(module, folder, signatures={name: function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[name])
        return _of_precision(converter, precision, examples)


def _of_precision(converter: Any, precision: Precision, examples: Examples | None) -> bytes:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "int8":
        assert examples is not None
        return _int8(converter, examples)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _int8(converter: Any, examples: Examples) -> bytes:
    """Integers behind the encoder's stem; what comes before stays in float32.

    Raw pixels have any range, of which 256 steps would keep little; the enhancer adds small corrections to large
    values; and of a grey slice the stem's colour-opponent filters see next to nothing, which its batch norm enlarges:
    three colours rounded apart would be colours. TensorFlow's quantisation debugger is its public way of leaving
    operators out.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=converter.convert())
    before = [d["name"] for d in interpreter.get_tensor_details() if not _is_behind_stem(d["name"])]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=before),
    )
    return debugger.get_nondebug_quantized_model()


def _is_behind_stem(tensor: str) -> bool:
    """Whether a tensor is one of the network behind the stem; operators are named after the layers they are of."""
    return "segmenter" in tensor and not any(f"/{layer}" in tensor for layer in FLOAT_LAYERS)


def _window_function(model: keras.Model, info: ModelInfo, plane: tuple[int, int] | None) -> Any:
    """Raw slices of one window to their probability."""
    data, modalities = info.recipe.data, len(info.modalities)
    n_slices, size = data.window.slices, data.image_size
    height, width = plane or (size, size)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec((1, n_slices, height, width, modalities), tf.float32, name="slices"),
            tf.TensorSpec((1, modalities, 2), tf.float32, name="value_range"),
        ],
    )
    def serving_default(slices, value_range):
        images = normalised(slices, value_range)
        return {"probability": network(images) if plane is None else _on_grid(images, data, network)}

    def network(images: tf.Tensor) -> tf.Tensor:
        return model({"slices": images}, training=False)["probability"]

    return serving_default


def _enhance_function(enhancer: keras.Model, info: ModelInfo) -> Any:
    """Raw slices of one window to what the network sees of them."""
    _, *window = enhancer.inputs[0].shape

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec((1, *window), tf.float32, name="slices"),
            tf.TensorSpec((1, len(info.modalities), 2), tf.float32, name="value_range"),
        ],
    )
    def enhance(slices, value_range):
        return {"enhanced": enhancer(normalised(slices, value_range), training=False)}

    return enhance


def _network_function(network: keras.Model, n_slices: int) -> Any:
    """So many enhanced slices to their probability."""
    _, *plane = network.inputs[0].shape

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((n_slices, *plane), tf.float32, name="enhanced")])
    def segment(enhanced):
        return {"probability": network(enhanced, training=False)["probability"]}

    return segment


def _on_grid(images: tf.Tensor, data: DataRecipe, network: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """`toolkit.data.grid.Grid` of slices whose size is known: to the grid, through the network, and back."""
    _, n_slices, height, width, _ = images.shape
    grid = model_grid((n_slices, height, width), None, data)
    top, left = (grid.size - grid.height) // 2, (grid.size - grid.width) // 2
    rows, columns = slice(top, top + grid.height), slice(left, left + grid.width)
    flat = resampled(images[0], resize_weights(height, grid.height), resize_weights(width, grid.width))
    margins = [(0, 0), (top, grid.size - rows.stop), (left, grid.size - columns.stop), (0, 0)]
    maps = network(tf.pad(flat, margins)[None])[0, :, rows, columns]
    return resampled(maps, resize_weights(grid.height, height), resize_weights(grid.width, width))[None]


def _named(calibration: Callable[[], Iterable[Window]]) -> Examples:
    """Windows as inputs of `serving_default`."""

    def examples() -> Iterator[dict[str, np.ndarray]]:
        for slices, value_range in calibration():
            yield {"slices": slices.astype(np.float32), "value_range": value_range.astype(np.float32)}

    return examples


def _enhanced(enhancer: keras.Model, calibration: Callable[[], Iterable[Window]], n_slices: int) -> Examples:
    """Their slices as inputs of the network, so many at a time; those that are left over are left out."""

    def examples() -> Iterator[dict[str, np.ndarray]]:
        waiting: list[np.ndarray] = []
        for window in _named(calibration)():
            seen = normalised(tf.constant(window["slices"]), tf.constant(window["value_range"]))
            waiting += list(np.asarray(enhancer(seen, training=False))[0])
            while len(waiting) >= n_slices:
                yield {"enhanced": np.stack(waiting[:n_slices])}
                del waiting[:n_slices]

    return examples


def _with_appendix(content: bytes, files: dict[str, str]) -> bytes:
    """Put files into a zip behind a FlatBuffer, whose readers stop before: TensorFlow Lite's way of metadata."""
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return stream.getvalue()
