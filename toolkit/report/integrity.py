"""The report of the integrity gate: what is in a data set, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.integrity import Finding
from toolkit.report.page import data_uri, write_page

WEIGHTS = ("error", "warning")


def write_integrity_report(
    path: Path | str,
    summary: Mapping[str, Any],
    findings: Sequence[Finding],
    thumbnails: Sequence[tuple[str, np.ndarray]],
    manifest: Mapping[str, Any],
) -> None:
    """Write the report of the integrity gate as one HTML file that opens offline.

    Args:
        path: the HTML file.
        summary: counts by name (`cases`, `slices`, `patients`, `patient_groups`);
            a mapping such as `per_class` or `per_split` becomes a table, of one
            column if its values are numbers, of one a key if they are mappings.
            `synthetic`, if true, puts up the banner.
        findings: what the gate found, in any order.
        thumbnails: title and RGB uint8 picture with the mask outlined.
        manifest: command, versions, seed, checksums, time; shown in the footer.

    Raises:
        OutputError: the file can't be written.
    """
    counts = {name: value for name, value in summary.items() if name != "synthetic"}
    write_page(
        path,
        "integrity.html.j2",
        synthetic=bool(summary.get("synthetic", False)),
        counts={name: value for name, value in counts.items() if not isinstance(value, Mapping)},
        tables={name: _table(value) for name, value in counts.items() if isinstance(value, Mapping)},
        groups={weight: _by_rule(findings, weight) for weight in WEIGHTS},
        thumbnails=[(title, data_uri(rgb, ".jpg")) for title, rgb in thumbnails],
        manifest=manifest,
    )


def _by_rule(findings: Sequence[Finding], weight: str) -> list[tuple[str, list[Finding]]]:
    chosen = sorted((f for f in findings if f.weight == weight), key=lambda f: (f.rule, f.file))
    return [(rule, list(group)) for rule, group in groupby(chosen, key=lambda f: f.rule)]


def _table(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and rows of a mapping of numbers, or of a mapping of mappings."""
    rows = {name: value if isinstance(value, Mapping) else {"count": value} for name, value in values.items()}
    return {"columns": list(dict.fromkeys(key for row in rows.values() for key in row)), "rows": rows}
