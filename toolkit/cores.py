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
