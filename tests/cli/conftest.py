from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def command():
    """Start a command as a user does, in a process of its own that Ctrl-C reaches."""

    def reachable() -> None:
        # Tests started in the background of a script ignore SIGINT, and so would what they start.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def start(name: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", f"cli.{name}", *map(str, arguments)],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=reachable,
        )

    return start


@pytest.fixture(scope="session")
def run_command(command):
    """Run a command to its end: (exit code, stdout, stderr)."""

    def run(name: str, *arguments: object, **environment: str) -> tuple[int, str, str]:
        process = command(name, *arguments, **environment)
        out, err = process.communicate(timeout=400)
        return process.returncode, out, err

    return run


@pytest.fixture(scope="session")
def wait_for():
    """Wait until a command has written a file."""

    def wait(file: Path, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 300
        while not file.exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def phantom_store(tmp_path_factory, run_here) -> Path:
    """A small store of 14 phantoms, only read."""
    out = tmp_path_factory.mktemp("stores") / "phantom"
    code, _, err = run_here("prepare", "phantom", "--out", out, "--patients", 14, "--size", 32)
    assert code == 0, err
    return out


@pytest.fixture(scope="session")
def plainest_network() -> dict[str, object]:
    """Changes of a recipe with which most of the time goes into preparing graphs, not into training."""
    return {
        "model.network": "unet",
        "model.filters": 2,
        "model.enhancer.kind": "none",
        "model.encoder_weights": "none",
    }


@pytest.fixture(scope="session")
def run_here():
    """As `run_command`, without a process that loads TensorFlow again; of stderr it sees Python's part alone."""

    def run(name: str, *arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(importlib.import_module(f"cli.{name}").main, [str(a) for a in arguments])
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def model(small_exports, tmp_path):
    """A small `.keras` file of its own, that a command may change."""
    return shutil.copy(small_exports.keras_file, tmp_path / "model.keras")
