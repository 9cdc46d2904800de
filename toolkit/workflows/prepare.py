"""`bts-prepare`: a source in, a checked and split store out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.case import Case
from toolkit.data.integrity import Finding, IntegrityGate
from toolkit.data.intensity import intensity_range
from toolkit.data.sources.figshare import figshare_cases, slice_files
from toolkit.data.sources.phantom import phantom_cases
from toolkit.data.store import DatasetIndex
from toolkit.data.store_writer import StoreWriter
from toolkit.errors import OutputError, SourceError
from toolkit.files import atomic_path, write_json
from toolkit.manifest import Manifest, file_checksums
from toolkit.pictures import overlay, to_grey
from toolkit.progress import track
from toolkit.report.integrity import write_integrity_report

N_THUMBNAILS = 24
THUMBNAIL_PIXELS = 192
CASES_A_PHANTOM = 3  # one for each plane


def prepare(
    kind: str,
    source: Path | None,
    out: Path,
    seed: int = 1,
    skip_bad: bool = False,
    n_patients: int = 40,
    size: int = 96,
) -> tuple[DatasetIndex, list[Finding]]:
    """Write a store; on an error nothing is left at `out`.

    Args:
        kind: "figshare" or "phantom".
        source: folder to read; none for the phantom.
        out: the store, a folder that does not exist yet or is empty.
        seed: of the splits, and of the phantoms.
        skip_bad: leave out files with errors instead of stopping.
        n_patients: phantoms to make.
        size: of a phantom's slices in pixels.

    Returns:
        What `dataset.json` says, and the findings of the integrity gate.

    Raises:
        SourceError: nothing there to read.
        IntegrityError: files with errors, and `skip_bad` is false.
        OutputError: `out` is in use or can't be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists already; give --out a new folder")
    manifest, gate, thumbnails = Manifest(seed), IntegrityGate(), _Thumbnails()
    with atomic_path(out) as folder:
        folder.mkdir()
        writer = StoreWriter(folder, kind, seed)
        try:
            for case in _cases(kind, source, gate, seed, n_patients, size):
                writer.add(case)
                thumbnails.see(case)
        except SourceError:
            gate.finish(skip_bad)
            raise
        findings = gate.finish(skip_bad)
        index = writer.finish()
        content = manifest.content(outputs=index.checksums_sha256)
        inputs = file_checksums(slice_files(source)) if kind == "figshare" and source else {}
        write_json(folder / "manifest.json", {**content, "inputs": inputs})
        write_integrity_report(folder / "integrity.html", summary(index), findings, thumbnails.pictures(), content)
    return index, findings


def _cases(
    kind: str, source: Path | None, gate: IntegrityGate, seed: int, n_patients: int, size: int
) -> Iterator[Case]:
    if kind == "phantom":
        yield from track(phantom_cases(n_patients, seed, size), "Making phantoms", CASES_A_PHANTOM * n_patients)
    else:
        if source is None:
            raise SourceError(f"{kind}: name the folder to read, e.g. bts-prepare {kind} FOLDER --out STORE")
        yield from figshare_cases(source, gate)


def summary(index: DatasetIndex) -> dict[str, Any]:
    """Counts of a store, for people: cases, slices, patients, classes, splits."""
    slices = Counter[str]()
    for record in index.cases:
        slices[record.tumour_type or "unknown"] += record.shape[0]
    return {
        "kind": index.kind,
        "synthetic": index.synthetic,
        "cases": len(index.cases),
        "slices": sum(record.shape[0] for record in index.cases),
        "patients": len({record.patient for record in index.cases}),
        "patient_groups": len({record.patient_group for record in index.cases}),
        "modalities": ", ".join(index.modalities),
        "slices_per_class": dict(sorted(slices.items())),
        "patient_groups_per_split": {part: len(groups) for part, groups in index.splits.by_patient.items()},
    }


class _Thumbnails:
    """Keeps the middle slice of some cases, evenly spread however many there are."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, np.ndarray]] = []
        self._every, self._seen = 1, 0

    def see(self, case: Case) -> None:
        if self._seen % self._every == 0:
            middle = case.n_slices // 2
            low, high = intensity_range(case.images)[0]
            truth = None if case.mask is None else case.mask[middle] > 0
            grey = to_grey(case.images[middle, ..., 0], low, high)
            picture = overlay(grey, None, truth=truth, height=THUMBNAIL_PIXELS, synthetic=case.synthetic)
            self._kept.append((case.case, picture))
            if len(self._kept) >= 2 * N_THUMBNAILS:
                self._kept, self._every = self._kept[::2], 2 * self._every
        self._seen += 1

    def pictures(self) -> list[tuple[str, np.ndarray]]:
        step = max(1, -(-len(self._kept) // N_THUMBNAILS))
        return list(islice(self._kept, 0, None, step))
