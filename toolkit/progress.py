"""Progress bars: on a terminal they move, elsewhere they keep quiet; at each step a lost Ctrl-C is found again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from toolkit.interruption import stop_if_interrupted

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")


def progress_bar(in_bytes: bool = False) -> Progress | None:
    """A bar on stderr that shows how many are done and the time left; None where there is no terminal.

    Args:
        in_bytes: what is counted are bytes, to be shown as kB, MB, ….
    """
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


@contextmanager
def byte_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar that moves as the yielded function is told how many bytes there are by now.

    Args:
        what: shown before the bar.
        total: bytes there will be.
    """
    bar = progress_bar(in_bytes=True)
    with bar or nullcontext():
        task = bar.add_task(what, total=total) if bar else None

        def show(done: int) -> None:
            stop_if_interrupted()
            if bar and task is not None:
                bar.update(task, completed=done)

        yield show


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield `items` while a bar shows how far they have come; of one there is nothing to show.

    Args:
        items: what to go through.
        what: shown before the bar.
        total: how many there are.
    """
    bar = progress_bar() if total > 1 else None
    with bar or nullcontext():
        for item in bar.track(items, total=total, description=what) if bar else items:
            stop_if_interrupted()
            yield item
