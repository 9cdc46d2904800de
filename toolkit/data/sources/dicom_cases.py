"""DICOM data sets: scans with DICOM SEG objects as their masks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.data.case import Case
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.dicom import DicomSeries, find_series, is_dicom, read_series
from toolkit.data.sources.dicom_header import MAX_VOXELS, distrusted, functional_group, open_dicom
from toolkit.data.sources.dicom_pixels import read_frames
from toolkit.data.sources.source import Source
from toolkit.data.sources.stacking import StackedVolume, Volume, stack_volumes
from toolkit.errors import SourceError
from toolkit.progress import track

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
DEFAULT_MODALITIES = ("t1c",)
# A SEG states the positions of its frames in decimal text; a tenth of a pixel is no other place.
SAME_PLACE_VOXELS = 0.1


@dataclass(frozen=True)
class SegFile:
    """What the header of a DICOM SEG says.

    Args:
        path: the file.
        series_uid: of the series it segments.
        segments: number of each segment and its label, as a safe name.
    """

    path: Path
    series_uid: str
    segments: dict[int, str]


def open_dicom_cases(
    folder: Path, gate: IntegrityGate, modalities: tuple[str, ...] | None, allow_missing: bool
) -> Source:
    """Open a folder of DICOM series and the SEG objects that refer to them.

    A case is a segmented series; with several modalities, the series of its study that are told
    to be the others by their descriptions, on the same grid.

    Args:
        folder: searched recursively.
        gate: gets the findings.
        modalities: which to read, in this order; None for t1c, as which any segmented series counts.
        allow_missing: a study need not have all of them.

    Raises:
        SourceError: no such folder, or no series with a SEG in it.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; give the folder that holds the DICOM files")
    files = sorted(file for file in folder.rglob("*") if file.is_file() and is_dicom(file))
    series = find_series(track(files, "Reading headers", len(files)), gate)
    segs = [seg for file in files if (seg := _read_seg_header(file, gate)) is not None]
    if not segs:
        raise SourceError(f"{folder}: no DICOM SEG in it, so there is no truth to learn from; add the segmentations")
    names = sorted({name for seg in segs for name in seg.segments.values()})
    label_map = {"background": 0, **{name: value for value, name in enumerate(names, start=1)}}
    cases = _Cases(series, segs, label_map, gate, modalities or DEFAULT_MODALITIES, allow_missing)
    return Source("dicom", label_map, tuple(files), cases.read())


@dataclass(frozen=True)
class _Cases:
    series: list[DicomSeries]
    segs: list[SegFile]
    label_map: dict[str, int]
    gate: IntegrityGate
    modalities: tuple[str, ...]
    allow_missing: bool

    def read(self) -> Iterator[Case]:
        for seg in track(self.segs, "Reading cases", len(self.segs)):
            try:
                case = self._case(seg)
            except SourceError as error:
                self.gate.error(seg.path, "unreadable", str(error).removeprefix(f"{seg.path}: "))
                continue
            file, labels = case.case, set(self.label_map.values()) - {0}
            images, mask = file.images, file.mask
            if self.gate.check_case(seg.path, images, mask, file.patient, self.modalities, labels):
                yield file

    def _case(self, seg: SegFile) -> StackedVolume:
        main = next((s for s in self.series if s.series_uid == seg.series_uid), None)
        if main is None:
            raise SourceError(f"{seg.path}: segments series {seg.series_uid}, which is not here; add it to the folder")
        chosen = self._modalities_of(main)
        missing = [m for m in self.modalities if m not in chosen]
        if missing and not self.allow_missing:
            raise SourceError(f"{seg.path}: its study has no {', '.join(missing)}; add the series or --allow-missing")
        volumes = {m: _volume(chosen[m]) if m in chosen else None for m in self.modalities}
        mask = Volume(seg.path, _read_mask(seg, main, self.label_map), main.affine)
        name = self.gate.unique_name(f"{main.patient}-{seg.path.stem}")
        return stack_volumes(volumes, mask, patient=main.patient, case=name, spacing_is_measured=True)

    def _modalities_of(self, main: DicomSeries) -> dict[str, DicomSeries]:
        if len(self.modalities) == 1:
            return {self.modalities[0]: main}
        study = [s for s in self.series if s.study_uid == main.study_uid and s.modality in self.modalities]
        # The segmented one first, then whichever has more slices.
        study.sort(key=lambda s: (s is not main, -s.n_slices))
        return {str(s.modality): s for s in reversed(study)}


def _volume(series: DicomSeries) -> Volume:
    read = read_series(series)
    return Volume(series.files[0], read.data, read.affine)


def _read_seg_header(path: Path, gate: IntegrityGate) -> SegFile | None:
    try:
        dataset = open_dicom(path, with_pixels=False)
        with distrusted(path):
            if str(dataset.get("SOPClassUID", "")) != SEGMENTATION:
                return None
            segments = {int(item.SegmentNumber): _safe_label(item.SegmentLabel) for item in dataset.SegmentSequence}
            return SegFile(path, str(dataset.ReferencedSeriesSequence[0].SeriesInstanceUID), segments)
    except SourceError as error:
        gate.error(path, "unreadable", str(error).removeprefix(f"{path}: "))
        return None


def _read_mask(seg: SegFile, series: DicomSeries, label_map: dict[str, int]) -> np.ndarray:
    """Labels `(columns, rows, slices)` uint8 on the grid of a series; of overlapping segments the last wins."""
    dataset = open_dicom(seg.path, with_pixels=False)
    with distrusted(seg.path):
        rows, columns, count = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1)
        if (rows, columns) != (series.rows, series.columns) or rows * columns * count > MAX_VOXELS:
            raise SourceError(
                f"{seg.path}: {count} frames of {rows} x {columns} do not lie on the series' slices of "
                f"{series.rows} x {series.columns}; resample the segmentation"
            )
        half = int(dataset.get("MaximumFractionalValue") or 1) / 2
        to_index = np.linalg.inv(series.affine)
        mask = np.zeros((columns, rows, series.n_slices), np.uint8)
        for number, frame in read_frames(seg.path, range(count)):
            segment = functional_group(dataset, number, "SegmentIdentificationSequence").ReferencedSegmentNumber
            place = functional_group(dataset, number, "PlanePositionSequence").ImagePositionPatient
            index = _slice_index(seg.path, to_index, [float(mm) for mm in place], series.n_slices)
            mask[..., index][(frame >= half).T] = label_map[seg.segments[int(segment)]]
    return mask


def _slice_index(path: Path, to_index: np.ndarray, position_lps: list[float], n_slices: int) -> int:
    x, y, z = position_lps
    column, row, index = (to_index @ [-x, -y, z, 1.0])[:3]
    off = max(abs(column), abs(row), abs(index - round(index)))
    if not math.isfinite(off) or off > SAME_PLACE_VOXELS or not 0 <= round(index) < n_slices:
        raise SourceError(f"{path}: a frame at {position_lps} mm lies on no slice of its series; resample it")
    return round(index)


def _safe_label(text: str) -> str:
    return re.sub(r"\W+", "_", str(text).lower()).strip("_")[:40] or "tumour"
