"""Cores of the machine, of the process and of a container."""

import os

import pytest

from toolkit import cores


@pytest.mark.parametrize(("quota", "number"), [("150000 100000\n", 1.5), ("max 100000\n", 2), ("800000 100000\n", 2)])
def test_cores_are_those_bound_to_or_a_containers_quota(tmp_path, monkeypatch, quota, number):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    monkeypatch.setattr(cores, "CGROUP_QUOTA", tmp_path / "cpu.max")
    assert cores.usable_cores() == 2
    (tmp_path / "cpu.max").write_text(quota)
    assert cores.usable_cores() == number


@pytest.mark.parametrize(
    ("quota", "shares", "bound"),
    [
        ("max 100000", 2, [{1, 3}, {5, 7}]),
        ("max 100000", 4, [{1}, {3}, {5}, {7}]),
        ("max 100000", 3, [{1}, {3}, {5}]),
        ("200000 100000", 2, [{1}, {3}]),
        ("max 100000", 6, [{1}, {3}, {5}, {7}, {1}, {3}]),
    ],
)
def test_processes_that_work_at_the_same_time_are_bound_to_cores_of_their_own(
    tmp_path, monkeypatch, quota, shares, bound
):
    taken = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {7, 5, 3, 1}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, share: taken.append(share), raising=False)
    monkeypatch.setattr(cores, "CGROUP_QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(quota)
    for index in range(shares):
        cores.take_share(index, shares)
    assert taken == bound


def test_where_processes_can_not_be_bound_they_are_not(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    cores.take_share(0, 2)
