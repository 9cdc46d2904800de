"""What a command costs from its start to its end: wall clock and peak memory.

The kernel counts towards the peak of a child what its parent held when it started it. So commands are started by a
process of this file alone, which holds nothing: `python processes.py RESULT COMMAND ...`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

KIB = 1024 if sys.platform != "darwin" else 1  # of `ru_maxrss`
MEGABYTE = 1e6


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Args:
        seconds: wall clock.
        peak_mb: most memory that it, or one of the processes it waited for, held, in 10^6 bytes.
    """

    seconds: float
    peak_mb: float


def cost(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end.

    Args:
        command: program and arguments.
        environment: variables besides those that are set.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        # -I and -S: a Python that loads nothing of anybody's.
        starter = [sys.executable, "-I", "-S", __file__, result, *command]
        ran = subprocess.run(starter, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit code {ran.returncode}\n{ran.stderr[-2000:]}")
        return Cost(**json.loads(result.read_text(encoding="utf-8")))


def _start(result: str, command: list[str]) -> int:
    start = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - start
    with open(result, "w", encoding="utf-8") as file:
        json.dump({"seconds": seconds, "peak_mb": usage.ru_maxrss * KIB / MEGABYTE}, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_start(sys.argv[1], sys.argv[2:]))
