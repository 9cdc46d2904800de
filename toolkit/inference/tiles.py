"""Slices that are larger than the model's grid, looked at in pieces of full resolution."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import product

import numpy as np

from toolkit.data.grid import Maps
from toolkit.inference.runtimes.runtime import AnotherWay

# As nnU-Net has them (Isensee et al. 2021): half a tile from one to the next, a Gaussian of an eighth of a tile.
OVERLAP = 0.5
SIGMA = 0.125


class Tiled(AnotherWay):
    """A model that is asked about overlapping tiles, each as large as its grid, instead of a slice made smaller.

    A tile covers as many pixels as the grid has, or in a model that works in mm as many mm. Where tiles overlap, their
    answers are averaged with Gaussian weights, since a network knows least about a tile's edge. Slices that are no
    larger than a tile are not cut.

    Args:
        runtime: what is asked.
    """

    def stream(
        self,
        images: np.ndarray,
        value_range: np.ndarray,
        spacing_mm: tuple[float, float, float] | None,
        wanted: Collection[str] = (),
    ) -> Iterator[Maps]:
        """See `Runtime.stream`."""
        shape = images.shape[1:3]
        tile = self._tile(shape, spacing_mm)
        if tile == shape:
            yield from self._runtime.stream(images, value_range, spacing_mm, wanted)
            return
        places = [
            (slice(top, top + tile[0]), slice(left, left + tile[1]))
            for top, left in product(starts(shape[0], tile[0]), starts(shape[1], tile[1]))
        ]
        weight = np.outer(*map(gaussian, tile))[..., None].astype(np.float32)
        total = np.zeros((*shape, 1), np.float32)
        for place in places:
            total[place] += weight
        streams = [self._runtime.stream(images[:, *place], value_range, spacing_mm, wanted) for place in places]
        for parts in zip(*streams, strict=True):
            sums = {name: np.zeros((*shape, values.shape[-1]), np.float32) for name, values in parts[0].items()}
            for place, part in zip(places, parts, strict=True):
                for name, values in part.items():
                    sums[name][place] += weight * values
            yield {name: values / total for name, values in sums.items()}

    def _tile(self, shape: tuple[int, int], spacing_mm: tuple[float, float, float] | None) -> tuple[int, int]:
        """Height and width of a tile in pixels of the slices."""
        data = self.info.recipe.data
        scale = (1.0, 1.0)
        if data.spacing_mm is not None and spacing_mm is not None:
            scale = (data.spacing_mm[1] / spacing_mm[1], data.spacing_mm[2] / spacing_mm[2])
        height, width = (min(n, max(1, int(data.image_size * s))) for n, s in zip(shape, scale, strict=True))
        return height, width


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin: from end to end, evenly, at most half a tile apart."""
    steps = math.ceil((length - tile) / (tile * OVERLAP))
    return [round(step * (length - tile) / steps) for step in range(steps + 1)] if steps else [0]


def gaussian(length: int) -> np.ndarray:
    """Weight of each pixel along a side of a tile, 1 in its middle, `(length,)`."""
    offset = (np.arange(length) - (length - 1) / 2) / (SIGMA * length)
    return np.exp(-0.5 * offset**2)
