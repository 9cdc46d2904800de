"""A scan to predict: one case, and what is needed to write a mask back beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.data.case import Case
from toolkit.data.sources.dicom import DicomSeries, read_series
from toolkit.data.sources.pictures import read_colours, read_picture
from toolkit.data.sources.scan_files import ScanFiles
from toolkit.errors import SourceError

if TYPE_CHECKING:
    import nibabel as nib

    from toolkit.data.sources.volumes import Spacing

NIFTI1_LONGEST = 2**15 - 1  # voxels along an axis


@dataclass(frozen=True)
class Scan:
    """One input of a prediction, and what is needed to write a mask back beside it.

    Args:
        path: the file, or the folder of a case.
        kind: `nifti`, `picture`, `mat` or `dicom`.
        case: images `(N, H, W, modalities)` in canonical slices; the mask is the
            truth a .mat file holds, else None. `spacing_mm` is None where the
            source has none or a placeholder.
        spacing_is_placeholder: the header's 1 mm can't be true, so nothing may
            be measured in mm.
        restore: takes `(N, H, W)` of these slices to the axis order of the file.
        header: of a volume, else None; a mask is written with it.
        series: of DICOM, the one whose geometry the mask has; else None.
    """

    path: Path
    kind: str
    case: Case
    spacing_is_placeholder: bool
    restore: Callable[[np.ndarray], np.ndarray]
    header: nib.Nifti1Header | None = None
    series: DicomSeries | None = None

    @property
    def patient_affine(self) -> np.ndarray | None:
        """`(4, 4)`, `(slice, row, column)` indices to world RAS mm; None where the file does not say where left is.

        Pictures and .mat files say nothing, nor does a header without sform and qform. Whoever wrote a placeholder for
        the spacing knew no directions either.
        """
        affine, spacing_mm = self.case.affine, self.case.spacing_mm
        if affine is None or spacing_mm is None or self.header is None:
            return None
        import nibabel as nib

        stated = int(self.header["sform_code"]) > 0 or int(self.header["qform_code"]) > 0
        return affine if stated and np.allclose(nib.affines.voxel_sizes(affine), spacing_mm) else None


def read_scan(files: ScanFiles, modalities: Sequence[str] = ("t1c",), spacing_mm: Spacing | None = None) -> Scan:
    """Read a scan of any accepted kind.

    Args:
        files: from `toolkit.data.sources.scan_files`.
        modalities: that the model needs, in its order; those that `files` lacks become zeros.
        spacing_mm: `(slice, row, column)` distances, used where the files state none or a placeholder.

    Raises:
        SourceError: a file can't be read, or holds other than the modalities.
    """
    if files.problem is not None:
        raise SourceError(f"{files.path}: {files.problem}")
    # What reads volumes is imported by their readers: it takes longer to load than to predict a picture.
    readers = {"nifti": _read_volumes, "dicom": _read_dicom, "mat": _read_mat, "picture": _read_picture}
    return readers[files.kind](files, tuple(modalities), spacing_mm)


def _read_volumes(files: ScanFiles, modalities: tuple[str, ...], spacing_mm: Spacing | None) -> Scan:
    from toolkit.data.sources.phantom import SYNTHETIC_MARK
    from toolkit.data.sources.stacking import stack_volumes
    from toolkit.data.sources.volumes import read_modalities

    # A lone file holds all modalities, also if that is only one.
    paths = {m: files.files.get(m) if files.files else files.path for m in modalities}
    volumes, first = read_modalities(paths)
    synthetic = bytes(first.header["descrip"].tobytes()).startswith(SYNTHETIC_MARK)
    stacked = stack_volumes(volumes, None, files.name, files.name, spacing_mm, synthetic=synthetic)
    return Scan(
        files.path, files.kind, stacked.case, stacked.spacing_is_placeholder, stacked.restore, header=first.header
    )


def _read_dicom(files: ScanFiles, modalities: tuple[str, ...], spacing_mm: Spacing | None) -> Scan:
    import nibabel as nib

    from toolkit.data.sources.stacking import Volume, stack_volumes

    volumes = {}
    for modality, series in files.series.items():
        read = read_series(series)
        volumes[modality] = Volume(series.files[0], read.data, read.affine)
    in_order = {m: volumes.get(m) for m in modalities}
    stacked = stack_volumes(in_order, None, files.name, files.name, spacing_mm, spacing_is_measured=True)
    series = next(iter(files.series.values()))
    shape = (series.columns, series.rows, series.n_slices)
    header = nib.Nifti1Header() if max(shape) <= NIFTI1_LONGEST else nib.Nifti2Header()
    header.set_data_shape(shape)
    header.set_qform(series.affine, code="scanner")
    header.set_sform(series.affine, code="scanner")
    header.set_xyzt_units("mm")
    return Scan(files.path, files.kind, stacked.case, stacked.spacing_is_placeholder, stacked.restore, header, series)


def _read_picture(files: ScanFiles, modalities: tuple[str, ...], spacing_mm: Spacing | None) -> Scan:
    slices = [_read_modalities(pictures, modalities) for pictures in files.slices or ((files.path,),)]
    for (first, *_), pages in zip(files.slices[1:], slices[1:], strict=True):
        if pages.shape[1:] != slices[0].shape[1:] or pages.dtype != slices[0].dtype:
            raise SourceError(f"{first}: has another size or type than {files.slices[0][0].name}; save them alike")
    images = np.concatenate(slices)
    case = Case(images, None, patient=files.name, case=files.name, modalities=modalities, spacing_mm=spacing_mm)
    return Scan(files.path, files.kind, case, spacing_is_placeholder=False, restore=np.asarray)


def _read_modalities(pictures: tuple[Path, ...], modalities: tuple[str, ...]) -> np.ndarray:
    """`(N, H, W, modalities)` of one picture for each, or of one whose three colours they are."""
    if len(pictures) == 1 and len(modalities) == 3:
        return read_colours(pictures[0])
    _check_count(pictures[0], len(pictures), modalities)
    channels = [read_picture(picture) for picture in pictures]
    for picture, channel in zip(pictures, channels, strict=True):
        if channel.shape != channels[0].shape:
            raise SourceError(f"{picture}: has another size than {pictures[0].name}; save them alike")
    return np.stack(channels, axis=-1)


def _read_mat(files: ScanFiles, modalities: tuple[str, ...], spacing_mm: Spacing | None) -> Scan:
    from toolkit.data.sources.figshare import read_slice

    path = files.path
    _check_count(path, 1, modalities)
    read = read_slice(path)
    if not np.isfinite(read.image).all() or read.image.size == 0:
        raise SourceError(f"{path}: the image is empty or holds NaN or infinity; repair the file")
    if read.mask is not None and read.mask.shape != read.image.shape:
        raise SourceError(f"{path}: mask {read.mask.shape} does not fit image {read.image.shape}; repair the file")
    case = Case(
        read.image[np.newaxis, ..., np.newaxis],
        None if read.mask is None else read.mask[np.newaxis],
        patient=read.patient or files.name,
        case=files.name,
        modalities=modalities,
        tumour_type=read.label_name,
        spacing_mm=spacing_mm,
    )
    return Scan(path, files.kind, case, spacing_is_placeholder=False, restore=np.asarray)


def _check_count(path: Path, found: int, modalities: tuple[str, ...]) -> None:
    if found != len(modalities):
        raise SourceError(
            f"{path}: holds {found} of the {len(modalities)} modalities {', '.join(modalities)} that the model "
            "needs; give the folder of the case"
        )
