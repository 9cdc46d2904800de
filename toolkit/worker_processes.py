"""Work that is shared among processes: each gets ready once, then takes one task after the other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, TypeVar

from toolkit.cores import take_share
from toolkit.errors import ToolkitError
from toolkit.interruption import stop_if_interrupted

Task = TypeVar("Task")
Result = TypeVar("Result")

# What a process may take to end, if it is asked to in the middle of a long step of a library.
SECONDS_TO_END = 10.0


def shared_out(
    get_ready: Callable[[], Callable[[Task], Result]],
    tasks: Sequence[Task],
    jobs: int,
    title: Callable[[Task], str],
) -> Iterator[tuple[int, Result]]:
    """Do tasks in several processes.

    Whatever ends the walk, an error, Ctrl-C or the caller, ends the processes; they remove what is half-written.

    Args:
        get_ready: called once in each process; gives what does a task. It, tasks and results must pickle.
        tasks: what is to be done.
        jobs: how many processes, started afresh; none has a part of another's memory.
        title: what a task is about, for messages.

    Yields:
        Index of a task and its result, in the order in which they are done.

    Raises:
        ToolkitError: a process was killed; or what `get_ready` or a task raised in it.
    """
    workers: list[_Worker] = []
    try:
        for index in range(jobs):
            workers.append(_Worker(get_ready, index, jobs))
        waiting, busy = iter(enumerate(tasks)), {worker.connection: worker for worker in workers}
        while busy:
            for connection in wait(list(busy), timeout=1.0):
                worker = busy[connection]  # type: ignore[index]
                result = worker.receive(None if worker.index is None else title(tasks[worker.index]))
                if worker.index is not None:
                    yield worker.index, result
                worker.index, task = next(waiting, (None, None))
                if worker.index is None:
                    del busy[worker.connection]
                else:
                    worker.send(task, title(tasks[worker.index]))
            stop_if_interrupted()
    except BaseException:
        for worker in workers:
            worker.process.terminate()
        raise
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process, seen from the one that started it."""

    def __init__(self, get_ready: Callable[[], Callable[[Any], Any]], number: int, jobs: int) -> None:
        # Afresh: a fork would have locks of threads, and TensorFlow, as they are at this moment.
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        self.process = context.Process(target=_work, args=(other_end, get_ready, number, jobs), daemon=True)
        self.process.start()
        other_end.close()
        self.index: int | None = None

    def send(self, task: Any, title: str) -> None:
        """Have a task done."""
        try:
            self.connection.send(task)
        except OSError as error:
            raise self._killed(title) from error

    def receive(self, title: str | None) -> Any:
        """What came of the task, or of getting ready."""
        try:
            error, result = self.connection.recv()
        except (EOFError, OSError) as gone:
            raise self._killed(title) from gone
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        """Wait until it has ended, not forever."""
        self.connection.close()
        self.process.join(SECONDS_TO_END)
        self.process.kill()
        self.process.join()

    def _killed(self, title: str | None) -> ToolkitError:
        self.process.join(SECONDS_TO_END)
        code = self.process.exitcode
        how = f"was killed (signal {-code})" if code is not None and code < 0 else f"ended (exit code {code})"
        where = "a process that loads the model" if title is None else f"{title}: the process that worked on it"
        return ToolkitError(
            f"{where} {how}, most likely for lack of memory; try again with fewer --jobs, the same command goes on "
            "with what is not done"
        )


def _work(connection: Connection, get_ready: Callable[[], Callable[[Any], Any]], number: int, jobs: int) -> None:
    """What a process does: get ready, then tasks until there are no more."""
    # Ctrl-C reaches every process of a terminal; the one that started this one answers it, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    take_share(number, jobs)
    try:
        do = get_ready()
        connection.send((None, None))
        while True:
            try:
                task = connection.recv()
            except EOFError:  # there are no more
                return
            connection.send((None, do(task)))
    except Exception as error:
        with suppress(OSError):  # nobody is there any more
            connection.send((_that_pickles(error), None))


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(os.EX_TEMPFAIL)


def _that_pickles(error: Exception) -> Exception:
    """Errors that commands print in a line as they are; the traceback of any other stays here, so it is the message."""
    return error if isinstance(error, ToolkitError | OSError) else RuntimeError(traceback.format_exc())
