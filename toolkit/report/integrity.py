"""The report of the integrity gate: what is in a data set, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from toolkit.data.integrity import Finding
from toolkit.data.store import DatasetIndex
from toolkit.report.charts import Axis, Chart, histogram_chart
from toolkit.report.overview import DatasetOverview, Histogram
from toolkit.report.page import amount, data_uri, grouped, percent, write_page

WEIGHTS = ("error", "warning")
# Normalised intensities below this are mostly air, of which there is so much that it hides the rest.
AIR = 0.1


def write_integrity_report(
    path: Path | str,
    summary: Mapping[str, Any],
    index: DatasetIndex,
    overview: DatasetOverview,
    findings: Sequence[Finding],
    manifest: Mapping[str, Any],
) -> None:
    """Write the report of the integrity gate as one HTML file that opens offline.

    Args:
        path: the HTML file.
        summary: counts by name (`cases`, `slices`, `patients`, `patient_groups` …);
            mappings in it are left out, as the overview says more.
        index: the store's; its default split and label map are shown, and the
            banner is put up if it is synthetic.
        overview: has seen every case.
        findings: what the gate found, in any order.
        manifest: command, versions, seed, checksums, time; shown in the footer.

    Raises:
        OutputError: the file can't be written.
    """
    write_page(
        path,
        "integrity.html.j2",
        synthetic=index.synthetic,
        counts={k: v for k, v in summary.items() if k != "synthetic" and not isinstance(v, Mapping)},
        splits=overview.splits(index.splits.by_patient),
        findings={weight: _by_rule(findings, weight) for weight in WEIGHTS},
        tumour_types=overview.tumour_types(),
        labels=overview.labels(index.label_map),
        slices=overview.slices(),
        intensities=_intensity_charts(overview.intensities()),
        percentiles=overview.percentiles(),
        modalities=overview.modalities(),
        sizes={
            "Slice size (pixels)": overview.slice_sizes(),
            "Slices a case": overview.slice_counts(),
            "Pixel spacing": overview.spacings(),
            "Plane": overview.planes(),
        },
        tumour_sizes=_tumour_charts(overview),
        thumbnails=[(title, data_uri(rgb, ".jpg")) for title, rgb in overview.thumbnails.pictures()],
        grouped=grouped,
        amount=amount,
        percent=percent,
        manifest=manifest,
    )


def _by_rule(findings: Sequence[Finding], weight: str) -> list[tuple[str, list[Finding]]]:
    chosen = sorted((f for f in findings if f.weight == weight), key=lambda f: (f.rule, f.file))
    return [(rule, list(group)) for rule, group in groupby(chosen, key=lambda f: f.rule)]


def _intensity_charts(histograms: Mapping[str, Histogram]) -> list[Chart]:
    """A chart of each modality on the same axes, high enough for everything but air."""
    axis = Axis("Normalised intensity (no unit)", (0.0, 0.5, 1.0, 1.5), lambda value: f"{value:.3g}", logarithmic=False)
    highest = max((float(h.counts[h.edges[:-1] >= AIR].max()) for h in histograms.values()), default=0.0)
    return [
        histogram_chart(name, histogram, axis, "Pixels (%)", percent, highest) for name, histogram in histograms.items()
    ]


def _tumour_charts(overview: DatasetOverview) -> list[Chart]:
    """Sizes of the tumours; those in mm² and ml only where a spacing is known."""
    drawn = [
        (
            "Share of the slice",
            overview.tumour_shares(),
            Axis("Tumour in the slice (% of pixels, log)", (1e-4, 1e-3, 1e-2, 0.1, 1), percent),
            "Slices with tumour",
        ),
        (
            "Largest cross-section",
            overview.tumour_areas_mm2(),
            Axis("Largest area in a slice (mm², log)", (1, 10, 100, 1e3, 1e4), amount),
            "Cases with known spacing",
        ),
        (
            "Volume",
            overview.tumour_volumes_ml(),
            Axis("Tumour volume of a case (ml, log)", (0.01, 0.1, 1, 10, 100, 1e3), amount),
            "Cases with known spacing",
        ),
    ]
    return [
        histogram_chart(title, histogram, axis, y_label, grouped, float(histogram.counts.max()))
        for title, histogram, axis, y_label in drawn
        if histogram.counts.any()
    ]
