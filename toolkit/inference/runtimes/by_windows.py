"""Runtimes that know the model's grid only: geometry, normalisation and the halo rule are done here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from toolkit.config import Recipe
from toolkit.data.grid import Grid, Maps, WayBack, model_grid
from toolkit.data.intensity import normalise
from toolkit.data.windows import Window, windows
from toolkit.errors import ModelError
from toolkit.inference.runtimes.runtime import ENHANCED, Runtime

T = TypeVar("T")
# The kind of enhancer that sees the neighbours of a slice.
OVER_SLICES = "convlstm"


class WindowRuntime(Runtime):
    """Enhances a case window by window, then asks the network about each enhanced slice once.

    A slice is enhanced in every window that holds it, but by the halo rule one of them counts, and behind the enhancer
    slices do not know of each other. An enhancer that sees no neighbours needs no halo, either.

    Attributes:
        batch_windows: windows that are enhanced at a time.
        batch_slices: slices the network is asked about at a time, at most.
        full_batches: whether fewer slices are filled up to so many.
    """

    batch_windows: int
    batch_slices: int
    # A batch of another size would make most backends compile again.
    full_batches = True

    @abstractmethod
    def enhance(self, batch: np.ndarray) -> np.ndarray:
        """Enhanced windows.

        Args:
            batch: `(batch_windows, S, size, size, modalities)`, normalised.

        Returns:
            The same shape, float32.
        """

    def counting(self, batch: np.ndarray, counts: Sequence[np.ndarray]) -> Iterable[np.ndarray]:
        """Of each window the enhanced slices that count; a runtime may spare itself the others.

        Args:
            batch: as for `enhance`.
            counts: of each window `(S,)` bool.
        """
        return (enhanced[inside] for enhanced, inside in zip(self.enhance(batch), counts, strict=True))

    @abstractmethod
    def network(self, slices: np.ndarray, wanted: Collection[str]) -> Maps:
        """What the network says of enhanced slices.

        Args:
            slices: `(batch_slices, size, size, modalities)`.
            wanted: maps beside the probability.

        Returns:
            Name to `(batch_slices, size, size, channels)`.
        """

    def stream(
        self,
        images: np.ndarray,
        value_range: np.ndarray,
        spacing_mm: tuple[float, float, float] | None,
        wanted: Collection[str] = (),
    ) -> Iterator[Maps]:
        """See `Runtime.stream`."""
        try:
            grid = model_grid(images.shape[:3], spacing_mm, self.info.recipe.data)
        except ValueError as error:
            raise ModelError(f"{self.name}: the scan does not fit: {error}") from error
        way_back = WayBack(grid)
        for batch in _batches(self._enhanced(images, value_range, grid), self.batch_slices):
            lone = [enhanced for _, enhanced in batch]
            if self.full_batches:
                lone = _filled(lone, self.batch_slices)
            slices = np.stack(lone)
            maps = self.network(slices, [name for name in wanted if name != ENHANCED])
            if ENHANCED in wanted:
                maps = {**maps, ENHANCED: slices}
            for place, (index, _) in enumerate(batch):
                yield from way_back.add(index, {name: values[place] for name, values in maps.items()})

    def _enhanced(self, images: np.ndarray, value_range: np.ndarray, grid: Grid) -> Iterator[tuple[int, np.ndarray]]:
        """Each slice of the grid once: its index and `(size, size, modalities)`."""
        for batch in _batches(self._plan(grid.n_slices), self.batch_windows):
            full = _filled(batch, self.batch_windows)
            seen = [grid.images(lambda wanted: normalise(images[wanted], value_range), w.slices) for w in full]
            for window, enhanced in zip(batch, self.counting(np.stack(seen), [w.counts for w in full]), strict=False):
                yield from zip(window.slices[window.counts].tolist(), enhanced, strict=True)

    def _plan(self, n_slices: int) -> list[Window]:
        window = self.info.recipe.data.window
        return windows(n_slices, window.slices, needed_halo(self.info.recipe), window.shuffled)


def needed_halo(recipe: Recipe) -> int:
    """Slices at either end of a window that give context only: none where the enhancer sees no neighbours."""
    return recipe.data.window.halo if recipe.model.enhancer.kind == OVER_SLICES else 0


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """`itertools.batched`, which Python 3.11 has not yet."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _filled(items: list[T], size: int) -> list[T]:
    """So many of them, the last one repeated."""
    return [*items, *[items[-1]] * (size - len(items))]
