"""A SavedModel with the signatures of an exported segmenter, and the same arithmetic in NumPy.

Its network is a line, yet it looks at what a real one looks at: the value range of the case, all slices of a window,
and the place of a slice in it. So a case cut in the wrong place gives another answer.
"""

import numpy as np
import tensorflow as tf

from toolkit.config import check_recipe
from toolkit.data.intensity import normalise
from toolkit.data.windows import windows
from toolkit.models.model_file import ModelInfo

WINDOW, HALO = 5, 1
MODALITIES = ("t1c", "t2f")
REGIONS = {"whole": [1, 2], "core": [1]}
# What each region makes of each modality.
WEIGHTS = np.array([[4.0, -1.0], [-2.0, 3.0]], np.float32)
PLACE_WEIGHT = 0.3


def tiny_info(in_mm: bool = False) -> ModelInfo:
    data = {"window": {"slices": WINDOW, "halo": HALO}, **({"spacing_mm": [3.0, 1.0, 1.0]} if in_mm else {})}
    return ModelInfo(
        recipe=check_recipe({"data": data, "model": {"regions": REGIONS}}, "tiny"),
        modalities=MODALITIES,
        label_map={"core": 1, "oedema": 2},
        data_kind="phantom",
        data_checksums_sha256={},
        synthetic_data=True,
    )


def tiny_answer(images, value_range, spacing_mm=None):
    """What the model says of one case, in NumPy."""
    normal = normalise(images, value_range)
    distance = 0.0 if spacing_mm is None else sum(spacing_mm) / 10
    result = np.full((*images.shape[:3], len(REGIONS)), np.nan, np.float32)
    for part in windows(len(images), WINDOW, HALO):
        seen = normal[part.slices]
        place = PLACE_WEIGHT * np.arange(WINDOW, dtype=np.float32)[:, None, None, None]
        logits = (seen - seen.mean(axis=0)) @ WEIGHTS + place + distance
        result[part.slices[part.counts]] = (1 / (1 + np.exp(-logits)))[part.counts]
    return result


def save_tiny_model(path, in_mm=False, info=None):
    """Write the SavedModel; `info` is what it says of itself, where that is not the truth."""
    model = tf.Module()
    pixels = tf.TensorSpec((None, None, None, None, len(MODALITIES)), tf.float32)
    limits = tf.TensorSpec((None, None, 2), tf.float32)
    unknown = tf.constant(np.nan, tf.float32, (1, 1, 2))
    if in_mm:

        @tf.function(input_signature=[pixels, tf.TensorSpec((None, 3), tf.float32), limits])
        def serve(slices, spacing_mm, value_range=unknown):
            return _answers(slices, value_range, tf.reduce_sum(spacing_mm, axis=1) / 10)

    else:

        @tf.function(input_signature=[pixels, limits])
        def serve(slices, value_range=unknown):
            return _answers(slices, value_range, tf.zeros(tf.shape(slices)[0]))

    text = (info or tiny_info(in_mm)).model_dump_json()

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32)])
    def describe(requests):
        return {"information": tf.fill(tf.shape(requests), text)}

    tf.saved_model.save(model, str(path), signatures={"serving_default": serve, "describe": describe})
    return path


def _answers(slices, value_range, distance):
    low, high = tf.unstack(tf.broadcast_to(value_range, (tf.shape(slices)[0], len(MODALITIES), 2)), axis=-1)
    low = tf.where(tf.math.is_nan(low), tf.reduce_min(slices, axis=(1, 2, 3)), low)[:, None, None, None]
    high = tf.where(tf.math.is_nan(high), tf.reduce_max(slices, axis=(1, 2, 3)), high)[:, None, None, None]
    normal = tf.clip_by_value((slices - low) / (high - low), 0.0, 1.5)
    probability = tf.map_fn(
        lambda case: _one_case(*case), (normal, distance), fn_output_signature=tf.TensorSpec((None,) * 4, tf.float32)
    )
    return {"probability": probability, "mask": tf.cast(probability[..., 0] >= 0.5, tf.uint8)}


def _one_case(normal, distance):
    """The halo rule of `toolkit.data.windows` as a graph."""
    n_slices = tf.shape(normal)[0]
    last = tf.maximum(n_slices - WINDOW, 0)
    starts = tf.concat([tf.range(0, last, WINDOW - 2 * HALO), [last]], axis=0)
    ends = tf.concat([starts[:-1] + WINDOW - HALO, [n_slices]], axis=0)
    seen = tf.gather(normal, tf.minimum(starts[:, None] + tf.range(WINDOW), n_slices - 1))
    place = PLACE_WEIGHT * tf.range(WINDOW, dtype=tf.float32)[:, None, None, None]
    logits = tf.tensordot(seen - tf.reduce_mean(seen, axis=1, keepdims=True), WEIGHTS, 1) + place + distance
    deciding = tf.searchsorted(ends, tf.range(n_slices), side="right")
    within = tf.range(n_slices) - tf.gather(starts, deciding)
    return tf.gather_nd(tf.sigmoid(logits), tf.stack([deciding, within], axis=1))
