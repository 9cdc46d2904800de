"""To the model's square grid and back, keeping the proportions of the anatomy.

The grid of a case follows from its shape and, where the recipe names distances in mm, from its
spacing. Slices are resized, first within the plane, then from slice to slice, and lie centred
between margins of background. Images, regions and probabilities take the same way; labels
themselves are never interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from toolkit.config import DataRecipe

# Of one slice, by name: `(height, width, channels)` float32.
Maps = dict[str, np.ndarray]
# A grid pixel belongs to a region if at least half of its volume does.
HALF = 0.5
# What its resize takes at once, whatever the type.
OPENCV_CHANNELS = 4


@dataclass(frozen=True)
class Grid:
    """How the slices of one case lie on the model's grid; made by `model_grid`.

    Args:
        shape: `(slices, height, width)` of the case.
        size: height and width of the grid in pixels.
        n_slices: number of slices at the model's slice distance.
        height: rows that a slice takes up on the grid.
        width: columns that a slice takes up on the grid.
    """

    shape: tuple[int, int, int]
    size: int
    n_slices: int
    height: int
    width: int

    def images(self, read: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray) -> np.ndarray:
        """Some slices of the grid, made from as few slices of the case as they need.

        Args:
            read: gives slices of the case by index, `(n,)` to `(n, height, width, channels)`, normalised.
            wanted: indices of slices of the grid, at most `n_slices - 1`; repeats are allowed.

        Returns:
            `(len(wanted), size, size, channels)` float32.
        """
        if self.n_slices == self.shape[0]:
            needed, places = np.unique(wanted, return_inverse=True)
            return self._place(read(needed))[places]
        weights = resize_weights(self.shape[0], self.n_slices)[wanted]
        needed = np.flatnonzero(weights.any(axis=0))
        return np.tensordot(weights[:, needed], self._place(read(needed)), axes=1)

    def back(self, maps: np.ndarray) -> np.ndarray:
        """Maps of the grid `(n, size, size, channels)` in the height and width of the case."""
        top, left = self._corner
        return resize_planes(maps[:, top : top + self.height, left : left + self.width], *self.shape[1:])

    @property
    def _corner(self) -> tuple[int, int]:
        return (self.size - self.height) // 2, (self.size - self.width) // 2

    def _place(self, images: np.ndarray) -> np.ndarray:
        top, left = self._corner
        grid = np.zeros((len(images), self.size, self.size, images.shape[3]), np.float32)
        grid[:, top : top + self.height, left : left + self.width] = resize_planes(images, self.height, self.width)
        return grid


class WayBack:
    """Takes maps of the grid's slices, in any order, and gives those of the case's slices, in theirs.

    A slice of the case is given as soon as every slice of the grid that has a share in it is there, so that a volume of
    any length needs memory for some slices only.

    Args:
        grid: of the case.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._shares = resize_weights(grid.n_slices, grid.shape[0])
        self._missing = np.count_nonzero(self._shares, axis=1)
        self._sums: dict[int, Maps] = {}
        self._next = 0

    def add(self, index: int, maps: Mapping[str, np.ndarray]) -> Iterator[Maps]:
        """Add a slice of the grid, and give the slices of the case that are known by it.

        Args:
            index: which slice of the grid it is; each is added once.
            maps: `(size, size, channels)` each, by name.

        Yields:
            `(height, width, channels)` float32 each, by name; the slices of the case from the first to the last.
        """
        own = {name: self._grid.back(values[None])[0] for name, values in maps.items()}
        for of_case in np.flatnonzero(self._shares[:, index]).tolist():
            share = self._shares[of_case, index]
            part = own if share == 1 else {name: values * share for name, values in own.items()}
            known = self._sums.get(of_case)
            self._sums[of_case] = part if known is None else {name: known[name] + part[name] for name in known}
            self._missing[of_case] -= 1
        while self._next in self._sums and not self._missing[self._next]:
            yield self._sums.pop(self._next)
            self._next += 1


def model_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] | None, data: DataRecipe) -> Grid:
    """The grid of a case.

    Without `data.spacing_mm` slices stay as many as they are and their longer side fills the grid.
    With it, a case is resampled to these distances; a slice that is then larger than the grid is
    shrunk until it fits, so that no part of it is lost.

    Args:
        shape: `(slices, height, width)` of the case.
        spacing_mm: `(slice, row, column)` distances of the case, None if unknown.
        data: `image_size` and `spacing_mm` are read.

    Raises:
        ValueError: the recipe names distances and the case has none.
    """
    n_slices, height, width = shape
    size = data.image_size
    if data.spacing_mm is None:
        scale = size / max(height, width)
        return Grid(shape, size, n_slices, _at_least_one(height * scale), _at_least_one(width * scale))
    if spacing_mm is None:
        raise ValueError("its spacing is unknown, and the model works in mm; give it with --spacing")
    # In float32, as they reach an exported graph: or half a pixel is rounded up here and down there.
    known = (float(np.float32(mm)) for mm in spacing_mm)
    slices, rows, columns = (n * mm / target for n, mm, target in zip(shape, known, data.spacing_mm, strict=True))
    scale = min(1.0, size / max(rows, columns))
    return Grid(shape, size, _at_least_one(slices), _at_least_one(rows * scale), _at_least_one(columns * scale))


@lru_cache(maxsize=256)
def resize_weights(n_from: int, n_to: int) -> np.ndarray:
    """Share of each of `n_from` slices in each of `n_to`, `(n_to, n_from)` float32; rows sum to 1.

    The same rule as within a slice: the ends of both sequences lie at the same place; fewer slices
    are means over what they cover, more slices are interpolated linearly.
    """
    weights = resize_planes(np.eye(n_from, dtype=np.float32)[None, ..., None], n_to, n_from)[0, ..., 0]
    weights.flags.writeable = False
    return weights


def _at_least_one(length: float) -> int:
    return max(1, round(length))


def resize_planes(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize `(n, H, W, C)`: shrinking averages areas, so no pixel is lost between samples; growing is linear."""
    images = np.asarray(images, np.float32)
    n, old_height, old_width, channels = images.shape
    if (old_height, old_width) == (height, width):
        return images
    if (height < old_height and width > old_width) or (height > old_height and width < old_width):
        # OpenCV has one rule for both axes.
        return resize_planes(resize_planes(images, height, old_width), height, width)
    interpolation = cv2.INTER_AREA if height <= old_height and width <= old_width else cv2.INTER_LINEAR
    resized = np.empty((n, height, width, channels), np.float32)
    for first in range(0, channels, OPENCV_CHANNELS):
        some = slice(first, first + OPENCV_CHANNELS)
        for index, image in enumerate(images[..., some]):
            part = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=interpolation)
            resized[index, ..., some] = part.reshape(height, width, -1)
    return resized
