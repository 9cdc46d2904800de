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
