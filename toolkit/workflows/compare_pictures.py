"""Table 2 and a row of models: what the models of a comparison say about the same slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.store import CaseRecord, Span, Store
from toolkit.evaluation.evaluator import read_per_image, representative_images
from toolkit.inference.predictor import Predictor
from toolkit.inference.runtimes.runtime import ENHANCED
from toolkit.pictures import label_synthetic, overlay, panel, save_png, stack, to_grey
from toolkit.report.overlay_picture import SHOWN_FIRST
from toolkit.workflows.evaluate import EXAMPLE_PERCENTILES, EXAMPLE_PIXELS


@dataclass(frozen=True)
class Shown:
    """A slice all models are asked about.

    Args:
        percentile: of the reference's Dice that chose it.
        row: of the reference's per_image.csv.
        record: its case.
        index: of the slice in the case.
        modality: index of the one that is shown.
    """

    percentile: int
    row: Mapping[str, Any]
    record: CaseRecord
    index: int
    modality: int


def draw_comparison(
    models: Mapping[str, Path], reference: Path, store: Store, spans: Sequence[Span], out: Path
) -> None:
    """Write table2.png (MRI | enhanced | truth | prediction of the reference) and models.png (a column a model).

    Rows are the slices at the 95th, 50th and 5th percentile of the reference's Dice, chosen by that rule alone.
    Nothing is written if no slice has a tumour.

    Args:
        models: label to run folder, in order; none of them may have learned from these patients.
        reference: run folder of the reference.
        store: the data.
        spans: the judged part of it.
        out: folder for the pictures.

    Raises:
        ModelError: a model can't be read.
        OutputError: a picture can't be written.
    """
    chosen = _chosen(read_per_image(reference / "per_image.csv"), store, spans)
    if not chosen:
        return
    predictor = Predictor(reference)
    save_png(out / "table2.png", stack([_table2_row(shown, store, predictor) for shown in chosen]))
    columns = [[("truth", _truth(shown, store))] for shown in chosen]
    for label, folder in models.items():
        dice = {
            (row["case"], row["slice"], row["label"]): row["dice"] for row in read_per_image(folder / "per_image.csv")
        }
        predictor = Predictor(folder)
        for row, shown in zip(columns, chosen, strict=True):
            value = dice[shown.row["case"], shown.row["slice"], shown.row["label"]]
            row.append((f"{label}, Dice {value:.2f}", _prediction(shown, store, predictor)))
    save_png(out / "models.png", stack([panel(row, height=EXAMPLE_PIXELS) for row in columns]))


def _chosen(rows: list[dict[str, Any]], store: Store, spans: Sequence[Span]) -> list[Shown]:
    records = {span.case.case: span.case for span in spans}
    modalities = store.index.modalities
    modality = next((modalities.index(name) for name in SHOWN_FIRST if name in modalities), 0)
    chosen = zip(EXAMPLE_PERCENTILES, representative_images(rows, EXAMPLE_PERCENTILES), strict=False)
    return [
        Shown(percentile, row, record, record.slice_names.index(row["slice"]), modality)
        for percentile, row in chosen
        for record in [records[row["case"]]]
    ]


def _table2_row(shown: Shown, store: Store, predictor: Predictor) -> np.ndarray:
    record, index = shown.record, shown.index
    images, truth = store.read(record, range(record.shape[0]))
    inside = predictor.inspect(images, np.array(record.intensity_range), record.spacing_mm, [ENHANCED])
    grey, mask = _grey(shown, images[index]), predictor.mask(inside["probability"], record.spacing_mm)
    columns = [
        (f"MRI, {shown.percentile}th percentile", overlay(grey, None, height=EXAMPLE_PIXELS)),
        ("enhanced", to_grey(inside[ENHANCED][index, ..., shown.modality], 0, 1)),
        ("truth", overlay(grey, None, truth=truth[index], height=EXAMPLE_PIXELS)),
        (
            f"prediction, Dice {shown.row['dice']:.2f}",
            overlay(grey, mask[index], truth=truth[index], height=EXAMPLE_PIXELS),
        ),
    ]
    return panel(columns, height=EXAMPLE_PIXELS, synthetic=record.synthetic)


def _truth(shown: Shown, store: Store) -> np.ndarray:
    images, truth = store.read(shown.record, range(shown.index, shown.index + 1))
    picture = overlay(_grey(shown, images[0]), None, truth=truth[0], height=EXAMPLE_PIXELS)
    return label_synthetic(picture) if shown.record.synthetic else picture


def _prediction(shown: Shown, store: Store, predictor: Predictor) -> np.ndarray:
    record, index = shown.record, shown.index
    images, truth = store.read(record, range(record.shape[0]))
    probability = predictor.predict(images, np.array(record.intensity_range), record.spacing_mm)
    mask = predictor.mask(probability, record.spacing_mm)
    grey = _grey(shown, images[index])
    return overlay(grey, mask[index], truth=truth[index], height=EXAMPLE_PIXELS, synthetic=record.synthetic)


def _grey(shown: Shown, image: np.ndarray) -> np.ndarray:
    low, high = shown.record.intensity_range[shown.modality]
    return to_grey(image[..., shown.modality], low, high)
