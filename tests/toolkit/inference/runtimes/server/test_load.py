"""Many clients at once, for a while: no error, no wrong answer, no memory that grows."""

import gc
import os
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.serving_double.tiny_model import tiny_answer
from toolkit.data.intensity import intensity_range
from toolkit.inference.runtimes.server import ServerRuntime

CLIENTS = 32
SECONDS = float(os.environ.get("BTS_LOAD_SECONDS", "3"))
# What the allocator holds back for each thread goes up and down by tens of MB; messages are hundreds of MB a second.
GROWTH_MB = 192


def memory_mb(process_id):
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Client:
    """Asks again and again about a case of its own."""

    def __init__(self, number, urls, make_images):
        protocol, size = ("grpc", 96) if number % 2 else ("http", 24)
        self.images = make_images(8 + number, height=size, width=size, seed=number)
        self.limits = intensity_range(self.images)
        self.wanted = tiny_answer(self.images, self.limits)
        self.runtime = ServerRuntime(urls[protocol])

    def ask_for(self, seconds):
        end = time.monotonic() + seconds
        while True:
            assert np.abs(self.runtime.probability(self.images, self.limits, None) - self.wanted).max() < 1e-6
            if time.monotonic() > end:
                return


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory where Linux shows it")
def test_many_clients_at_once(double_process, make_images):
    process, urls = double_process()

    def memory_after(seconds):
        list(pool.map(lambda client: client.ask_for(seconds), clients))
        gc.collect()
        return np.array([memory_mb(os.getpid()), memory_mb(process.pid)])

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = list(pool.map(lambda number: Client(number, urls, make_images), range(CLIENTS)))
        # The first requests fill buffers that stay.
        before = memory_after(SECONDS / 3)
        after = memory_after(SECONDS * 2 / 3)
    assert max(after - before) < GROWTH_MB, f"client and server grew from {before} to {after} MB"


def test_a_client_keeps_nothing_of_a_case(double, served, make_images):
    # Large beside what the libraries keep of their own: the double runs in this process, too.
    images = make_images(12, height=48, width=48)
    limits = intensity_range(images)
    runtime = ServerRuntime(f"{double.base}/tiny")

    def traced(times):
        for _ in range(times):
            runtime.probability(images, limits, None)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = traced(3)
    after = traced(10)
    tracemalloc.stop()
    # Kept, they would be ten cases of four bytes a value. The last may still be in the hands of one of the double's
    # threads, which answers before it lets go.
    assert after - before < 5 * images.size * 4
