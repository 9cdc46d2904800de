"""Ask again while a server is not available, but not for ever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from toolkit.inference.runtimes.server.failure import Failure, Trouble

GIVE_UP_S = 30.0
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 4.0

T = TypeVar("T")


def retried(attempt: Callable[[], T]) -> T:
    """Result of an attempt, repeated where the server was not available.

    Waits double from one to the next, and differ at random, so that clients who failed together do not come back
    together. Nothing is tried again later than `GIVE_UP_S` after the first failure.

    Raises:
        Failure: the last one.
    """
    give_up = 0.0
    for number in count():
        try:
            return attempt()
        except Failure as failure:
            now = time.monotonic()
            give_up = give_up or now + GIVE_UP_S
            wait_s = min(FIRST_WAIT_S * 2**number, LONGEST_WAIT_S) * random.uniform(0.5, 1.0)
            if failure.trouble is not Trouble.UNAVAILABLE or now + wait_s > give_up:
                raise
        time.sleep(wait_s)
    raise AssertionError("counts without end")
