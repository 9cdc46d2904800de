"""A folder of scans in several processes, as it is stopped, as one of them is killed, and as it goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.small_models import scan

# Many, or on a busy machine a run is through before it can be stopped.
N_CASES = 120


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, small_exports):
    folder = tmp_path_factory.mktemp("scans")
    for index in range(N_CASES):
        cv2.imwrite(str(folder / f"{index}.png"), scan(1, 40, 36, seed=index)[0, ..., 0].astype(np.uint8))
    return folder, "--model", small_exports.tflite(), "--jobs", 2


@pytest.fixture(scope="module")
def unbroken(arguments, run_command, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    assert run_command("predict", *arguments, "--out", out)[0] == 0
    return out


def workers(process) -> list[int]:
    """Processes that share the work."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[-1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def half_done(arguments, command, tmp_path):
    """A run in the middle, and the processes that share the work."""
    process = command("predict", *arguments, "--out", tmp_path / "out")
    limit = time.monotonic() + 120
    while len(list((tmp_path / "out").glob(".unfinished/*.npz"))) < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)
    yield process, workers(process)
    process.kill()
    process.communicate()


def goes_on(run_command, arguments, out, unbroken):
    n_known = len(list(out.glob(".unfinished/*.npz")))
    assert 4 <= n_known < N_CASES
    assert not (out / "summary.json").exists()
    assert run_command("predict", *arguments, "--out", out)[0] == 0
    names = {file.name for file in out.iterdir()}
    assert names == {file.name for file in unbroken.iterdir()}
    for name in names - {"manifest.json", "report.html", "cases"}:
        assert (out / name).read_bytes() == (unbroken / name).read_bytes(), name


def test_ctrl_c_ends_every_process_and_the_same_command_goes_on(half_done, run_command, arguments, tmp_path, unbroken):
    process, pids = half_done
    assert len(pids) == 2
    for pid in (process.pid, *pids):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "error: stopped; nothing half-written was left behind\n"
    assert not any(map(alive, pids))
    assert not list(tmp_path.rglob("*partial*"))
    goes_on(run_command, arguments, tmp_path / "out", unbroken)


def test_a_process_that_is_killed_ends_the_run_in_one_line(half_done, run_command, arguments, tmp_path, unbroken):
    process, pids = half_done
    os.kill(pids[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = err.splitlines()
    # It may have been the one that was slower to load.
    assert re.search(r"(\.png: the process that worked on it|that loads the model) was killed \(signal 9\)", line)
    assert "fewer --jobs" in line
    assert not any(map(alive, pids))
    goes_on(run_command, arguments, tmp_path / "out", unbroken)


def test_a_broken_scan_among_others_is_exit_code_1_and_the_others_are_there(run_command, arguments, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    scans = [arguments[0] / f"{index}.png" for index in range(3)]
    code, out, err = run_command("predict", broken, *scans, *arguments[1:], "--out", tmp_path / "out")
    assert code == 1
    assert len(out.splitlines()) == 4  # a case each, and where the report is
    assert err.splitlines()[-1].startswith(f"error: {broken}: ")
    assert len(json.loads((tmp_path / "out/summary.json").read_text())["cases"]) == 3


def test_no_process_at_all_is_wrong_use(run_command, arguments):
    code, _, err = run_command("predict", *arguments[:3], "--jobs", 0)
    assert code == 2
    assert "--jobs" in err
