"""DICOM series: the files of a folder found, sorted into stacks of slices, and read as one volume each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.data.missing_slices import fill_missing
from toolkit.data.sources.dicom_header import MAX_VOXELS, Frame, Header, read_header
from toolkit.data.sources.dicom_pixels import read_frames
from toolkit.data.sources.dicom_stacks import Findings, by_file, sort_into_stacks, stack_affine
from toolkit.errors import SourceError

_MAGIC_AT = 128
_MAGIC = b"DICM"
_SUFFIXES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class DicomSeries:
    """One stack of parallel, evenly spaced slices of a DICOM series.

    Args:
        frames: the slices, sorted by position along their normal; of missing ones, what stands for them.
        patient: PatientID; empty where the files name none.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID; stacks of one series share it.
        description: SeriesDescription, else ProtocolName.
        modality: guess, one of `t1n`, `t1c`, `t2w`, `t2f`, or None.
        affine: `(4, 4)`, maps `(column, row, slice)` indices to world RAS mm.
    """

    frames: tuple[Frame, ...]
    patient: str
    study_uid: str
    series_uid: str
    description: str
    modality: str | None
    affine: np.ndarray

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, each once, sorted by the position of their first slice."""
        return tuple(dict.fromkeys(frame.file for frame in self.frames))

    @property
    def rows(self) -> int:
        """Height of a slice in pixels."""
        return self.frames[0].rows

    @property
    def columns(self) -> int:
        """Width of a slice in pixels."""
        return self.frames[0].columns

    @property
    def n_slices(self) -> int:
        """Number of slices, with those that are missing."""
        return len(self.frames)

    @property
    def missing(self) -> np.ndarray:
        """`(slices,)` bool, which slices were not found."""
        return np.array([frame.missing for frame in self.frames])


@dataclass(frozen=True)
class DicomVolume:
    """The voxels of a series.

    Args:
        data: `(columns, rows, slices)`; the stored integer type where no slice is
            rescaled, else float32 with each slice's slope and intercept applied.
        affine: `(4, 4)`, maps voxel indices to world RAS mm.
        series: where it is from.
    """

    data: np.ndarray
    affine: np.ndarray
    series: DicomSeries


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM: "DICM" after a preamble of 128 bytes."""
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


def find_series(files: Iterable[Path], findings: Findings | None = None, fill_gaps: bool = False) -> list[DicomSeries]:
    """Sort DICOM files into stacks, one for each volume that they hold.

    Slices belong together that share series, orientation and size; where positions
    repeat, also echo time, b-value or another of `dicom_header.TRAITS` that tells them apart.
    Only headers are read, and the pixels of slices at one and the same position.

    Args:
        files: also of several series, in any order; what is no DICOM or no scan is left aside.
        findings: is told of files that can't be read (`unreadable`), of several patients in a
            series (`mixed-patients`), of copies of slices (`duplicate-slice`, a warning), of
            different slices at one position (`slice-conflict`) and of uneven spacing
            (`slice-gap`). A stack with an error is left out; of a localizer, errors are warnings.
        fill_gaps: take whole slices that are missing for slices that `read_series` interpolates, as long as
            they are fewer than those that are there.

    Returns:
        In the order of their first files.

    Raises:
        SourceError: an error was found and there are no `findings` to tell.
    """
    told: Findings = _Strict() if findings is None else findings
    by_series: dict[str, list[Header]] = {}
    seen: set[Path] = set()
    for file in files:  # one by one: it may show how far it has come
        if file in seen:
            continue
        seen.add(file)
        if header := _header(file, told):
            by_series.setdefault(header.series_uid, []).append(header)
    trusted = [headers for headers in by_series.values() if _is_of_one_patient(headers, told)]
    return [series for headers in trusted for series in _stacks(headers, told, fill_gaps)]


def read_series(series: DicomSeries) -> DicomVolume:
    """Read the voxels of a series; slices that are missing are interpolated from their neighbours.

    Raises:
        SourceError: a file is gone, damaged or cut short; its transfer syntax can't be
            decoded; it holds colours; or the volume is absurdly large.
    """
    first = series.frames[0]
    photometrics = {frame.photometric for frame in series.frames}
    if photometrics not in ({"MONOCHROME1"}, {"MONOCHROME2"}):
        raise SourceError(f"{first.file}: holds {', '.join(sorted(photometrics))}, not grey values; leave it out")
    if series.rows * series.columns * series.n_slices > MAX_VOXELS:
        raise SourceError(f"{first.file}: its series has over {MAX_VOXELS} voxels, the limit; crop or resample it")
    scaled = any((frame.slope, frame.intercept) != (1.0, 0.0) for frame in series.frames)
    stored_type = np.result_type(*{frame.stored_type for frame in series.frames})
    shape = (series.columns, series.rows, series.n_slices)
    data = np.empty(shape, np.float32 if scaled else stored_type, order="F")
    for file, wanted in by_file(series.frames).items():
        for index, pixels in read_frames(file, wanted):
            if pixels.shape != (series.rows, series.columns):
                raise SourceError(f"{file}: has changed while it was read; read the folder again")
            frame = series.frames[wanted[index]]
            data[..., wanted[index]] = (pixels * frame.slope + frame.intercept if scaled else pixels).T
    if series.missing.any():
        filled = fill_missing(data.T[..., None], series.missing)[..., 0].T
        data[:] = filled if scaled else np.rint(filled)
    if first.photometric == "MONOCHROME1":
        # Low values are shown bright. Integers may wrap on the way; the result lies within their range.
        data = data.max() - data + data.min()
    return DicomVolume(data, series.affine, series)


class _Strict:
    def error(self, file: Path, rule: str, message: str) -> None:
        raise SourceError(f"{file}: {message}")

    def warn(self, file: Path, rule: str, message: str) -> None:
        return


def _header(file: Path, findings: Findings) -> Header | None:
    if not is_dicom(file):
        if file.suffix.lower() in _SUFFIXES:
            findings.error(file, "unreadable", "is named as DICOM but is none; copy or export it again")
        return None
    try:
        return read_header(file)
    except SourceError as error:
        findings.error(file, "unreadable", str(error).removeprefix(f"{file}: "))
        return None


def _is_of_one_patient(headers: list[Header], findings: Findings) -> bool:
    first = headers[0]
    for header in headers:
        if header.patient != first.patient:
            findings.error(
                header.frames[0].file,
                "mixed-patients",
                f"is of patient {header.patient!r}, but {first.frames[0].file} of the same series of patient "
                f"{first.patient!r}; keep one of them",
            )
            return False
    return True


def _stacks(headers: list[Header], findings: Findings, fill_gaps: bool) -> Iterator[DicomSeries]:
    header_of = {header.frames[0].file: header for header in headers}
    frames = [frame for header in headers for frame in header.frames]
    tell = findings.warn if headers[0].is_localizer else findings.error
    for stack in sort_into_stacks(frames, findings, tell, fill_gaps):
        header = header_of[stack[0].file]
        yield DicomSeries(
            frames=stack,
            patient=header.patient,
            study_uid=header.study_uid,
            series_uid=header.series_uid,
            description=header.description,
            modality=header.modality,
            affine=stack_affine(stack),
        )
