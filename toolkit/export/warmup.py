"""Requests that TensorFlow Serving computes for itself before a version answers, so that nobody waits for the first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from toolkit import pictures
from toolkit.models.model_file import ModelInfo

# Where the server looks for them inside a version.
RECORDS = Path("assets.extra") / "tf_serving_warmup_requests"


def case_shape(info: ModelInfo) -> tuple[int, int, int, int]:
    """`(slices, height, width, modalities)` of the smallest case that fills a window on the model's grid."""
    data = info.recipe.data
    return data.window.slices, data.image_size, data.image_size, len(info.modalities)


def write_warmup(version: Path, info: ModelInfo, name: str) -> None:
    """Write the warm-up requests of a version: one for each way in that asks for masks.

    Args:
        version: SavedModel folder.
        info: of the model.
        name: of the model on the server.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    (version / RECORDS).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(version / RECORDS)) as writer:
        for signature, inputs in _requests(info).items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for key, values in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def _requests(info: ModelInfo) -> dict[str, Mapping[str, np.ndarray]]:
    """Inputs by signature, as in the contract of exported models."""
    spacing_mm = info.recipe.data.spacing_mm
    grey = np.random.default_rng(0).integers(0, 256, (1, *case_shape(info))).astype(np.uint8)
    # A version whose warm-up fails is not loaded, so nothing is left to defaults: NaN is a range that is not known.
    value_range = np.full((1, len(info.modalities), 2), np.nan, np.float32)
    case = {"slices": grey.astype(np.float32), "value_range": value_range}
    if spacing_mm is not None:
        return {"serving_default": case | {"spacing_mm": np.array([spacing_mm], np.float32)}}
    files = [pictures.encode(grey[0, 0, ..., channel], ".png") for channel in range(grey.shape[-1])]
    return {"serving_default": case, "encoded": {"picture_bytes": np.array([files], object)}}
