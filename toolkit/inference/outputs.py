"""Masks written back in the kind and geometry of the scan they belong to."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel as nib
import numpy as np

from toolkit.data.sources.scans import Scan
from toolkit.files import atomic_path

WHITE = 255


def write_mask(scan: Scan, mask: np.ndarray, out_dir: Path, name: str, classes: int = 1) -> Path:
    """Write the mask of a scan so that it lies on the scan voxel for voxel.

    - NIfTI: `NAME_mask.nii.gz`, label values as uint8, in the axis order, size,
      affine, sform, qform and zooms of the input; 3-D also where that was a
      4-D file of one volume.
    - Picture or .mat: `NAME_mask.png` of the same height and width, or
      `NAME_mask.tif` with as many pages as the input. With one class the tumour is
      255, to be seen in any viewer; with several, pixels are the label values.

    Args:
        scan: what the mask was predicted from.
        mask: `(N, H, W)` labels on the scan's canonical slices, at most `classes`.
        out_dir: folder, made where missing.
        name: safe name of the scan, see `toolkit.data.sources.scans.unique_names`.
        classes: number of classes the model tells apart, background not counted.

    Returns:
        The file written.

    Raises:
        OutputError: it can't be written.
        ValueError: the mask has another shape than the scan, or unknown labels.
    """
    if mask.shape != scan.case.images.shape[:3]:
        raise ValueError(f"mask {mask.shape} does not fit scan {scan.case.images.shape[:3]}")
    if mask.min() < 0 or mask.max() > classes:
        raise ValueError(f"labels {mask.min()} to {mask.max()} in a mask of {classes} classes")
    labels = mask.astype(np.uint8)
    if scan.header is not None:
        return _write_nifti(scan.restore(labels), scan.header, out_dir / f"{name}_mask.nii.gz")
    pages = labels * np.uint8(WHITE) if classes == 1 else labels
    return _write_pictures(pages, out_dir / f"{name}_mask{'.png' if len(pages) == 1 else '.tif'}")


def _write_nifti(volume: np.ndarray, scan_header: nib.Nifti1Header, path: Path) -> Path:
    header = scan_header.copy()
    header.set_data_dtype(np.uint8)
    # What is said about grey values does not hold for labels.
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("label")
    is_nifti2 = isinstance(header, nib.Nifti2Header)
    image = (nib.Nifti2Image if is_nifti2 else nib.Nifti1Image)(volume, header.get_best_affine(), header)
    with atomic_path(path) as partial:
        nib.save(image, partial)
    return path


def _write_pictures(pages: np.ndarray, path: Path) -> Path:
    if path.suffix == ".png":
        written, data = cv2.imencode(".png", pages[0])
    else:
        written, data = cv2.imencodemulti(".tif", list(pages))
    if not written:
        raise RuntimeError(f"OpenCV could not encode {pages.shape} as {path.suffix}")
    with atomic_path(path) as partial:
        partial.write_bytes(data.tobytes())
    return path
