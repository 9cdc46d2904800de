"""DICOM data sets: scans with DICOM SEG objects as their masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.data.case import Case
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.dicom import DicomSeries, find_series, is_dicom, read_series
from toolkit.data.sources.dicom_masks import BACKGROUND, SegFile, is_seg, read_mask, read_seg, segmented_series
from toolkit.data.sources.dicom_study import choose_modalities, same_grid
from toolkit.data.sources.source import Source
from toolkit.data.sources.stacking import MAX_LABEL, Volume, stack_volumes
from toolkit.errors import SourceError, UsageError
from toolkit.progress import track

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
DEFAULT_MODALITIES = ("t1c",)


def open_dicom_cases(
    folder: Path, gate: IntegrityGate, modalities: tuple[str, ...] | None, allow_missing: bool
) -> Source:
    """Open a folder of DICOM series and the SEG objects that refer to them.

    A case is a segmented series; with several modalities, the series of its study that are told
    to be the others by their descriptions, on the same grid. Each SEG is a case of its own.

    Args:
        folder: searched recursively.
        gate: gets the findings.
        modalities: which to read, in this order; None for t1c. As a single one any segmented
            series counts, with a warning if its description says something else.
        allow_missing: a study need not have all of them.

    Raises:
        UsageError: of several modalities, one is none of `MODALITIES`, which descriptions can tell.
        SourceError: no such folder, no SEG in it, or more labels than a mask can hold.
    """
    wanted = modalities or DEFAULT_MODALITIES
    if len(wanted) > 1 and (unknown := set(wanted) - set(MODALITIES)):
        raise UsageError(f"--modalities {', '.join(sorted(unknown))}: descriptions tell {', '.join(MODALITIES)} apart")
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; give the folder that holds the DICOM files")
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    seg_files = {file for file in files if is_seg(file)}
    segs = [seg for file in sorted(seg_files) if (seg := _read_seg(file, gate)) is not None]
    if not segs:
        raise SourceError(f"{folder}: no readable DICOM SEG in it, so no truth to learn from; add the segmentations")
    names = sorted({name for seg in segs for name in seg.labels.values()} - {BACKGROUND})
    if len(names) > MAX_LABEL:
        raise SourceError(f"{folder}: its segments have {len(names)} labels, up to {MAX_LABEL} can be read; prune them")
    label_map = {BACKGROUND: 0, **{name: value for value, name in enumerate(names, start=1)}}
    others = [file for file in files if file not in seg_files]
    series = find_series(track(others, "Reading headers", len(others)), gate)
    cases = _Cases(series, segs, label_map, gate, wanted, allow_missing)
    return Source("dicom", label_map, tuple(file for file in files if is_dicom(file)), cases.read())


@dataclass(frozen=True)
class _Cases:
    series: list[DicomSeries]
    segs: list[SegFile]
    label_map: dict[str, int]
    gate: IntegrityGate
    modalities: tuple[str, ...]
    allow_missing: bool

    def read(self) -> Iterator[Case]:
        labels = set(self.label_map.values()) - {0}
        for seg in track(self.segs, "Reading cases", len(self.segs)):
            try:
                case = self._case(seg)
            except SourceError as error:
                self.gate.error(seg.path, "unreadable", str(error).removeprefix(f"{seg.path}: "))
                continue
            if self.gate.check_case(seg.path, case.images, case.mask, case.patient, self.modalities, labels):
                yield case

    def _case(self, seg: SegFile) -> Case:
        main = segmented_series(seg, self.series)
        chosen = self._modalities_of(main)
        missing = [m for m in self.modalities if m not in chosen]
        if missing and not (self.allow_missing and chosen):
            raise SourceError(f"{seg.path}: its study has no {', '.join(missing)}; add it, or pass --allow-missing")
        volumes = {m: _volume(chosen[m]) if m in chosen else None for m in self.modalities}
        labels, overlapping = read_mask(seg, main, self.label_map)
        self._warn(seg, chosen, overlapping)
        name = self.gate.unique_name(f"{main.patient}-{seg.path.stem}")
        mask = Volume(seg.path, labels, main.affine)
        return stack_volumes(volumes, mask, patient=main.patient, case=name, spacing_is_measured=True).case

    def _modalities_of(self, main: DicomSeries) -> dict[str, DicomSeries]:
        study = [s for s in self.series if (s.patient, s.study_uid) == (main.patient, main.study_uid)]
        chosen = choose_modalities(study, self.modalities, anchor=main)
        wanted, *others = self.modalities
        if others or (wanted in chosen and main.modality is not None and same_grid(chosen[wanted], main)):
            return chosen
        return {wanted: main}

    def _warn(self, seg: SegFile, chosen: dict[str, DicomSeries], overlapping: int) -> None:
        for modality, series in chosen.items():
            if series.modality not in (None, modality):
                message = f"is drawn on what is told to be {series.modality} by its description; taken as {modality}"
                self.gate.warn(seg.path, "modality", message)
        if overlapping:
            message = f"{overlapping} voxels are in several segments; the segment of the highest number was taken"
            self.gate.warn(seg.path, "overlapping-segments", message)


def _volume(series: DicomSeries) -> Volume:
    read = read_series(series)
    return Volume(series.files[0], read.data, read.affine)


def _read_seg(path: Path, gate: IntegrityGate) -> SegFile | None:
    try:
        return read_seg(path)
    except SourceError as error:
        gate.error(path, "unreadable", str(error).removeprefix(f"{path}: "))
        return None
