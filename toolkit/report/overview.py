"""What is in a data set, gathered case by case: the numbers and pictures of the integrity report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from toolkit.data.case import Case
from toolkit.data.intensity import CLIP, intensity_range, normalise
from toolkit.report.thumbnails import Thumbnails

INTENSITY_EDGES = np.linspace(0.0, CLIP, 65)
# Four bins a decade; what is smaller or larger counts in the first or last.
SHARE_EDGES = np.logspace(-4, 0, 17)
AREA_EDGES_MM2 = np.logspace(0, 4, 17)
VOLUME_EDGES_ML = np.logspace(-2, 3, 21)
PERCENTILES = (1, 25, 50, 75, 99)
# Intensities of a case are taken from about as many pixels of each modality, evenly spread.
SAMPLE_PIXELS = 2**20
TABLE_ROWS = 8
UNKNOWN = "unknown"

Table = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Histogram:
    """Counts between edges.

    Args:
        edges: `(bins + 1,)`, rising.
        counts: `(bins,)`; numbers of something, or shares that add up to 1.
    """

    edges: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class _SeenCase:
    tumour_type: str
    patient_group: str
    plane: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    present: tuple[bool, ...]
    slices_with_tumour: int | None


class DatasetOverview:
    """Sees every case of a data set once; keeps some numbers of each and a few pictures.

    Example:
        overview = DatasetOverview()
        for case in cases: overview.see(case)
        overview.tumour_types()  # {"glioma": {"patient_groups": 57, "cases": 171, ...}}
    """

    def __init__(self) -> None:
        self.thumbnails = Thumbnails()
        self._cases: list[_SeenCase] = []
        self._pixels: Counter[int] = Counter()
        self._intensities: dict[str, np.ndarray] = {}
        self._percentiles: dict[str, list[np.ndarray]] = {}
        self._modalities: tuple[str, ...] = ()
        self._shares = np.zeros(len(SHARE_EDGES) - 1, int)
        self._areas_mm2: list[float] = []
        self._volumes_ml: list[float] = []

    def see(self, case: Case) -> None:
        """Take the numbers of a case, and its picture if its turn has come."""
        self._modalities = case.modalities
        sample = _sample(case.images)
        value_range = intensity_range(sample)
        self._see_intensities(case, sample, value_range)
        self._cases.append(
            _SeenCase(
                tumour_type=case.tumour_type or UNKNOWN,
                patient_group=case.patient_group,
                plane=case.plane,
                shape=(case.images.shape[0], case.images.shape[1], case.images.shape[2]),
                spacing_mm=case.spacing_mm,
                present=case.present,
                slices_with_tumour=None if case.mask is None else self._see_mask(case, case.mask),
            )
        )
        self.thumbnails.see(case, value_range)

    def intensities(self) -> dict[str, Histogram]:
        """Share of all pixels of a modality by normalised intensity; cases without the modality are left out."""
        return {
            name: Histogram(INTENSITY_EDGES, self._intensities[name] / self._intensities[name].sum())
            for name in self._modalities
            if name in self._intensities
        }

    def percentiles(self) -> dict[str, dict[int, tuple[float, float, float]]]:
        """Intensities as stored: of each modality and percentile the lowest, median and highest case."""
        table = {}
        for name in (name for name in self._modalities if name in self._percentiles):
            values = np.stack(self._percentiles[name])
            ends = zip(values.min(axis=0), np.median(values, axis=0), values.max(axis=0), strict=True)
            table[name] = {p: (float(a), float(b), float(c)) for p, (a, b, c) in zip(PERCENTILES, ends, strict=True)}
        return table

    def slice_sizes(self) -> Table:
        """Cases and slices of each `height × width`, the most frequent first."""
        return _frequent((f"{c.shape[1]} × {c.shape[2]}", c) for c in self._cases)

    def slice_counts(self) -> Table:
        """Cases and slices of each number of slices a case, the most frequent first."""
        return _frequent((str(c.shape[0]), c) for c in self._cases)

    def spacings(self) -> Table:
        """Cases and slices of each spacing, rounded to 0.01 mm, the most frequent first."""
        return _frequent((_spacing(c.spacing_mm), c) for c in self._cases)

    def planes(self) -> Table:
        """Cases and slices of each plane, the most frequent first."""
        return _frequent((c.plane, c) for c in self._cases)

    def tumour_types(self) -> Table:
        """Patient groups, cases, slices and slices with tumour of each tumour type."""
        table: Table = {}
        for name in sorted({c.tumour_type for c in self._cases}):
            cases = [c for c in self._cases if c.tumour_type == name]
            table[name] = {
                "patient_groups": len({c.patient_group for c in cases}),
                **_sizes(cases),
                "with_tumour": sum(c.slices_with_tumour or 0 for c in cases),
            }
        return table

    def splits(self, groups: Mapping[str, Collection[str]]) -> Table:
        """Patient groups, cases and slices of each part of a split, and patient groups of each tumour type.

        Args:
            groups: patient groups of each part.
        """
        table: Table = {}
        types = sorted({c.tumour_type for c in self._cases})
        for part, members in groups.items():
            within = set(members)
            cases = [c for c in self._cases if c.patient_group in within]
            of_type = {t: len({c.patient_group for c in cases if c.tumour_type == t}) for t in types}
            table[part] = {"patient_groups": len(within), **_sizes(cases), **(of_type if types != [UNKNOWN] else {})}
        return table

    def labels(self, label_map: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """Pixels of each label, and their share of all pixels of cases that have a mask.

        Args:
            label_map: label names and values; a value without a name is shown as it is.
        """
        names = {0: "background", **{value: name for name, value in label_map.items()}}
        total = max(self._pixels.total(), 1)
        values = sorted({*names, *self._pixels})
        return {
            names.get(value, f"label {value}"): {"pixels": self._pixels[value], "share": self._pixels[value] / total}
            for value in values
        }

    def slices(self) -> dict[str, int]:
        """How many slices show tumour, how many do not, and how many have no mask."""
        masked = [(c.shape[0], c.slices_with_tumour) for c in self._cases if c.slices_with_tumour is not None]
        with_tumour = sum(count for _, count in masked)
        all_masked = sum(n_slices for n_slices, _ in masked)
        return {
            "with_tumour": with_tumour,
            "without_tumour": all_masked - with_tumour,
            "without_mask": sum(c.shape[0] for c in self._cases) - all_masked,
        }

    def modalities(self) -> Table:
        """Cases that have and that lack each modality."""
        table: Table = {}
        for index, name in enumerate(self._modalities):
            present = sum(c.present[index] for c in self._cases)
            table[name] = {"cases": present, "missing": len(self._cases) - present}
        return table

    def tumour_shares(self) -> Histogram:
        """Slices with tumour, by the share of the slice that is tumour."""
        return Histogram(SHARE_EDGES, self._shares)

    def tumour_areas_mm2(self) -> Histogram:
        """Cases with tumour and known spacing, by the area of their largest cross-section."""
        return Histogram(AREA_EDGES_MM2, _count(self._areas_mm2, AREA_EDGES_MM2))

    def tumour_volumes_ml(self) -> Histogram:
        """Cases with tumour and known spacing, by the volume of all tumour pixels."""
        return Histogram(VOLUME_EDGES_ML, _count(self._volumes_ml, VOLUME_EDGES_ML))

    def _see_intensities(self, case: Case, sample: np.ndarray, value_range: np.ndarray) -> None:
        for index, name in enumerate(case.modalities):
            if not case.present[index]:
                continue
            pixels = sample[..., index]
            self._percentiles.setdefault(name, []).append(np.percentile(pixels, PERCENTILES))
            counts, _ = np.histogram(normalise(pixels[..., None], value_range[[index]]), INTENSITY_EDGES)
            # A sampled pixel stands for several: a case weighs as much as it has pixels.
            weighted = counts * (math.prod(case.images.shape[:3]) / pixels.size)
            self._intensities[name] = self._intensities.get(name, np.zeros(len(counts))) + weighted

    def _see_mask(self, case: Case, mask: np.ndarray) -> int:
        tumour_pixels = np.zeros(len(mask), int)
        for index, rows in enumerate(mask):
            values, counts = np.unique(rows, return_counts=True)
            self._pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            tumour_pixels[index] = counts[values > 0].sum()
        marked = tumour_pixels[tumour_pixels > 0]
        self._shares += _count(marked / math.prod(mask.shape[1:]), SHARE_EDGES)
        if case.spacing_mm is not None and marked.size:
            slice_mm, row_mm, column_mm = case.spacing_mm
            self._areas_mm2.append(float(marked.max()) * row_mm * column_mm)
            self._volumes_ml.append(float(marked.sum()) * slice_mm * row_mm * column_mm / 1000)
        return len(marked)


def _sample(images: np.ndarray) -> np.ndarray:
    """Every so many rows and columns: a view of about `SAMPLE_PIXELS` pixels, or of all if there are fewer."""
    step = math.ceil(math.sqrt(math.prod(images.shape[:3]) / SAMPLE_PIXELS))
    return images[:, ::step, ::step]


def _count(values: Iterable[float], edges: np.ndarray) -> np.ndarray:
    return np.histogram(np.clip(np.asarray(values, float), edges[0], edges[-1]), edges)[0]


def _sizes(cases: Collection[_SeenCase]) -> dict[str, int]:
    return {"cases": len(cases), "slices": sum(c.shape[0] for c in cases)}


def _frequent(named: Iterable[tuple[str, _SeenCase]]) -> Table:
    """Sizes by name, the most cases first; those beyond `TABLE_ROWS` together in one row."""
    groups: dict[str, list[_SeenCase]] = {}
    for name, case in named:
        groups.setdefault(name, []).append(case)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    table = {name: _sizes(cases) for name, cases in ordered[:TABLE_ROWS]}
    others = [case for _, cases in ordered[TABLE_ROWS:] for case in cases]
    return {**table, f"{len(ordered) - TABLE_ROWS} others": _sizes(others)} if others else table


def _spacing(spacing_mm: tuple[float, float, float] | None) -> str:
    if spacing_mm is None:
        return UNKNOWN
    slice_mm, row_mm, column_mm = spacing_mm
    return f"{row_mm:.2f} × {column_mm:.2f} mm, slices {slice_mm:.2f} mm apart"
