"""A case may be cut anywhere between windows, and nothing that is said of a slice may change by it."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config import WindowRecipe
from toolkit.data.windows import windows
from toolkit.inference.runtimes.server.pieces import pieces

WINDOWS = st.integers(1, 12).flatmap(
    lambda size: st.builds(WindowRecipe, slices=st.just(size), halo=st.integers(0, (size - 1) // 2))
)


def deciding_windows(n_slices, window, offset=0):
    """The slices that are looked at when each slice is decided."""
    decided = {}
    for part in windows(n_slices, window.slices, window.halo):
        for place in np.flatnonzero(part.counts):
            decided[part.slices[place] + offset] = (part.slices + offset).tolist()
    return decided


@given(n_slices=st.integers(1, 90), window=WINDOWS, longest=st.integers(0, 60))
def test_each_slice_is_decided_once_and_by_the_window_of_the_whole_case(n_slices, window, longest):
    wanted = deciding_windows(n_slices, window)
    found = {}
    for piece in pieces(n_slices, window, longest):
        decided = deciding_windows(piece.stop - piece.start, window, piece.start)
        for index in (piece.start + np.flatnonzero(piece.counts)).tolist():
            assert index not in found
            found[index] = decided[index]
    assert found == wanted


@given(n_slices=st.integers(1, 90), window=WINDOWS, longest=st.integers(0, 60))
def test_a_piece_is_as_long_as_messages_allow_but_never_less_than_a_window(n_slices, window, longest):
    plan = pieces(n_slices, window, longest)
    lengths = [piece.stop - piece.start for piece in plan]
    assert max(lengths) <= max(longest, min(window.slices, n_slices))
    for piece, following in pairwise(plan):
        # One window more would have been too much.
        first_end = following.start + window.slices
        assert first_end - piece.start > longest


def test_a_case_that_fits_goes_in_one_piece():
    (piece,) = pieces(40, WindowRecipe(slices=8, halo=2), 40)
    assert (piece.start, piece.stop) == (0, 40)
    assert piece.counts.all()
