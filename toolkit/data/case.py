"""Case: one ordered slice sequence of one patient, the unit every source yields."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

PLANES = ("axial", "coronal", "sagittal", "unknown")


@dataclass(frozen=True)
class Case:
    """One ordered slice sequence of one patient.

    A lone picture is a case of one slice.

    Args:
        images: `(slices, height, width, modalities)`, values as stored in the file.
        mask: `(slices, height, width)` integer labels (0 is background), or None.
        patient: identifier as the source gives it.
        case: identifier, unique within a data set and safe as a file name.
        modalities: name of each channel of `images`, e.g. `("t1c",)`.
        patient_group: patients that may be one person share a group; splits are
            made by it. Defaults to `patient`.
        affine: `(4, 4)` voxel-to-world matrix in mm of `images` taken as
            `(slice, row, column)` indices, or None where the source has none.
        spacing_mm: `(slice, row, column)` distances in mm, or None if unknown.
        plane: one of `PLANES`.
        tumour_type: class name where the source knows it.
        slice_names: name of each slice in its source (file number, index …).
        synthetic: True for made-up images; shown wherever the case is shown.
        present: which modalities the source has; the others are zeros. Defaults to all.
    """

    images: np.ndarray
    mask: np.ndarray | None
    patient: str
    case: str
    modalities: tuple[str, ...]
    patient_group: str = ""
    affine: np.ndarray | None = None
    spacing_mm: tuple[float, float, float] | None = None
    plane: str = "unknown"
    tumour_type: str | None = None
    slice_names: tuple[str, ...] = field(default=())
    synthetic: bool = False
    present: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 4:
            raise ValueError(f"images must be (slices, height, width, modalities), got {self.images.shape}")
        if self.mask is not None and self.mask.shape != self.images.shape[:3]:
            raise ValueError(f"mask {self.mask.shape} does not fit images {self.images.shape}")
        if self.images.shape[3] != len(self.modalities):
            raise ValueError(f"{self.images.shape[3]} channels but modalities {self.modalities}")
        if not self.present:
            object.__setattr__(self, "present", (True,) * len(self.modalities))
        if len(self.present) != len(self.modalities) or not any(self.present):
            raise ValueError(f"present {self.present} does not fit modalities {self.modalities}")
        if self.plane not in PLANES:
            raise ValueError(f"plane {self.plane!r} is not one of {PLANES}")
        if not self.patient_group:
            object.__setattr__(self, "patient_group", self.patient)
        if not self.slice_names:
            object.__setattr__(self, "slice_names", tuple(str(i) for i in range(len(self.images))))

    @property
    def n_slices(self) -> int:
        """Number of slices in the sequence."""
        return len(self.images)
