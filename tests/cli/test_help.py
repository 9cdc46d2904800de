from __future__ import annotations

import time

import pytest

COMMANDS = ("prepare", "train", "evaluate", "predict", "enhance", "compare", "tune", "export")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples(run_command, name):
    code, out, _ = run_command(name, "--help")
    assert code == 0
    assert f"bts-{name}" in out
    assert "Examples" in out


def test_help_is_quick_as_it_imports_nothing_heavy(run_command):
    # Half a second is the promise on a quiet machine; the fastest of three on a busy one.
    def seconds() -> float:
        start = time.perf_counter()
        run_command("predict", "--help")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1.5
    from subprocess import check_output
    from sys import executable

    loaded = check_output([executable, "-X", "importtime", "-m", "cli.train", "--help"], stderr=-2, text=True)
    assert not [line for line in loaded.splitlines() if line.endswith(("| tensorflow", "| keras", "| numpy"))]
