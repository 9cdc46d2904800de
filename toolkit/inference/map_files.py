"""Maps of a scan (uncertainty, attention, Grad-CAM …) written beside its mask, in its geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.data.sources.scans import Scan
from toolkit.inference.outputs import write_nifti, write_pictures

FULL = 255  # stored for 1


def write_map(scan: Scan, values: np.ndarray, out_dir: Path, name: str, kind: str) -> Path:
    """Write a map so that it lies on the scan voxel for voxel.

    - NIfTI, MetaImage and DICOM: `NAME_KIND.nii.gz`, in the axis order, size, affine, sform, qform and zooms of the
      input. Stored as uint8 with a slope of 1/255, so that readers see 0 to 1.
    - Picture or .mat: `NAME_KIND.png` of the same height and width, 8-bit grey, 255 is 1; or `NAME_KIND.tif` with as
      many pages as the input.

    Args:
        scan: what the map was made of.
        values: `(N, H, W)` uint8 on the scan's canonical slices, 255 is 1.
        out_dir: folder, made where missing.
        name: safe name of the scan, see `toolkit.data.sources.scan_files.unique_names`.
        kind: what is mapped, as it stands in the file's name: `uncertainty`, `disagreement`, `attention`, `grad_cam`.

    Returns:
        What was written.

    Raises:
        OutputError: it can't be written.
        ValueError: the map has another shape than the scan, or another type.
    """
    if values.shape != scan.case.images.shape[:3] or values.dtype != np.uint8:
        raise ValueError(f"map {values.dtype} {values.shape} does not fit scan {scan.case.images.shape[:3]} as uint8")
    stem = f"{name}_{kind}"
    if scan.header is None:
        return write_pictures(values, out_dir / stem)
    return write_nifti(scan.restore(values), scan.header, out_dir / f"{stem}.nii.gz", "estimate", 1.0, 1 / FULL)
