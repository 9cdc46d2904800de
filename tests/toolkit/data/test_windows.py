"""The halo rule: every slice counts once, and where it counts it sees its neighbours."""

import numpy as np
import pytest

from toolkit.data.windows import windows

RULES = [(size, halo) for size in range(1, 10) for halo in range((size + 1) // 2)]


@pytest.mark.parametrize(("size", "halo"), RULES)
def test_every_slice_counts_in_exactly_one_window(size, halo):
    for n_slices in range(1, 41):
        times = np.zeros(n_slices, int)
        for window in windows(n_slices, size, halo):
            assert window.slices.shape == window.counts.shape == window.real.shape == (size,)
            assert window.start == window.slices[0]
            np.add.at(times, window.slices[window.counts], 1)
        assert (times == 1).all(), f"{n_slices} slices"


@pytest.mark.parametrize(("size", "halo"), RULES)
def test_a_slice_that_counts_has_its_halo_unless_the_volume_ends(size, halo):
    for n_slices in range(1, 41):
        for window in windows(n_slices, size, halo):
            for index in window.slices[window.counts]:
                wanted = range(max(0, index - halo), min(n_slices, index + halo + 1))
                assert set(wanted) <= set(window.slices.tolist()), f"slice {index} of {n_slices}"


@pytest.mark.parametrize(("size", "halo"), RULES)
def test_windows_are_neighbouring_slices_of_the_volume(size, halo):
    for n_slices in range(size, 41):
        for window in windows(n_slices, size, halo):
            assert window.slices.tolist() == list(range(window.start, window.start + size))
            assert window.slices[-1] < n_slices
            assert window.real.all()


@pytest.mark.parametrize(("size", "halo"), RULES)
def test_the_cost_of_a_slice_does_not_grow_with_the_volume(size, halo):
    n_slices = 5000
    cost = len(windows(n_slices, size, halo)) * size / n_slices
    assert cost == pytest.approx(size / (size - 2 * halo), rel=0.01)


def test_ten_slices_in_windows_of_four_worked_by_hand():
    counted = [window.slices[window.counts].tolist() for window in windows(10, 4, 1)]
    assert [window.start for window in windows(10, 4, 1)] == [0, 2, 4, 6]
    assert counted == [[0, 1, 2], [3, 4], [5, 6], [7, 8, 9]]


def test_a_short_volume_repeats_its_last_slice_and_says_which_are_real():
    (window,) = windows(2, 5, 1)
    assert window.slices.tolist() == [0, 1, 1, 1, 1]
    assert window.counts.tolist() == window.real.tolist() == [True, True, False, False, False]


def test_a_lone_picture_is_a_window_of_itself():
    (window,) = windows(1, 4, 1)
    assert window.slices.tolist() == [0, 0, 0, 0]
    assert window.real.tolist() == [True, False, False, False]


@pytest.mark.parametrize(("n_slices", "size", "halo"), [(0, 4, 1), (5, 4, 2), (5, 4, -1), (5, 0, 0)])
def test_rules_without_sense_are_refused(n_slices, size, halo):
    with pytest.raises(ValueError, match="no windows"):
        windows(n_slices, size, halo)


def test_shuffled_windows_hold_other_neighbours_and_still_count_each_slice_once():
    plain, shuffled = windows(20, 4, 1), windows(20, 4, 1, shuffled=True)
    assert [w.counts.tolist() for w in shuffled] == [w.counts.tolist() for w in plain]
    assert sorted(np.concatenate([w.slices[w.counts] for w in shuffled])) == list(range(20))
    steps = np.abs(np.concatenate([np.diff(w.slices) for w in shuffled]))
    assert steps.mean() > 3
    assert all(w.real.all() for w in shuffled)
    assert [w.slices.tolist() for w in windows(20, 4, 1, shuffled=True)] == [w.slices.tolist() for w in shuffled]
