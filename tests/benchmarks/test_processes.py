"""What a command costs is its own cost, not that of who started it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from processes import cost

HOLD = "held = bytearray(b'x') * 150_000_000; import time; time.sleep(0.3)"


def test_memory_and_time_of_a_command():
    spent = cost([sys.executable, "-c", HOLD])
    assert 150 < spent.peak_mb < 200
    assert 0.3 <= spent.seconds < 30


def test_what_the_caller_holds_does_not_count():
    held = np.ones(400_000_000, np.uint8)
    assert cost([sys.executable, "-c", "pass"]).peak_mb < 100
    assert held[-1]


def test_memory_of_a_command_s_own_child_counts():
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}], check=True)"
    assert cost([sys.executable, "-c", child]).peak_mb > 150


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(RuntimeError, match="exit code 3\nno such scan"):
        cost([sys.executable, "-c", "import sys; print('no such scan', file=sys.stderr); sys.exit(3)"])
