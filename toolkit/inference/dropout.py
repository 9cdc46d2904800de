"""A model in Keras whose dropout stays on, so that each time it is asked it is another network."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from toolkit.data.grid import Maps
from toolkit.errors import ModelError
from toolkit.inference.runtimes.keras_file import KerasRuntime
from toolkit.inference.runtimes.runtime import PROBABILITY

if TYPE_CHECKING:
    import keras


class Dropout(KerasRuntime):
    """One sample of Monte Carlo dropout (Gal and Ghahramani 2016). Batch norms stay as they are in prediction.

    Args:
        runtime: the model.
        sample: number of the sample; the same one drops the same.

    Raises:
        ModelError: the model has no dropout.
    """

    def __init__(self, runtime: KerasRuntime, sample: int) -> None:
        self.parts = runtime.parts  # not cut again for each sample
        super().__init__(runtime.name, runtime.model, runtime.info)
        self.shows = frozenset()
        self._sample, self._batches = sample, 0
        if not self._dropouts:
            raise ModelError(f"{self.name}: was made without dropout (model.dropout is 0), so there is none to sample")

    def stream(
        self,
        images: np.ndarray,
        value_range: np.ndarray,
        spacing_mm: tuple[float, float, float] | None,
        wanted: Collection[str] = (),
    ) -> Iterator[Maps]:
        """See `Runtime.stream`."""
        self._batches = 0
        yield from super().stream(images, value_range, spacing_mm, wanted)

    def network(self, slices: np.ndarray, wanted: Collection[str]) -> Maps:
        """See `WindowRuntime.network`."""
        # The state of the generators is set each time, since samples that take turns share them.
        for number, layer in enumerate(self._dropouts):
            layer.seed_generator.state.assign(np.array([self._sample, (number << 16) + self._batches], np.uint32))
        self._batches += 1
        return {PROBABILITY: np.asarray(self._awake.predict_on_batch(slices))}

    @cached_property
    def _dropouts(self) -> list[keras.Layer]:
        return [layer for layer in layers_of(self.parts.network) if hasattr(layer, "seed_generator")]

    @cached_property
    def _awake(self) -> keras.Model:
        import keras

        network = self.parts.network
        for layer in layers_of(network):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False

        # A functional model would hand on that it predicts, whatever its layers were told when it was made.
        class Awake(keras.Model):
            def call(self, slices):
                return network(slices, training=True)[PROBABILITY]

        return Awake()


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """All layers of a model, also of those inside it."""
    return [inner for layer in model.layers for inner in (layers_of(layer) if hasattr(layer, "layers") else [layer])]
