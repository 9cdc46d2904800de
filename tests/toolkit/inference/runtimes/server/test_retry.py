"""A server that is not available is asked again, for a while; any other failure is the answer."""

import pytest

from toolkit.inference.runtimes.server import retry
from toolkit.inference.runtimes.server.failure import Failure, Trouble
from toolkit.inference.runtimes.server.retry import GIVE_UP_S, LONGEST_WAIT_S, retried


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves: the waits so far."""
    waits = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    monkeypatch.setattr(retry.time, "monotonic", lambda: 1000.0 + sum(waits))
    return waits


def failing(times, trouble=Trouble.UNAVAILABLE):
    """Fails so many times, then says yes."""
    left = [Failure(trouble, "no")] * times

    def attempt():
        if left:
            raise left.pop()
        return "yes"

    return attempt


def test_waits_grow_and_differ_from_client_to_client(clock):
    assert retried(failing(5)) == "yes"
    first, *_, last = clock
    assert len(clock) == 5
    assert last > 4 * first
    earlier = list(clock)
    clock.clear()
    retried(failing(5))
    assert clock != earlier


def test_it_gives_up_in_bounded_time_with_what_the_server_said_last(clock):
    with pytest.raises(Failure, match="no"):
        retried(failing(1000))
    assert GIVE_UP_S - LONGEST_WAIT_S <= sum(clock) <= GIVE_UP_S


@pytest.mark.parametrize("trouble", [trouble for trouble in Trouble if trouble is not Trouble.UNAVAILABLE])
def test_nothing_else_is_tried_again(trouble, clock):
    with pytest.raises(Failure):
        retried(failing(1, trouble))
    assert not clock
