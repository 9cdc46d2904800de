"""A whole case as one TensorFlow graph: raw slices in; probability, mask or enhanced slices out.

Normalisation, geometry and the halo rule are those of `toolkit.data`, written in TensorFlow operations, for any
number and size of slices. It is the one place where the package's arithmetic stands twice; tests hold both together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from toolkit.data.intensity import CLIP, HIGH_PERCENT, LOW_PERCENT
from toolkit.export.resampling import resampled, resize_weights
from toolkit.models.model_file import ModelInfo
from toolkit.models.segmenter import split_segmenter

# Windows in the enhancer, and slices in the network, at a time: memory does not grow with a volume's length.
BATCH_WINDOWS = 2
BATCH_SLICES = 8


class ServingGraph(tf.Module):
    """What a model says about whole cases, in TensorFlow operations alone.

    Args:
        model: core model in float32, see `toolkit.export.float32_model`.
        info: what it was made for.
    """

    def __init__(self, model: keras.Model, info: ModelInfo) -> None:
        super().__init__(name="serving")
        self.info = info
        # What `tf.saved_model.save` has to find: the variables, not Keras' objects.
        self._weights = [variable.value for variable in model.variables]
        parts = split_segmenter(model)
        self._enhancer = _Part(parts.enhancer, parts.enhancer.output)
        self._network = _Part(parts.network, parts.network.output["probability"])

    def probability(self, slices: tf.Tensor, value_range: tf.Tensor, spacing_mm: tf.Tensor | None = None) -> tf.Tensor:
        """Probability of every region.

        Args:
            slices: `(cases, slices, height, width, modalities)` float32, values as stored.
            value_range: `(cases or 1, modalities or 1, 2)` float32 of each whole case; NaN: that of the slices.
            spacing_mm: `(cases, 3)` float32, slice, row and column; for models that work in mm.

        Returns:
            `(cases, slices, height, width, regions)` float32.
        """
        grid, placed, enhanced = self._enhanced(normalised(slices, case_ranges(slices, value_range)), spacing_mm)
        shape = tf.shape(placed)
        lone = tf.reshape(enhanced, (-1, *placed.shape[2:]))
        maps = _in_batches(self._network, tf.shape(lone)[0], BATCH_SLICES, lambda some: tf.gather(lone, some))
        return grid.take(tf.reshape(maps, (shape[0], shape[1], *maps.shape[1:])))

    def mask(self, probability: tf.Tensor) -> tf.Tensor:
        """Labels, uint8, as `toolkit.data.regions.label_mask`; what post-processes them is the client."""
        model, threshold = self.info.recipe.model, self.info.threshold
        painted = tf.constant(model.painted_labels, tf.uint8)
        if model.exclusive:
            likeliest = tf.gather(painted, tf.argmax(probability, axis=-1))
            return tf.where(tf.reduce_sum(probability, axis=-1) >= threshold, likeliest, tf.zeros_like(likeliest))
        mask = tf.zeros(tf.shape(probability)[:-1], tf.uint8)
        for region in range(len(model.regions)):
            mask = tf.where(probability[..., region] >= threshold, painted[region], mask)
        return mask

    def enhanced(self, slices: tf.Tensor, value_range: tf.Tensor, spacing_mm: tf.Tensor | None = None) -> tf.Tensor:
        """The slices with the enhancer's correction, which is made on the model's grid, in their own size and units.

        Args:
            slices: as for `probability`.
            value_range: likewise.
            spacing_mm: likewise.

        Returns:
            The shape of `slices`, float32.
        """
        limits = case_ranges(slices, value_range)
        grid, placed, enhanced = self._enhanced(normalised(slices, limits), spacing_mm)
        low, high = _ends(limits)
        return slices + grid.take(enhanced - placed) * (high - low)

    def _enhanced(self, images: tf.Tensor, spacing_mm: tf.Tensor | None) -> tuple[_Grid, tf.Tensor, tf.Tensor]:
        """The grid of normalised cases, they on it, and there through the enhancer, window by window."""
        grid = _Grid(self.info, tf.shape(images), spacing_mm)
        placed = grid.place(images)
        window = self.info.recipe.data.window
        plan = WindowPlan(tf.shape(placed)[1], window.slices, window.halo)
        return grid, placed, plan.run(self._enhancer, placed)


class _Part:
    """A part of the network as a function of a batch, which knows the shape of what it gives for one item."""

    def __init__(self, model: keras.Model, output: Any) -> None:
        self._model = keras.Model(model.inputs[0], output)
        self.shape = tuple(output.shape[1:])

    def __call__(self, batch: tf.Tensor) -> tf.Tensor:
        return self._model(batch, training=False)


def _in_batches(part: _Part, total: tf.Tensor, size: int, read: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """What a part says of so many items, `(total, *part.shape)`.

    Args:
        part: of the network.
        total: number of items, scalar tensor.
        size: items in it at a time.
        read: gives items by number, `(n,)` to `(n, ...)`.
    """
    n_batches = (total + size - 1) // size
    answers = tf.TensorArray(tf.float32, n_batches, element_shape=(None, *part.shape), infer_shape=False)

    def step(batch: tf.Tensor, answers: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        some = tf.range(batch * size, tf.minimum((batch + 1) * size, total))
        return batch + 1, answers.write(batch, part(read(some)))

    _, answers = tf.while_loop(lambda batch, _: batch < n_batches, step, (0, answers), parallel_iterations=1)
    return tf.ensure_shape(answers.concat(), (None, *part.shape))


def case_ranges(slices: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """`toolkit.data.intensity.intensity_range` of each case that none is given for.

    Args:
        slices: `(cases, slices, height, width, modalities)` float32.
        given: `(cases or 1, modalities or 1, 2)` float32, NaN where it is not known.

    Returns:
        `(cases, modalities, 2)` float32.
    """
    shape = tf.shape(slices)
    given = tf.broadcast_to(given, (shape[0], shape[-1], 2))
    unknown = tf.math.is_nan(given)

    def found() -> tf.Tensor:
        ranges = tf.map_fn(_case_range, slices, fn_output_signature=tf.TensorSpec((slices.shape[-1], 2), tf.float32))
        return tf.where(unknown, ranges, given)

    return tf.cond(tf.reduce_any(unknown), found, lambda: given)


def _case_range(images: tf.Tensor) -> tf.Tensor:
    """`(modalities, 2)` of one case: two order statistics of each sorted modality."""
    values = tf.sort(tf.transpose(tf.reshape(images, (-1, images.shape[-1]))), axis=-1)
    n = tf.shape(values, tf.int64)[1]
    exact = tf.cast(values, tf.float64)
    head = tf.cast(exact > tf.reduce_mean(exact, axis=1, keepdims=True), tf.int64)
    n_head = tf.reduce_sum(head, axis=1)
    low = values[:, _rank(LOW_PERCENT, n)]
    high = tf.gather(values, n - n_head + _rank(HIGH_PERCENT, n_head), axis=1, batch_dims=1)
    high = tf.where(n_head > 0, high, low)
    return tf.stack([low, tf.where(high > low, high, low + 1)], axis=-1)


def _rank(percent: int, n: tf.Tensor) -> tf.Tensor:
    """Place among n sorted values, as `toolkit.data.intensity` counts; -1 of none, which stays inside as an offset."""
    return tf.maximum((percent * n + 99) // 100 - 1, 0) - tf.cast(n == 0, tf.int64)


def normalised(slices: tf.Tensor, limits: tf.Tensor) -> tf.Tensor:
    """`toolkit.data.intensity.normalise` of each case.

    Args:
        slices: `(cases, slices, height, width, modalities)` float32.
        limits: `(cases, modalities, 2)`.
    """
    low, high = _ends(limits)
    return tf.clip_by_value((slices - low) / (high - low), 0.0, CLIP)


def _ends(limits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Low and high of each case and modality, to be broadcast over its pixels; TFLite knows five dimensions at most."""
    low, high = (tf.reshape(limits[..., end], (-1, 1, 1, 1, limits.shape[1])) for end in (0, 1))
    return low, high


class _Grid:
    """The model's grid of cases of one shape, as `toolkit.data.grid.Grid` of each."""

    def __init__(self, info: ModelInfo, shape: tf.Tensor, spacing_mm: tf.Tensor | None) -> None:
        data = info.recipe.data
        self.size, self.shape = data.image_size, shape
        self.n_slices = self.n_slices_of_case = shape[1]
        extent = tf.cast(shape[1:4], tf.float64)
        if data.spacing_mm is None or spacing_mm is None:
            plane = extent[1:] * (self.size / tf.reduce_max(extent[1:]))
        else:
            # Cases of one request share the grid.
            tf.debugging.assert_equal(spacing_mm, spacing_mm[:1], "cases of one request need one spacing_mm")
            extent = extent * tf.cast(spacing_mm[0], tf.float64) / tf.constant(data.spacing_mm, tf.float64)
            self.n_slices = _at_least_one(extent[0])
            plane = extent[1:] * tf.minimum(tf.cast(1, tf.float64), self.size / tf.reduce_max(extent[1:]))
        self.height, self.width = _at_least_one(plane[0]), _at_least_one(plane[1])
        self.top, self.left = (self.size - self.height) // 2, (self.size - self.width) // 2

    def place(self, images: tf.Tensor) -> tf.Tensor:
        """`(cases, N, H, W, C)` to `(cases, slices of the grid, size, size, C)`."""
        channels = images.shape[-1]
        flat = tf.reshape(images, (-1, self.shape[2], self.shape[3], channels))
        flat = resampled(flat, resize_weights(self.shape[2], self.height), resize_weights(self.shape[3], self.width))
        bottom, right = self.size - self.height - self.top, self.size - self.width - self.left
        flat = tf.pad(flat, [(0, 0), (self.top, bottom), (self.left, right), (0, 0)])
        placed = tf.reshape(flat, (-1, self.shape[1], self.size, self.size, channels))
        return self._along(placed, self.n_slices_of_case, self.n_slices)

    def take(self, maps: tf.Tensor) -> tf.Tensor:
        """The way back, of maps."""
        maps = self._along(maps, self.n_slices, self.n_slices_of_case)
        channels = maps.shape[-1]
        flat = tf.reshape(maps, (-1, self.size, self.size, channels))
        flat = flat[:, self.top : self.top + self.height, self.left : self.left + self.width]
        flat = resampled(flat, resize_weights(self.height, self.shape[2]), resize_weights(self.width, self.shape[3]))
        return tf.reshape(flat, (-1, self.shape[1], self.shape[2], self.shape[3], channels))

    def _along(self, images: tf.Tensor, n_from: tf.Tensor, n_to: tf.Tensor) -> tf.Tensor:
        if n_from is n_to:
            return images
        return tf.einsum("sS,bShwc->bshwc", resize_weights(n_from, n_to), images)


def _at_least_one(length: tf.Tensor) -> tf.Tensor:
    return tf.maximum(tf.cast(tf.round(length), tf.int32), 1)


class WindowPlan:
    """`toolkit.data.windows.windows` of a sequence.

    Args:
        n_slices: length of the sequence, scalar tensor.
        size: slices in a window.
        halo: slices at either side that give context only.
    """

    def __init__(self, n_slices: tf.Tensor, size: int, halo: int) -> None:
        inner = size - 2 * halo
        more = tf.maximum(n_slices - size, 0)
        count = (more + inner - 1) // inner + 1
        starts = tf.minimum(tf.range(count) * inner, more)
        self.slices = tf.minimum(starts[:, None] + tf.range(size), n_slices - 1)
        places = tf.range(n_slices)
        # Of each slice: the window it counts in, and its place there.
        self.window = tf.clip_by_value((places - size + halo) // inner + 1, 0, count - 1)
        self.place = places - tf.gather(starts, self.window)

    def run(self, part: _Part, placed: tf.Tensor) -> tf.Tensor:
        """Every window through a part of the network, and of each slice the answer that counts.

        Args:
            part: takes windows and gives maps of each slice.
            placed: `(cases, n_slices, size, size, channels)`.

        Returns:
            `(cases, n_slices, size, size, channels of the answer)`.
        """
        n_cases, n_windows = tf.shape(placed)[0], tf.shape(self.slices)[0]

        def read(some: tf.Tensor) -> tf.Tensor:
            slices = tf.gather(self.slices, some % n_windows)
            cases = tf.broadcast_to(some[:, None] // n_windows, tf.shape(slices))
            return tf.gather_nd(placed, tf.stack([cases, slices], axis=-1))

        answers = _in_batches(part, n_cases * n_windows, BATCH_WINDOWS, read)
        size = self.slices.shape[1]
        maps = tf.reshape(answers, (n_cases, n_windows * size, *part.shape[1:]))
        return tf.gather(maps, self.window * size + self.place, axis=1)
