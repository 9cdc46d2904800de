"""How fast a model is gets measured, not guessed, and from that follows how requests are put together."""

from types import SimpleNamespace

import pytest

from toolkit.export.batching import batching_for
from toolkit.export.throughput import Throughput, measure_throughput


def measured(*slices_per_second, slices=4):
    sizes = (1, 2, 4, 8)[: len(slices_per_second)]
    return [Throughput(n, n * slices / rate, rate) for n, rate in zip(sizes, slices_per_second, strict=True)]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what is added to it, so that a busy machine can't fail a test."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("toolkit.export.throughput.time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def test_every_size_is_timed_as_often_and_the_first_call_of_each_does_not_count(clock):
    seen = []

    def predict(slices):
        first = len(slices) not in [len(earlier) for earlier in seen]
        seen.append(slices)
        clock.seconds += 9.0 if first else 0.5 * len(slices) ** 2

    found = measure_throughput(predict, (3, 8, 8, 2), batch_sizes=(1, 2), repeats=3)
    assert [slices.shape for slices in seen[:2]] == [(1, 3, 8, 8, 2), (2, 3, 8, 8, 2)]
    assert [len(slices) for slices in seen[2:]] == [1, 2] * 3
    assert {str(slices.dtype) for slices in seen} == {"float32"}
    assert found == [Throughput(1, 0.5, 6.0), Throughput(2, 2.0, 3.0)]


def test_one_slow_answer_does_not_decide(clock):
    durations = iter([0.0, 1.0, 30.0, 1.0])

    def predict(_):
        clock.seconds += next(durations)

    assert measure_throughput(predict, (1, 4, 4, 1), batch_sizes=(1,), repeats=3) == [Throughput(1, 1.0, 1.0)]


def test_a_batch_is_no_larger_than_it_pays():
    assert batching_for(measured(50, 90, 98, 100)).max_batch_size == 4
    assert batching_for(measured(50, 90, 98, 120)).max_batch_size == 8
    assert batching_for(measured(50, 40, 30, 20)).max_batch_size == 1


def test_nobody_waits_for_a_batch_of_one():
    assert batching_for(measured(100, 60)).batch_timeout_micros == 0


def test_the_wait_is_a_tenth_of_what_a_case_takes_alone():
    # 4 slices at 40 a second: 100 ms.
    assert batching_for(measured(40, 80)).batch_timeout_micros == 10_000


def test_the_queue_holds_what_is_computed_in_half_a_minute_and_never_nothing():
    # 8 slices at 80 a second: 0.1 s a batch.
    assert batching_for(measured(40, 80)).max_enqueued_batches == 300
    assert batching_for(measured(0.1)).max_enqueued_batches == 2
