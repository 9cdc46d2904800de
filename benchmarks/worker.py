"""Workers: processes that load once and then do, in turn, what they are asked to.

A request is a line with the name of a call, an answer a line of JSON. The standard library is all this file needs, as
both sides of a comparison import it, each in an environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Calls = Mapping[str, Callable[[], object]]
KIB, MEGABYTE = 1024, 1e6


def serve(load: Callable[[], tuple[Calls, dict[str, Any]]]) -> None:
    """Be a worker: load, then answer until nobody asks any more.

    Args:
        load: gives calls by name, each of which does one thing and returns once it is done, and facts for the report.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    calls, facts = load()
    print(json.dumps({"facts": facts}), file=answers, flush=True)
    for line in sys.stdin:
        call = calls[line.strip()]
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}), file=answers, flush=True)


def peak_mb() -> float:
    """Most memory this process has held so far, in 10^6 bytes; of Linux."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * KIB / MEGABYTE


class Worker:
    """The other end: a worker that was started, ready to be asked.

    Args:
        command: that calls `serve`.

    Attributes:
        facts: what it says of itself.
        peak_mb: of memory, as of its last answer.
    """

    def __init__(self, command: Sequence[str | Path]) -> None:
        here = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": here},
        )
        self.peak_mb = 0.0
        self.facts: dict[str, Any] = self._answer()["facts"]

    def ask(self, call: str) -> float:
        """Seconds that a call takes."""
        assert self._process.stdin is not None
        print(call, file=self._process.stdin, flush=True)
        answer = self._answer()
        self.peak_mb = answer["peak_mb"]
        return answer["seconds"]

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args}: ended with exit code {self._process.wait()}; see above")
        return json.loads(line)
