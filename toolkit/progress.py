"""Progress bars: on a terminal they move, elsewhere they keep quiet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")


def progress_bar() -> Progress | None:
    """A bar on stderr that shows how many are done and the time left; None where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console) if console.is_terminal else None


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield `items` while a bar shows how far they have come.

    Args:
        items: what to go through.
        what: shown before the bar.
        total: how many there are.
    """
    bar = progress_bar()
    if bar is None:
        yield from items
        return
    with bar:
        yield from bar.track(items, total=total, description=what)
