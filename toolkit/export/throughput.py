"""How many slices a second an exported model computes, by the number of cases in a request."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BATCH_SIZES = (1, 2, 4, 8)
REPEATS = 5


@dataclass(frozen=True)
class Throughput:
    """What was measured with requests of one size.

    Args:
        cases: in a request.
        seconds: median time of a request.
        slices_per_second: of all its cases.
    """

    cases: int
    seconds: float
    slices_per_second: float


def measure_throughput(
    predict: Callable[[np.ndarray], object],
    shape: tuple[int, int, int, int],
    batch_sizes: Sequence[int] = BATCH_SIZES,
    repeats: int = REPEATS,
) -> list[Throughput]:
    """Time requests of every size, in turn, so that a machine that slows down does so for all of them.

    Args:
        predict: takes `(cases, slices, height, width, modalities)` float32, and returns when it is done.
        shape: `(slices, height, width, modalities)` of a case.
        batch_sizes: cases in a request.
        repeats: how often each is timed; the median counts.

    Returns:
        One for each of `batch_sizes`, in their order.
    """
    noise = np.random.default_rng(0).uniform(0, 255, (max(batch_sizes), *shape)).astype(np.float32)
    for cases in batch_sizes:
        predict(noise[:cases])  # the first of each shape is slower: TensorFlow makes its plans
    times: dict[int, list[float]] = {cases: [] for cases in batch_sizes}
    for _ in range(repeats):
        for cases in batch_sizes:
            start = time.perf_counter()
            predict(noise[:cases])
            times[cases].append(time.perf_counter() - start)
    medians = {cases: statistics.median(seconds) for cases, seconds in times.items()}
    return [Throughput(cases, seconds, cases * shape[0] / seconds) for cases, seconds in medians.items()]
