"""A `.keras` file."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from toolkit.data.grid import Maps
from toolkit.inference.runtimes.by_windows import WindowRuntime
from toolkit.inference.runtimes.runtime import ATTENTION, ENHANCED, GRAD_CAM, PROBABILITY
from toolkit.memory import available_bytes
from toolkit.models.model_file import ModelInfo

if TYPE_CHECKING:
    import keras

    from toolkit.inference.grad_cam import GradCam
    from toolkit.models.segmenter import SegmenterParts

# Larger batches are hardly faster on CPUs.
MOST_SLICES = 8
# What a slice takes in the network at its peak, as so many float32 values a pixel. Of resident memory on a CPU were
# measured: of `proposed` 142 at 128 px and 98 at 256 px, of `res_attention_unet`, the largest, 315 at 128 px.
VALUES_A_PIXEL = 400
SHARE_OF_MEMORY = 0.25


class KerasRuntime(WindowRuntime):
    """A model in Keras, which can also show what happens inside.

    Args:
        name: for messages.
        model: core model.
        info: what it was made for.
    """

    def __init__(self, name: str, model: keras.Model, info: ModelInfo) -> None:
        self.name, self.model, self.info = name, model, info
        self.batch_slices = batch_slices(info.recipe.data.image_size)
        self.batch_windows = max(1, self.batch_slices // info.recipe.data.window.slices)
        self.shows = frozenset([ENHANCED, GRAD_CAM, *(self.parts.network.output.keys() & {ATTENTION})])

    @cached_property
    def parts(self) -> SegmenterParts:
        """Enhancer and network."""
        from toolkit.models.segmenter import split_segmenter

        return split_segmenter(self.model)

    def enhance(self, batch: np.ndarray) -> np.ndarray:
        """See `WindowRuntime.enhance`."""
        return np.asarray(self.parts.enhancer.predict_on_batch(batch))

    def network(self, slices: np.ndarray, wanted: Collection[str]) -> Maps:
        """See `WindowRuntime.network`."""
        looking = self.parts.network if ATTENTION in wanted else self._plain
        maps = {name: np.asarray(values) for name, values in looking.predict_on_batch(slices).items()}
        return {**maps, GRAD_CAM: self._grad_cam(slices)} if GRAD_CAM in wanted else maps

    @cached_property
    def _plain(self) -> keras.Model:
        import keras

        network = self.parts.network
        return keras.Model(network.inputs[0], {PROBABILITY: network.output[PROBABILITY]})

    @cached_property
    def _grad_cam(self) -> GradCam:
        from toolkit.inference.grad_cam import GradCam

        return GradCam(self.model, self.info.recipe.model, self.info.threshold)


def batch_slices(size: int) -> int:
    """How many slices of `size` pixels the network is asked about at a time, by the memory there is."""
    return max(1, min(MOST_SLICES, int(SHARE_OF_MEMORY * available_bytes() / (4 * VALUES_A_PIXEL * size**2))))
