"""A `.tflite` file, run by LiteRT: neither TensorFlow nor Keras is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from toolkit.cores import usable_cores
from toolkit.data.grid import Maps
from toolkit.data.windows import windows
from toolkit.errors import ModelError
from toolkit.inference.runtimes.by_windows import WindowRuntime, needed_halo
from toolkit.inference.runtimes.runtime import ENHANCED, PROBABILITY
from toolkit.models.model_file import not_loadable, read_info

# Names of signatures beside `serving_default`; those of the network by how many slices they take.
ENHANCE, ENHANCE_INNER = "enhance", "enhance_inner"
SEGMENT = {1: "segment", 4: "segment_4"}
# Slices on the model's grid come normalised: this range leaves them as they are.
AS_THEY_ARE = (0.0, 1.0)
Ask = Callable[..., Maps]


class LiteRuntime(WindowRuntime):
    """A model written by `bts-export --format tflite`.

    A file for slices of the scan's size takes them as stored, and does geometry and normalisation itself. A file for
    the model's grid takes any scan, brought to the grid here.

    Args:
        path: the file.

    Raises:
        ModelError: missing or damaged, or LiteRT is not installed.
    """

    batch_windows, batch_slices = 1, max(SEGMENT)
    full_batches = False
    shows = frozenset([ENHANCED])

    def __init__(self, path: Path) -> None:
        self.name, self.info = str(path), read_info(path)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelError(f"{path}: needs LiteRT to run: pip install ai-edge-litert") from error
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=max(1, int(usable_cores())))
            whole = self._interpreter.get_signature_runner("serving_default")
            _, _, *self.plane, _ = whole.get_input_details()["slices"]["shape"].tolist()
            size = self.info.recipe.data.image_size
            self._whole = None if self.plane == [size, size] else whole
            if self._whole is None:
                ask = self._interpreter.get_signature_runner
                self._enhance, self._segment = ask(ENHANCE), {n: ask(name) for n, name in SEGMENT.items()}
                n_slices, halo = self.info.recipe.data.window.slices, needed_halo(self.info.recipe)
                self._enhance_inner = ask(ENHANCE_INNER) if halo else None
                self._inner = np.pad(np.ones(n_slices - 2 * halo, bool), halo)
        except Exception as error:  # ValueError, RuntimeError and others on a damaged file
            raise not_loadable(path, error, "export it again") from error

    def stream(
        self,
        images: np.ndarray,
        value_range: np.ndarray,
        spacing_mm: tuple[float, float, float] | None,
        wanted: Collection[str] = (),
    ) -> Iterator[Maps]:
        """See `Runtime.stream`."""
        if self._whole is None:
            return super().stream(images, value_range, spacing_mm, wanted)
        if list(images.shape[1:3]) == self.plane:
            return self._as_stored(self._whole, images, value_range)
        made, given = ("x".join(map(str, plane)) for plane in (self.plane, images.shape[1:3]))
        raise ModelError(
            f"{self.name}: is for slices of {made} pixels, the scan has {given}; export with --size {given}, or "
            "without --size for scans of any size"
        )

    def enhance(self, batch: np.ndarray) -> np.ndarray:
        """See `WindowRuntime.enhance`."""
        return self._enhanced_by(self._enhance, batch)

    def counting(self, batch: np.ndarray, counts: Sequence[np.ndarray]) -> Iterable[np.ndarray]:
        """See `WindowRuntime.counting`."""
        if self._enhance_inner and np.array_equal(counts[0], self._inner):
            return self._enhanced_by(self._enhance_inner, batch)
        return super().counting(batch, counts)

    def network(self, slices: np.ndarray, wanted: Collection[str]) -> Maps:
        """See `WindowRuntime.network`."""
        if run := self._segment.get(len(slices)):
            return run(enhanced=slices)
        lone = [self._segment[1](enhanced=slices[n : n + 1])[PROBABILITY] for n in range(len(slices))]
        return {PROBABILITY: np.concatenate(lone)}

    def _enhanced_by(self, run: Ask, batch: np.ndarray) -> np.ndarray:
        limits = np.tile(np.array(AS_THEY_ARE, np.float32), (1, batch.shape[-1], 1))
        return run(slices=batch, value_range=limits)[ENHANCED]

    def _as_stored(self, run: Ask, images: np.ndarray, value_range: np.ndarray) -> Iterator[Maps]:
        window, limits = self.info.recipe.data.window, value_range[None].astype(np.float32)
        for part in windows(len(images), window.slices, window.halo):
            maps = run(slices=images[part.slices][None].astype(np.float32), value_range=limits)[PROBABILITY][0]
            for probability in maps[part.counts]:
                yield {PROBABILITY: probability}
