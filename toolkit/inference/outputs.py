"""Masks written back in the kind and geometry of the scan they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from toolkit.data.sources.scans import Scan
from toolkit.errors import SourceError
from toolkit.files import atomic_path
from toolkit.inference.dicom_seg import can_write_dicom_seg, write_dicom_seg

if TYPE_CHECKING:
    import nibabel as nib

WHITE = 255
ALGORITHM = "brain-tumour-segmentation"


@dataclass(frozen=True)
class WrittenMask:
    """Files of one mask.

    Args:
        path: the mask in the kind of the scan.
        dicom_seg: the same as DICOM SEG, or None.
        problem: why there is none, where there could be.
    """

    path: Path
    dicom_seg: Path | None = None
    problem: str | None = None


def write_mask(scan: Scan, mask: np.ndarray, out_dir: Path, name: str, labels: Mapping[str, int]) -> WrittenMask:
    """Write the mask of a scan so that it lies on the scan voxel for voxel.

    - NIfTI, MetaImage and DICOM: `NAME_mask.nii.gz`, label values as uint8, in the axis order, size,
      affine, sform, qform and zooms of the input; 3-D also where that was a
      4-D file of several volumes.
    - DICOM, where highdicom is installed, also `NAME_seg.dcm`, which refers to its source images.
    - Picture or .mat: `NAME_mask.png` of the same height and width, or
      `NAME_mask.tif` with as many pages as the input. With one label the tumour is
      255, to be seen in any viewer; with several, pixels are the label values.

    Args:
        scan: what the mask was predicted from.
        mask: `(N, H, W)` labels on the scan's canonical slices.
        out_dir: folder, made where missing.
        name: safe name of the scan, see `toolkit.data.sources.scan_files.unique_names`.
        labels: name and value of each label above 0, see `ModelInfo.mask_labels`.

    Returns:
        What was written.

    Raises:
        OutputError: it can't be written.
        ValueError: the mask has another shape than the scan, or unknown labels.
    """
    if mask.shape != scan.case.images.shape[:3]:
        raise ValueError(f"mask {mask.shape} does not fit scan {scan.case.images.shape[:3]}")
    if unknown := set(np.unique(mask).tolist()) - {0, *labels.values()}:
        raise ValueError(f"labels {sorted(unknown)} in a mask of {dict(labels)}")
    values = mask.astype(np.uint8)
    if scan.header is None:
        pages = (values > 0) * np.uint8(WHITE) if len(labels) == 1 else values
        return WrittenMask(write_pictures(pages, out_dir / f"{name}_mask"))
    volume = scan.restore(values)
    path = write_nifti(volume, scan.header, out_dir / f"{name}_mask.nii.gz", "label")
    if scan.series is None or not can_write_dicom_seg():
        return WrittenMask(path)
    try:
        seg = write_dicom_seg(scan.series, volume, labels, out_dir / f"{name}_seg.dcm", ALGORITHM)
    except SourceError as error:  # the mask is there, so this is no reason to fail
        return WrittenMask(path, problem=str(error))
    return WrittenMask(path, seg)


def write_nifti(
    volume: np.ndarray,
    scan_header: nib.Nifti1Header,
    path: Path,
    intent: str,
    highest: float = 0.0,
    slope: float = 1.0,
) -> Path:
    """Write 8-bit values, atomically, where a scan lies: its affine, sform, qform and zooms.

    Args:
        volume: uint8, in the axis order of the scan's file.
        scan_header: of the scan.
        path: `.nii.gz`.
        intent: what NIfTI calls such values.
        highest: value that viewers show brightest (`cal_max`); 0 leaves it to them.
        slope: readers see the stored values times this.

    Raises:
        OutputError: it can't be written.
    """
    import nibabel as nib

    header = scan_header.copy()
    header.set_data_dtype(np.uint8)
    # What is said about grey values does not hold for others.
    header["cal_min"], header["cal_max"] = 0, highest
    header.set_intent(intent)
    is_nifti2 = isinstance(header, nib.Nifti2Header)
    image = (nib.Nifti2Image if is_nifti2 else nib.Nifti1Image)(volume, header.get_best_affine(), header)
    # nibabel stores what it is given where a header has a slope.
    image.header.set_slope_inter(slope, 0.0)
    with atomic_path(path) as partial:
        nib.save(image, partial)
    return path


def write_pictures(pages: np.ndarray, stem: Path) -> Path:
    """Write one page as `.png`, several as a `.tif`, atomically.

    Args:
        pages: `(N, H, W)` uint8.
        stem: path without the ending.

    Raises:
        OutputError: it can't be written.
    """
    path = stem.with_name(f"{stem.name}{'.png' if len(pages) == 1 else '.tif'}")
    if path.suffix == ".png":
        written, data = cv2.imencode(".png", pages[0])
    else:
        written, data = cv2.imencodemulti(".tif", list(pages))
    if not written:
        raise RuntimeError(f"OpenCV could not encode {pages.shape} as {path.suffix}")
    with atomic_path(path) as partial:
        partial.write_bytes(data.tobytes())
    return path
