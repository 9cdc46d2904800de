from __future__ import annotations

import signal

import pytest


@pytest.fixture
def lose_ctrl_c():
    """Press Ctrl-C where Python drops what it raises."""

    class Dropped:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    # Tests started in the background of a script ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: Dropped() and None
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def small_exports(tmp_path_factory):
    """A small segmenter as `.keras`, `.tflite` and SavedModel; see `SmallExports`."""
    from tests.small_models import SmallExports

    return SmallExports(tmp_path_factory.mktemp("small_exports"))
