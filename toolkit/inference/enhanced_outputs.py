"""Enhanced slices written back in the kind and geometry of the scan they were made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np

from toolkit.data.sources.scan_files import ScanFiles
from toolkit.data.sources.scans import Scan
from toolkit.data.sources.volumes import read_volumes
from toolkit.errors import OutputError
from toolkit.files import atomic_folder, atomic_path
from toolkit.inference.derived_series import is_one_file_a_slice, write_derived_series
from toolkit.inference.slice_enhancer import to_type

SUMMARY = "summary.json"
_PICTURE_TYPES = ("uint8", "uint16")


@dataclass(frozen=True)
class WrittenScan:
    """What was written of a scan.

    Args:
        paths: a file or folder for each modality; one where they share it.
        problem: why it is of another kind than the scan, where it is.
    """

    paths: tuple[Path, ...]
    problem: str | None = None


def write_enhanced(
    files: ScanFiles, scan: Scan, enhanced: np.ndarray, out_dir: Path, name: str, model: str
) -> WrittenScan:
    """Write enhanced slices so that they lie where the scan lies.

    - NIfTI and MetaImage: `NAME_enhanced_MODALITY.nii.gz`, or `NAME_enhanced.nii.gz` where one file holds
      the scan; affine, type and scaling of each input file.
    - DICOM: folders of those names, a derived series each. One multi-frame file gives NIfTI instead.
    - Pictures and .mat: `NAME_enhanced.png`; of several pages or other types than 8 and 16 bit `.tif`; of
      several files a folder of those names.

    Args:
        files: what the scan was read from.
        scan: as read.
        enhanced: `(N, H, W, modalities)`, or twice H and W, on the scan's canonical slices.
        out_dir: folder, made where missing.
        name: safe name of the scan.
        model: named in DICOM headers.

    Raises:
        OutputError: it can't be written.
        SourceError: a file of the scan is gone.
    """
    zoom = enhanced.shape[1] // scan.case.images.shape[1]
    if scan.series is not None:
        return _write_dicom(files, scan, enhanced, out_dir / f"{name}_enhanced", model, zoom)
    if scan.header is not None:
        return WrittenScan(_write_volumes(files, scan, enhanced, out_dir / f"{name}_enhanced", zoom))
    return WrittenScan((_write_pictures(files, _storable(scan, enhanced), out_dir / f"{name}_enhanced"),))


def doubled_affine(affine: np.ndarray, doubled: np.ndarray) -> np.ndarray:
    """The affine of a grid with twice the voxels along some axes, between the same outer edges.

    Args:
        affine: `(4, 4)`, maps voxel indices to mm.
        doubled: `(3,)` bool, the axes.
    """
    # New index j lies at old index (j + 1/2) / 2 - 1/2.
    to_old = np.diag([*np.where(doubled, 0.5, 1.0), 1.0])
    to_old[:3, 3] = np.where(doubled, -0.25, 0.0)
    return affine @ to_old


def _write_volumes(files: ScanFiles, scan: Scan, enhanced: np.ndarray, stem: Path, zoom: int) -> tuple[Path, ...]:
    if not files.files:
        volume = np.stack([scan.restore(channel) for channel in np.moveaxis(enhanced, 3, 0)], axis=-1)
        return (_write_like(files.path, volume[..., 0] if volume.shape[3] == 1 else volume, stem, zoom),)
    paths = []
    for modality, file in files.files.items():
        volume = scan.restore(enhanced[..., scan.case.modalities.index(modality)])
        suffix = "" if len(scan.case.modalities) == 1 else f"_{modality}"
        paths.append(_write_like(file, volume, stem.with_name(stem.name + suffix), zoom))
    return tuple(paths)


def _write_like(file: Path, volume: np.ndarray, stem: Path, zoom: int) -> Path:
    """Write a volume with the type, the scaling and the place of a file."""
    # One at a time: of the files of a case only the first one's header is kept.
    source = read_volumes(file)
    header = source.header.copy()
    slope, intercept = header.get_slope_inter()
    dtype = source.data.dtype
    if (slope, intercept) not in ((None, None), (1.0, 0.0)):
        # nibabel stores what it is given where a header has a slope.
        dtype, volume = header.get_data_dtype().newbyteorder("="), (volume.astype(np.float64) - intercept) / slope
    header.set_data_dtype(dtype)
    _place(header, source.data.shape[:3], volume.shape[:3], zoom)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(to_type(volume, dtype), None, header, dtype=dtype)
    if slope is not None:
        image.header.set_slope_inter(slope, intercept)
    path = stem.with_name(stem.name + ".nii.gz")
    with atomic_path(path) as partial:
        nib.save(image, partial)
    return path


def _place(header: nib.Nifti1Header, old: tuple[int, ...], new: tuple[int, ...], zoom: int) -> None:
    """Move sform and qform of a header to the finer grid; each keeps its code."""
    if zoom == 1:
        return
    doubled = np.array(new) != np.array(old)
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    best = header.get_best_affine()
    header.set_data_shape(new)
    if not sform_code and not qform_code:
        sform, sform_code = best, 1
    header.set_qform(doubled_affine(best if qform is None else qform, doubled), int(qform_code))
    header.set_sform(doubled_affine(best if sform is None else sform, doubled), int(sform_code))


def _write_dicom(files: ScanFiles, scan: Scan, enhanced: np.ndarray, stem: Path, model: str, zoom: int) -> WrittenScan:
    paths, problem = [], None
    for modality, series in files.series.items():
        channel = scan.case.modalities.index(modality)
        volume = scan.restore(enhanced[..., channel])
        target = stem.with_name(stem.name + ("" if len(scan.case.modalities) == 1 else f"_{modality}"))
        if not is_one_file_a_slice(series):
            problem = "a series in one multi-frame file can't be written as derived slices"
        elif volume.shape[2] != series.n_slices:
            problem = "its slices were cut across those of the series, so that doubling makes new slices between them"
        else:
            if series.frames[0].photometric == "MONOCHROME1":
                # As it was turned over when it was read, by the same extremes.
                seen = scan.case.images[..., channel].astype(np.float64)
                volume = seen.max() + seen.min() - volume
            paths.append(write_derived_series(series, volume, target, model, zoom))
            continue
        paths.append(_write_dicom_as_nifti(scan, volume, target, zoom))
    return WrittenScan(tuple(paths), problem)


def _write_dicom_as_nifti(scan: Scan, volume: np.ndarray, stem: Path, zoom: int) -> Path:
    assert scan.header is not None
    header = scan.header.copy()
    old = header.get_data_shape()
    header.set_data_dtype(volume.dtype)
    header.set_data_shape(volume.shape)
    _place(header, old, volume.shape, zoom)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    path = stem.with_name(stem.name + ".nii.gz")
    with atomic_path(path) as partial:
        nib.save(kind(volume, None, header, dtype=volume.dtype), partial)
    return path


def _storable(scan: Scan, enhanced: np.ndarray) -> np.ndarray:
    """Of a .mat, whole numbers from 0 on as 16 bit, which any viewer opens; what these can't hold stays as it is."""
    images = scan.case.images
    fits = images.dtype.kind in "iu" and images.min() >= 0 and images.max() <= np.iinfo(np.uint16).max
    return to_type(enhanced, np.dtype(np.uint16)) if scan.kind == "mat" and fits else enhanced


def _write_pictures(files: ScanFiles, enhanced: np.ndarray, stem: Path) -> Path:
    """A picture, the pages of one, or a folder of those that are the slices of a case."""
    # Three modalities of one picture are its colours.
    pages = [page[..., 0] if page.shape[2] == 1 else np.ascontiguousarray(page[..., ::-1]) for page in enhanced]
    if not files.slices:
        as_png = len(pages) == 1 and pages[0].dtype.name in _PICTURE_TYPES
        path = stem.with_name(stem.name + (".png" if as_png else ".tif"))
        with atomic_path(path) as partial:
            partial.write_bytes(_encoded(pages, path))
        return path
    with atomic_folder(stem, _is_named_in_summary) as partial:
        for pictures, page, channels in zip(files.slices, pages, enhanced, strict=True):
            each = [page] if len(pictures) == 1 else list(np.moveaxis(channels, 2, 0))
            for picture, values in zip(pictures, each, strict=True):
                target = partial / f"{picture.stem}.{'png' if values.dtype.name in _PICTURE_TYPES else 'tif'}"
                target.write_bytes(_encoded([np.ascontiguousarray(values)], target))
    return stem


def _is_named_in_summary(folder: Path) -> bool:
    """Whether the run before, into the same place, says that a folder is its result."""
    try:
        summary = json.loads((folder.parent / SUMMARY).read_text(encoding="utf-8"))
        return any(folder.name in case["enhanced"] for case in summary["cases"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _encoded(pages: list[np.ndarray], path: Path) -> bytes:
    try:
        if path.suffix == ".png":
            written, data = cv2.imencode(".png", pages[0])
        else:
            written, data = cv2.imencodemulti(".tif", pages)
    except cv2.error:
        written = False
    if not written:
        raise OutputError(f"{path}: {pages[0].dtype} can't be written as {path.suffix}; convert the input to 16 bit")
    return data.tobytes()
