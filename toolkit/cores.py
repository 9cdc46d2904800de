"""How many cores there are to work with."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> float:
    """Cores this process may use: those it is bound to, or a container's quota where that is less."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CGROUP_QUOTA.read_text(encoding="ascii").split()
        return min(bound, int(quota) / int(period))
    except (OSError, ValueError):  # there is no such file, or "max" stands for no quota
        return bound


def take_share(index: int, shares: int) -> None:
    """Bind this process to its share of the cores, where the system can.

    All that then counts cores, LiteRT, TensorFlow, JAX and OpenCV among them, starts as many threads: to be called
    before they are loaded.

    Args:
        index: of this process among
        shares: processes that work at the same time.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    bound = sorted(os.sched_getaffinity(0))
    n = max(1, int(usable_cores() / shares))
    # More processes than cores take turns.
    os.sched_setaffinity(0, {bound[(index * n + i) % len(bound)] for i in range(n)})
