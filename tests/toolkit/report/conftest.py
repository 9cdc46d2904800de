from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.report.predicted_case import PredictedCase


@pytest.fixture
def predicted_case(tmp_path):
    """Makes a case whose tumour covers 4, 16 and 9 pixels of the slices 2, 3 and 4 of 5."""

    def make(n_slices=5, **changes):
        images = np.random.default_rng(3).normal(500, 100, (n_slices, 32, 40))
        mask = np.zeros((n_slices, 32, 40), np.uint8)
        for i, side in enumerate((0, 2, 4, 3, 0)[:n_slices]):
            mask[i, 10 : 10 + side, 12 : 12 + side] = 1
        area = mask.sum((1, 2))
        case = PredictedCase(
            name="patient-7",
            input_path=Path("scans/patient-7.nii.gz"),
            plane="axial",
            modalities=("t1c", "flair"),
            shown="t1c",
            images=images,
            value_range=(200.0, 800.0),
            highest_probability=np.full(len(mask), 0.91, np.float32),
            mask=mask,
            spacing_mm=(5.0, 0.5, 0.5),
            spacing_is_placeholder=False,
            measures={
                "area_pixels": area,
                "area_mm2": area * 0.25,
                "volume_ml": 0.03625,
                "total_pixels": 29,
                "number_of_lesions": 1,
            },
            mask_path=tmp_path / "patient-7_mask.nii.gz",
            overlay_path=tmp_path / "patient-7_overlay.png",
        )
        return replace(case, **changes)

    return make
