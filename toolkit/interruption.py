"""A Ctrl-C that can't be lost.

Python raises KeyboardInterrupt in whatever runs when the signal comes, and drops it if that is a `__del__`, a
weakref's or the garbage collector's callback: libraries have many, and a program may wait for minutes in front of one.
Libraries in C at times make another error of it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from toolkit.errors import ToolkitError

_pressed = False


@contextmanager
def remembering_ctrl_c() -> Iterator[None]:
    """Remember for the functions below that Ctrl-C was pressed; it raises KeyboardInterrupt as ever.

    Where Ctrl-C is ignored, or is somebody else's to answer, it stays so.

    Raises:
        KeyboardInterrupt: for whatever a library has made of one.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    hook = sys.unraisablehook

    def remember(number: int, frame: FrameType | None) -> None:
        global _pressed
        _pressed = True
        signal.default_int_handler(number, frame)

    def keep_quiet(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            hook(dropped)

    global _pressed
    _pressed, sys.unraisablehook = False, keep_quiet
    signal.signal(signal.SIGINT, remember)
    try:
        yield
    except Exception as error:
        if is_interruption(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        _pressed, sys.unraisablehook = False, hook


def stop_if_interrupted() -> None:
    """Go no further if Ctrl-C was pressed; to be called between two pieces of a long work.

    Raises:
        KeyboardInterrupt: again, as what was raised before got lost.
    """
    if _pressed:
        raise KeyboardInterrupt


def is_interruption(error: BaseException) -> bool:
    """Whether an error is a Ctrl-C, or what a library has made of one; what we have to say of it passes as it is."""
    return isinstance(error, KeyboardInterrupt) or (_pressed and not isinstance(error, ToolkitError))
