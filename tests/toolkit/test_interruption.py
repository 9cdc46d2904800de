"""Ctrl-C stops a command also where Python drops what it raises."""

import signal
import sys
import threading

import pytest

from toolkit.errors import ModelError
from toolkit.interruption import remembering_ctrl_c, stop_if_interrupted
from toolkit.progress import byte_bar, track


@pytest.fixture
def answer():
    """Sets what answers Ctrl-C in a test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_a_lost_ctrl_c_is_raised_again_at_the_next_step(lose_ctrl_c, capsys):
    with remembering_ctrl_c():
        stop_if_interrupted()
        lose_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            stop_if_interrupted()
    stop_if_interrupted()  # what comes after was not stopped
    assert capsys.readouterr().err == ""


def test_a_ctrl_c_that_is_not_lost_raises_at_once(answer):
    answer(signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), remembering_ctrl_c():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def raised(error):
    raise error


def test_what_a_library_makes_of_a_ctrl_c_is_one_again(lose_ctrl_c):
    made_of_it = SystemError("bad argument to internal function")
    with pytest.raises(KeyboardInterrupt), remembering_ctrl_c():
        raised(lose_ctrl_c() or made_of_it)
    with pytest.raises(SystemError), remembering_ctrl_c():
        raised(made_of_it)


def test_what_we_say_of_a_ctrl_c_is_said(lose_ctrl_c):
    with pytest.raises(ModelError, match="half a model"), remembering_ctrl_c():
        raised(lose_ctrl_c() or ModelError("half a model"))


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_what_others_answer_or_ignore_stays_so(answer, handler):
    answer(handler)
    with remembering_ctrl_c():
        signal.raise_signal(signal.SIGINT)
        stop_if_interrupted()
        assert signal.getsignal(signal.SIGINT) is handler


def test_in_a_thread_that_no_signal_reaches_nothing_is_changed(answer):
    answer(signal.default_int_handler)
    handlers = []

    def work():
        with remembering_ctrl_c():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_another_error_that_python_drops_is_told_as_ever(answer, monkeypatch):
    class Broken:
        def __del__(self):
            raise ValueError

    answer(signal.default_int_handler)
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: told.append(dropped.exc_type))
    with remembering_ctrl_c():
        Broken()
    assert told == [ValueError]


def test_a_walk_through_many_stops_before_the_next(lose_ctrl_c):
    seen = []

    def walk():
        for item in track(range(3), "Walking", 3):
            seen.append(item)
            lose_ctrl_c()

    with remembering_ctrl_c(), pytest.raises(KeyboardInterrupt):
        walk()
    assert seen == [0]


def test_a_download_stops_at_its_next_piece(lose_ctrl_c):
    with remembering_ctrl_c(), byte_bar("archive", 10) as show:
        show(1)
        lose_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            show(2)
