"""A model that is asked about mirrored slices."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from toolkit.data.grid import Maps
from toolkit.inference.runtimes.runtime import AnotherWay


class Mirrored(AnotherWay):
    """What a model says of a case whose left and right are exchanged, brought back: the flip that training draws, too.

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
        for maps in self._runtime.stream(images[:, :, ::-1], value_range, spacing_mm, wanted):
            yield {name: values[:, ::-1] for name, values in maps.items()}
