"""Masks from DICOM SEG objects, laid on the slices of the series they were drawn on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.data.sources.dicom import DicomSeries, is_dicom
from toolkit.data.sources.dicom_header import distrusted, functional_group, open_dicom
from toolkit.data.sources.dicom_pixels import read_frames
from toolkit.data.sources.stacking import MAX_LABEL
from toolkit.errors import SourceError

if TYPE_CHECKING:
    from pydicom import Dataset

BACKGROUND = "background"
# Segmentation Storage (one segment a frame) and Label Map Segmentation Storage (all in one frame).
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
# A SEG states the positions of its frames in decimal text; a tenth of a pixel is no other place.
_SAME_PLACE_VOXELS = 0.1
_MAX_NAME = 64  # characters that DICOM allows a segment's label


@dataclass(frozen=True)
class SegFile:
    """What the header of a DICOM SEG says.

    Args:
        path: the file.
        series_uids: of the series it segments.
        labels: number of each segment to its label, as a safe name.
        sources: SOPInstanceUID of each image it was drawn on, with the number of the frame
            from 1, or None where the whole file is meant.
    """

    path: Path
    series_uids: frozenset[str]
    labels: dict[int, str]
    sources: frozenset[tuple[str, int | None]]


def is_seg(path: Path) -> bool:
    """Whether a file says that it is a DICOM SEG; of a damaged one False."""
    from pydicom.filereader import read_file_meta_info

    if not is_dicom(path):
        return False
    try:
        with distrusted(path):
            return read_file_meta_info(path).get("MediaStorageSOPClassUID") in _SEGMENTATIONS
    except SourceError:
        return False


def read_seg(path: Path) -> SegFile:
    """Read the header of a DICOM SEG.

    Raises:
        SourceError: it is damaged, names no series, or has more segments than a mask has labels.
    """
    dataset = open_dicom(path, with_pixels=False)
    with distrusted(path):
        labels = {int(item.SegmentNumber): _safe_name(item.SegmentLabel) for item in dataset.SegmentSequence}
        if len(labels) > MAX_LABEL:
            raise SourceError(f"{path}: has {len(labels)} segments, up to {MAX_LABEL} can be read; leave some out")
        referenced = dataset.get("ReferencedSeriesSequence") or []
        if not referenced:
            raise SourceError(f"{path}: names no series that it was drawn on; write it again with its references")
        sources = _sources_of_frames(dataset) or {
            (str(image.ReferencedSOPInstanceUID), None)
            for series in referenced
            for image in series.get("ReferencedInstanceSequence") or []
        }
        return SegFile(path, frozenset(str(s.SeriesInstanceUID) for s in referenced), labels, frozenset(sources))


def segmented_series(seg: SegFile, series: Sequence[DicomSeries]) -> DicomSeries:
    """The stack of slices that a SEG was drawn on: of those in its series, the one it names most images of.

    Raises:
        SourceError: there is none.
    """
    stacks = [one for one in series if one.series_uid in seg.series_uids]
    if not stacks:
        uids = ", ".join(sorted(map(repr, seg.series_uids)))
        raise SourceError(f"{seg.path}: segments series {uids}, which is not here or has errors; add or repair it")
    return stacks[0] if len(stacks) == 1 else max(stacks, key=lambda stack: _n_named(seg, stack))


def read_mask(seg: SegFile, series: DicomSeries, label_map: Mapping[str, int]) -> tuple[np.ndarray, int]:
    """Read the mask of a SEG.

    Where segments overlap, the one of the highest number counts. Of a fractional SEG, what is at
    least half inside belongs to the segment.

    Args:
        seg: what to read.
        series: from `segmented_series`.
        label_map: value of each name in `seg.labels`.

    Returns:
        Label values `(columns, rows, slices)` uint8 on the grid of the series, and in how many
        voxels another label had to give way.

    Raises:
        SourceError: the SEG is damaged, or lies on another grid than the series.
    """
    dataset = open_dicom(seg.path, with_pixels=False)
    # In ranks, as numbers of segments may exceed a byte; background covers nothing.
    numbers = [number for number in sorted(seg.labels) if label_map[seg.labels[number]] > 0]
    label_of_rank = np.array([0, *(label_map[seg.labels[number]] for number in numbers)], np.uint8)
    ranks = dict.fromkeys(seg.labels, 0) | {number: rank for rank, number in enumerate(numbers, start=1)}
    overlapping = 0
    with distrusted(seg.path):
        size = (int(dataset.Rows), int(dataset.Columns))
        if size != (series.rows, series.columns):
            raise _elsewhere(seg.path, f"frames of {size[0]} x {size[1]}, slices of {series.rows} x {series.columns}")
        mask = np.zeros((series.columns, series.rows, series.n_slices), np.uint8)
        for index, frame in _frames(seg.path, dataset):
            known = mask[..., _slice_number(seg.path, dataset, index, series)]
            added = _ranks(dataset, index, frame, ranks).T
            both = (known > 0) & (added > 0)
            overlapping += int((label_of_rank[known[both]] != label_of_rank[added[both]]).sum())
            np.maximum(known, added, out=known)
    return label_of_rank[mask], overlapping


def _frames(path: Path, header: Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """Number and stored values `(rows, columns)` of each frame."""
    count = int(header.get("NumberOfFrames") or 1)
    if int(header.BitsAllocated) > 1 or header.file_meta.TransferSyntaxUID.is_compressed:
        yield from read_frames(path, range(count))
        return
    # Frames of bits follow each other without padding (PS3.5, 8.1.1); pydicom takes each to begin with a byte.
    packed = np.frombuffer(open_dicom(path, with_pixels=True).PixelData, np.uint8)
    rows, columns = int(header.Rows), int(header.Columns)
    if 8 * len(packed) < rows * columns * count:
        raise ValueError(f"{8 * len(packed)} pixels where {count} frames of {rows} x {columns} are declared")
    for index in range(count):
        first, behind = index * rows * columns, (index + 1) * rows * columns
        bits = np.unpackbits(packed[first // 8 : -(-behind // 8)], bitorder="little")[first % 8 :]
        yield index, bits[: rows * columns].reshape(rows, columns)


def _ranks(dataset: Dataset, index: int, frame: np.ndarray, ranks: Mapping[int, int]) -> np.ndarray:
    """Ranks of segments `(rows, columns)` uint8 in one frame."""
    kind = str(dataset.SegmentationType)
    inside = np.zeros(frame.shape, np.uint8)
    if kind == "LABELMAP":
        for number, rank in ranks.items():
            inside[frame == number] = rank
        return inside
    number = int(functional_group(dataset, index, "SegmentIdentificationSequence").ReferencedSegmentNumber)
    if number not in ranks:
        raise ValueError(f"segment {number} is not described")
    half = float(dataset.MaximumFractionalValue) / 2 if kind == "FRACTIONAL" else 0.5
    inside[frame >= half] = ranks[number]
    return inside


def _slice_number(path: Path, dataset: Dataset, index: int, series: DicomSeries) -> int:
    """The slice of the series that a frame of the SEG covers, pixel on pixel."""
    corners = _corners_lps(dataset, index)
    corners_ras = np.column_stack([corners * [-1, -1, 1], np.ones(3)])
    found = np.linalg.solve(series.affine, corners_ras.T).T[:, :3]
    number = found[:, 2].mean()
    last_column, last_row = series.columns - 1, series.rows - 1
    if not -0.5 < number < series.n_slices - 0.5:  # nor where it is no number
        raise _elsewhere(path, f"a frame at {corners[0].tolist()} mm is on none of its slices")
    expected = [[column, row, round(number)] for column, row in ((0, 0), (last_column, 0), (0, last_row))]
    off = float(np.abs(found - expected).max())
    if off > _SAME_PLACE_VOXELS:
        raise _elsewhere(path, f"a frame at {corners[0].tolist()} mm is off by up to {off:.3g} voxels")
    return round(number)


def _corners_lps(dataset: Dataset, index: int) -> np.ndarray:
    """`(3, 3)` mm: centres of the first pixel, the last of its row, and the last of its column."""
    position = _numbers(functional_group(dataset, index, "PlanePositionSequence"), "ImagePositionPatient", 3)
    cosines = _numbers(functional_group(dataset, index, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    row_mm, column_mm = _numbers(functional_group(dataset, index, "PixelMeasuresSequence"), "PixelSpacing", 2)
    along_row = cosines[:3] * column_mm * (int(dataset.Columns) - 1)
    along_column = cosines[3:] * row_mm * (int(dataset.Rows) - 1)
    return position + np.stack([np.zeros(3), along_row, along_column])


def _numbers(item: Dataset, name: str, count: int) -> np.ndarray:
    values = np.array([float(value) for value in item.get(name) or ()])
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"no {name} of its frames")
    return values


def _sources_of_frames(dataset: Dataset) -> set[tuple[str, int | None]]:
    found: set[tuple[str, int | None]] = set()
    for groups in dataset.get("PerFrameFunctionalGroupsSequence") or []:
        for derivation in groups.get("DerivationImageSequence") or []:
            for image in derivation.get("SourceImageSequence") or []:
                uid, frames = str(image.ReferencedSOPInstanceUID), image.get("ReferencedFrameNumber")
                numbers = frames if isinstance(frames, Sequence) and not isinstance(frames, str) else [frames]
                found |= {(uid, None if number is None else int(number)) for number in numbers}
    return found


def _n_named(seg: SegFile, stack: DicomSeries) -> int:
    uid_of = {}
    for file in stack.files:
        dataset = open_dicom(file, with_pixels=False)
        with distrusted(file):
            uid_of[file] = str(dataset.SOPInstanceUID)
    named = ({(uid_of[frame.file], None), (uid_of[frame.file], frame.index + 1)} for frame in stack.frames)
    return sum(not seg.sources.isdisjoint(names) for names in named)


def _elsewhere(path: Path, reason: str) -> SourceError:
    return SourceError(f"{path}: does not lie on the slices of its series ({reason}); resample it to them")


def _safe_name(label: str) -> str:
    return re.sub(r"\W+", "_", str(label).lower())[:_MAX_NAME].strip("_") or "tumour"
