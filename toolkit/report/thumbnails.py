"""Small pictures of a data set, spread evenly over it however large it is."""

from __future__ import annotations

import numpy as np

from toolkit.data.case import Case
from toolkit.pictures import overlay, to_grey

N_THUMBNAILS = 24
THUMBNAIL_PIXELS = 192


class Thumbnails:
    """Keeps a picture of every so many cases: of the slice with the most tumour, its mask outlined."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, np.ndarray]] = []
        self._every, self._seen = 1, 0

    def see(self, case: Case, value_range: np.ndarray) -> None:
        """Draw the case if its turn has come.

        Args:
            case: any.
            value_range: `(modalities, 2)`, shown black and white; see `toolkit.data.intensity`.
        """
        if self._seen % self._every == 0:
            self._kept.append(_thumbnail(case, value_range))
            if len(self._kept) >= 2 * N_THUMBNAILS:
                self._kept, self._every = self._kept[::2], 2 * self._every
        self._seen += 1

    def pictures(self) -> list[tuple[str, np.ndarray]]:
        """Title and RGB uint8 picture, at most `N_THUMBNAILS`, in the order of the cases."""
        chosen = np.linspace(0, len(self._kept) - 1, min(N_THUMBNAILS, len(self._kept)))
        return [self._kept[index] for index in np.rint(chosen).astype(int)]


def _thumbnail(case: Case, value_range: np.ndarray) -> tuple[str, np.ndarray]:
    index = case.n_slices // 2
    if case.mask is not None and case.mask.any():
        index = int(np.argmax([np.count_nonzero(rows) for rows in case.mask]))
    modality = case.present.index(True)
    grey = to_grey(case.images[index, ..., modality], *value_range[modality])
    truth = None if case.mask is None else case.mask[index] > 0
    # By its longest side, as a picture of one row would become as wide as memory.
    height = max(1, round(THUMBNAIL_PIXELS * grey.shape[0] / max(grey.shape)))
    picture = overlay(grey, None, truth=truth, height=height, synthetic=case.synthetic)
    words = [case.case, f"slice {case.slice_names[index]}" if case.n_slices > 1 else "", case.tumour_type or ""]
    return ", ".join(word for word in words if word), picture
