"""How much memory there is: the machine's, or what a container leaves."""

import pytest

from toolkit import memory


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 3 GiB to spare, not in a container."""
    (tmp_path / "meminfo").write_text("MemTotal:  8388608 kB\nMemFree: 1024 kB\nMemAvailable:    3145728 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    return tmp_path


def test_without_a_limit_it_is_what_the_machine_has(machine):
    assert memory.available_bytes() == 3 * 2**30
    (machine / "memory.max").write_text("max\n")
    (machine / "memory.current").write_text("4096\n")
    assert memory.available_bytes() == 3 * 2**30


@pytest.mark.parametrize(("used", "left"), [(2**29, 2**29), (2**31, 0)])
def test_in_a_container_it_is_what_is_left_of_the_limit(machine, used, left):
    (machine / "memory.max").write_text(f"{2**30}\n")
    (machine / "memory.current").write_text(f"{used}\n")
    assert memory.available_bytes() == left


def test_where_nothing_can_be_read_a_small_machine_is_assumed(machine):
    (machine / "meminfo").unlink()
    assert memory.available_bytes() == memory.UNKNOWN
