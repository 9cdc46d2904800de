"""How a server shall put requests together, derived from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.export.throughput import Throughput

GOOD_ENOUGH = 0.95  # of the best slices a second: a larger batch than that only makes its first request wait
WAIT = 0.1  # of the time that a case takes alone
THREADS = 2  # one computes, with all cores, while the other puts the next batch together
QUEUE_SECONDS = 30


@dataclass(frozen=True)
class Batching:
    """TensorFlow Serving's BatchingParameters, as far as they depend on the measurement.

    Args:
        max_batch_size: cases in a batch.
        batch_timeout_micros: how long a batch waits to be filled, in microseconds.
        num_batch_threads: batches at a time.
        max_enqueued_batches: batches that may wait; requests beyond are refused.
    """

    max_batch_size: int
    batch_timeout_micros: int
    num_batch_threads: int
    max_enqueued_batches: int


def batching_for(measured: Sequence[Throughput]) -> Batching:
    """The rule that batching.config states.

    Args:
        measured: one for each number of cases; that of one case is among them.
    """
    best = max(one.slices_per_second for one in measured)
    ordered = sorted(measured, key=lambda one: one.cases)
    alone, chosen = ordered[0], next(one for one in ordered if one.slices_per_second >= GOOD_ENOUGH * best)
    return Batching(
        max_batch_size=chosen.cases,
        batch_timeout_micros=round(WAIT * alone.seconds * 1e6) if chosen.cases > 1 else 0,
        num_batch_threads=THREADS,
        max_enqueued_batches=max(THREADS, int(QUEUE_SECONDS / chosen.seconds)),
    )
