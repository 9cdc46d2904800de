"""Work in several processes: the same results, and an end in every case."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from toolkit.cores import usable_cores
from toolkit.errors import SourceError, ToolkitError
from toolkit.files import atomic_path
from toolkit.worker_processes import shared_out

pytestmark = pytest.mark.usefixtures("nobody_left")


@pytest.fixture
def nobody_left():
    yield
    assert multiprocessing.active_children() == []


def squares():
    process, cores = os.getpid(), usable_cores()
    return lambda number: (number * number, process, cores)


def failing(error):
    def fail(number):
        if number == 2:
            raise error
        return number

    return fail


def killed():
    return lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == 2 else number


def killed_while_getting_ready():
    os.kill(os.getpid(), signal.SIGKILL)


def writing(folder):
    """The first task fails once the second is in the middle of a file."""

    def write(number):
        if number == 0:
            while not any(folder.iterdir()):
                time.sleep(0.01)
            raise SourceError("broken")
        with atomic_path(folder / "result") as partial_path:
            partial_path.write_text("half")
            time.sleep(60)

    return write


def run(get_ready, n=6, jobs=2):
    return dict(shared_out(get_ready, range(n), jobs, title=lambda task: f"scan {task}"))


def test_each_task_is_done_once_by_processes_that_got_ready_once():
    results = run(squares)
    assert {index: square for index, (square, _, _) in results.items()} == {i: i * i for i in range(6)}
    processes = {process for _, process, _ in results.values()}
    assert os.getpid() not in processes
    assert len(processes) <= 2


def test_processes_share_the_cores():
    (one_of_many,) = {cores for _, _, cores in run(squares, jobs=2).values()}
    assert one_of_many == max(1, usable_cores() // 2)


def test_more_processes_than_tasks_end_too():
    assert len(run(squares, n=1, jobs=2)) == 1


def test_an_error_of_ours_comes_as_it_is():
    with pytest.raises(SourceError, match=r"^scan: broken$"):
        run(partial(failing, SourceError("scan: broken")))


def test_any_other_error_tells_where_it_was_raised():
    with pytest.raises(RuntimeError, match=r"in fail\n(?s:.*)ZeroDivisionError: by zero"):
        run(partial(failing, ZeroDivisionError("by zero")))


def test_an_error_while_getting_ready_is_told():
    with pytest.raises(RuntimeError, match="in get_broken"):
        run(get_broken)


def get_broken():
    raise LookupError


def test_a_process_that_is_killed_is_an_error_that_names_the_case():
    with pytest.raises(ToolkitError, match=r"^scan 2: .*killed \(signal 9\).*fewer --jobs"):
        run(killed)


def test_a_process_that_is_killed_while_it_gets_ready_is_an_error():
    with pytest.raises(ToolkitError, match=r"loads the model was killed \(signal 9\)"):
        run(killed_while_getting_ready)


def test_when_one_fails_the_others_stop_and_remove_what_is_half_written(tmp_path):
    before = time.monotonic()
    with pytest.raises(SourceError, match="broken"):
        run(partial(writing, Path(tmp_path)), n=2)
    assert time.monotonic() - before < 50
    assert list(tmp_path.iterdir()) == []


def test_a_caller_that_has_seen_enough_ends_them():
    walk = shared_out(squares, range(1000), 2, title=str)
    next(walk)
    walk.close()
