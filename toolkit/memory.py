"""How much memory there is to work with."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
# Where nothing can be read, as on systems that are not Linux.
UNKNOWN = 2 * 2**30


def available_bytes() -> int:
    """Memory this process may still take: what the machine has, or what a container leaves of its limit if less."""
    return min(_of_machine(), _of_container())


def _of_machine() -> int:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kilobytes) * 1024
    except (OSError, ValueError, StopIteration):
        return UNKNOWN


def _of_container() -> int:
    try:
        limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        return max(limit - used, 0)
    except (OSError, ValueError):  # there is no such file, or "max" stands for no limit
        return _of_machine()
