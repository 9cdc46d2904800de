"""Enhanced slices as a DICOM series derived from the one they were made from."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

import toolkit
from toolkit.data.sources.dicom import DicomSeries
from toolkit.data.sources.dicom_header import Frame, distrusted, open_dicom
from toolkit.errors import SourceError
from toolkit.files import atomic_folder

_DERIVED_BY = "brain-tumour-segmentation"
_MAX_TEXT = 64  # characters of DICOM's long strings
# Statements about the pixels that were.
_OUTDATED = ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_one_file_a_slice(series: DicomSeries) -> bool:
    """Whether each slice has a file of its own, whose header a derived slice can take over."""
    return len(series.files) == series.n_slices - series.missing.sum()


def write_derived_series(series: DicomSeries, volume: np.ndarray, folder: Path, model: str, zoom: int = 1) -> Path:
    """Write one file a slice, uncompressed, with the header of the slice it was made from.

    Series and instances have identifiers of their own; the rescaling stays that of the source. A slice that was
    missing gets the header of the one before it, at its own place.

    Args:
        series: what was enhanced; its files must still be there.
        volume: `(columns, rows, slices)` rescaled values, in the polarity of `DicomVolume.data` undone
            (MONOCHROME1 stays MONOCHROME1).
        folder: to make; an earlier result there is replaced.
        model: named in the header.
        zoom: new pixels to one old along rows and columns.

    Raises:
        OutputError: the folder holds other things, or can't be written.
        SourceError: a file of the series can't be read, or its header not be taken over.
        ValueError: the volume does not fit.
    """
    from pydicom.uid import generate_uid

    if volume.shape != (zoom * series.columns, zoom * series.rows, series.n_slices):
        raise ValueError(f"{volume.shape} does not fit {series.columns} x {series.rows} x {series.n_slices}")
    series_uid = generate_uid()
    with atomic_folder(folder, _is_derived_series) as partial:
        for number, frame in enumerate(series.frames):
            renumbered = number + 1 if series.missing.any() else None
            file = _encoded(frame, volume[..., number].T, series_uid, model, zoom, renumbered)
            (partial / f"{number + 1:04d}.dcm").write_bytes(file)
    return folder


def _is_derived_series(folder: Path) -> bool:
    """Whether a folder holds nothing but what `write_derived_series` wrote."""

    def derived(file: Path) -> bool:
        try:
            with distrusted(file):
                said = open_dicom(file, with_pixels=False).get("DerivationDescription")
        except SourceError:
            return False
        return str(said).startswith(f"{_DERIVED_BY} ")

    return all(file.is_file() and derived(file) for file in folder.iterdir())


def _encoded(frame: Frame, values: np.ndarray, series_uid: str, model: str, zoom: int, number: int | None) -> bytes:
    """A derived slice as a DICOM file."""
    from pydicom.uid import ExplicitVRLittleEndian

    file = BytesIO()
    with distrusted(frame.file):
        dataset = open_dicom(frame.file, with_pixels=False)
        _rename(dataset, series_uid, model)
        if number is not None:
            dataset.InstanceNumber = number
        if frame.missing:
            _move(dataset, frame.position_mm)
        if zoom > 1:
            _refine_grid(dataset, frame, zoom)
        _store(dataset, (values - frame.intercept) / frame.slope)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        try:
            dataset.save_as(file, enforce_file_format=True)
        except ValueError as error:  # of big-endian files, which pydicom does not turn round
            raise SourceError(
                f"{frame.file}: its header can't be taken over ({error}); convert it, e.g. with dcmconv +te"
            ) from error
    return file.getvalue()


def _rename(dataset, series_uid: str, model: str) -> None:
    """Make a header that of a new, derived image."""
    from pydicom.uid import generate_uid

    for name in _OUTDATED:
        if name in dataset:
            delattr(dataset, name)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = series_uid
    dataset.ImageType = ["DERIVED", "SECONDARY", *list(dataset.get("ImageType") or [])[2:]]
    # The word is what tells it from its source, so it is the description that is cut.
    ending = " enhanced"
    dataset.SeriesDescription = str(dataset.get("SeriesDescription") or "")[: _MAX_TEXT - len(ending)] + ending
    dataset.DerivationDescription = f"{_DERIVED_BY} {toolkit.__version__}, enhancer of {model}"


def _move(dataset, position_mm: tuple[float, ...]) -> None:
    """Put a header to another place; what else it says of the place is taken out."""
    from pydicom.valuerep import DS

    dataset.ImagePositionPatient = [DS(mm, auto_format=True) for mm in position_mm]
    if "SliceLocation" in dataset:
        del dataset.SliceLocation


def _refine_grid(dataset, frame: Frame, zoom: int) -> None:
    """Smaller pixels between the same outer edges; a position is the centre of the first pixel (PS3.3 C.7.6.2.1.1)."""
    from pydicom.valuerep import DS

    row_mm, column_mm = (mm / zoom for mm in frame.spacing_mm)
    along_row, along_column = np.reshape(frame.orientation, (2, 3))
    inward = (zoom - 1) / 2
    position = np.array(frame.position_mm) - inward * (column_mm * along_row + row_mm * along_column)
    dataset.ImagePositionPatient = [DS(float(mm), auto_format=True) for mm in position]
    dataset.PixelSpacing = [DS(mm, auto_format=True) for mm in (row_mm, column_mm)]


def _store(dataset, values: np.ndarray) -> None:
    """Put `(rows, columns)` stored values into the integers that the header describes."""
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    kind = f"<{'i' if signed else 'u'}{int(dataset.BitsAllocated) // 8}"
    raw = np.clip(np.rint(values), lowest, highest).astype(kind).tobytes()
    dataset.Rows, dataset.Columns = values.shape
    dataset.HighBit = bits - 1
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OW"
