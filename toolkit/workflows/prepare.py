"""`bts-prepare`: a source in, a checked and split store out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from toolkit.data.integrity import Finding, IntegrityGate
from toolkit.data.store import DatasetIndex
from toolkit.data.store_writer import StoreWriter
from toolkit.errors import OutputError, SourceError
from toolkit.files import atomic_path, write_json
from toolkit.manifest import Manifest, file_checksums
from toolkit.progress import track
from toolkit.report.integrity import write_integrity_report
from toolkit.report.overview import DatasetOverview
from toolkit.workflows.sources import SourceOptions, open_source


def prepare(
    kind: str,
    source: Path | None,
    out: Path,
    seed: int = 1,
    skip_bad: bool = False,
    options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
) -> tuple[DatasetIndex, list[Finding]]:
    """Write a store; on an error nothing is left at `out`.

    Args:
        kind: "figshare", "nifti", "pairs", "dicom" or "phantom".
        source: folder to read; none for the phantom.
        out: the store, a folder that does not exist yet or is empty.
        seed: of the splits, and of the phantoms.
        skip_bad: leave out files with errors instead of stopping.
        options: what else a kind may be told.

    Returns:
        What `dataset.json` says, and the findings of the integrity gate.

    Raises:
        UsageError: an option that the kind does not take.
        SourceError: nothing there to read.
        IntegrityError: files with errors, and `skip_bad` is false.
        OutputError: `out` is in use or can't be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists already; give --out a new folder")
    manifest, gate, overview = Manifest(seed), IntegrityGate(), DatasetOverview()
    opened = open_source(kind, source, gate, options, seed)
    with atomic_path(out) as folder:
        folder.mkdir()
        writer = StoreWriter(folder, opened.kind, seed, opened.label_map)
        try:
            for case in opened.cases:
                writer.add(case)
                overview.see(case)
        except SourceError:
            gate.finish(skip_bad)
            raise
        findings = gate.finish(skip_bad)
        index = writer.finish()
        content = manifest.content(outputs=index.checksums_sha256)
        inputs = file_checksums(track(opened.files, "Checksums", len(opened.files)))
        write_json(folder / "manifest.json", {**content, "inputs": inputs})
        write_integrity_report(folder / "integrity.html", summary(index), index, overview, findings, content)
    return index, findings


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
