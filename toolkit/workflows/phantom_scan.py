"""A synthetic scan as a file, to try `bts-predict` on: `python -m toolkit.workflows.phantom_scan FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib

from toolkit.data.sources.phantom import SYNTHETIC_MARK, phantom_cases
from toolkit.files import atomic_path

# Not the seed of any store by default, so nobody has trained on this patient.
SEED = 9001


def write_phantom_scan(path: Path, seed: int = SEED, size: int = 128, slices: int = 16) -> None:
    """Write the axial scan of one synthetic patient as NIfTI, marked as synthetic in its header.

    Args:
        path: `.nii` or `.nii.gz`.
        seed: decides the patient.
        size: height and width of a slice in pixels.
        slices: number of slices.

    Raises:
        OutputError: the file can't be written.
    """
    case = next(phantom_cases(1, seed, size, slices))
    scan = nib.Nifti1Image(case.images[..., 0], case.affine)
    scan.header["descrip"] = SYNTHETIC_MARK
    scan.header.set_xyzt_units("mm")
    with atomic_path(path) as partial:
        nib.save(scan, partial)


if __name__ == "__main__":
    write_phantom_scan(Path(sys.argv[1]))
