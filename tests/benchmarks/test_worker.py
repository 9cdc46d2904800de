"""A worker loads once, then does what it is asked."""

from __future__ import annotations

import sys

import pytest
from worker import Worker

SCRIPT = """
import time
from worker import serve

def load():
    print("a library says hello")
    held = []
    return {"rest": lambda: time.sleep(0.2), "hold": lambda: held.append(bytearray(b"x") * 100_000_000)}, {"name": "me"}

serve(load)
"""


@pytest.fixture
def worker(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    started = Worker([sys.executable, tmp_path / "script.py"])
    yield started
    started.close()


def test_a_call_is_timed_and_memory_is_of_the_worker(worker):
    assert worker.facts == {"name": "me"}
    assert 0.2 <= worker.ask("rest") < 10
    before = worker.peak_mb
    worker.ask("hold")
    assert 90 < worker.peak_mb - before < 120


def test_a_worker_that_dies_is_told(worker):
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        worker.ask("no such call")
