"""`bts-evaluate`: model and store in, metrics and report out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.regions import region_masks
from toolkit.data.store import CaseRecord, Span, SplitName, Store
from toolkit.errors import StoreError
from toolkit.evaluation.calibration import PixelCounter, described, patient_sums
from toolkit.evaluation.evaluator import CaseResult, evaluate_cases, read_per_image, representative_images
from toolkit.evaluation.reliability_chart import draw_reliability
from toolkit.evaluation.review import ReviewTable
from toolkit.files import write_json
from toolkit.inference.predictor import AS_IT_IS, Model, Predictor, Settings
from toolkit.inference.runtimes.runtime import ENHANCED
from toolkit.manifest import Manifest, file_checksums
from toolkit.metrics import DEFAULT_RULE
from toolkit.pictures import curve_png, overlay, panel, save_png, stack, to_grey
from toolkit.progress import track
from toolkit.report.evaluation import write_evaluation_report

EXAMPLE_PERCENTILES = (95, 50, 5)
EXAMPLE_PIXELS = 256


@dataclass(frozen=True)
class JudgedPart:
    """What a model is judged on.

    Args:
        spans: of the store.
        split: name of the split, with its fold.
        leaks: it holds patients whom the model has learned from.
        same_store: the model was trained on this store.
    """

    spans: list[Span]
    split: str
    leaks: bool
    same_store: bool


def evaluate(model: Model, store_path: Path, part: str, out: Path, asked: Settings = AS_IT_IS) -> dict[str, Any]:
    """Judge a model on one part of a store's split and write a manifest beside the results.

    Args:
        model: see `toolkit.inference.predictor.Predictor`; several answer together.
        store_path: folder written by `bts-prepare`.
        part: "train", "val" or "test".
        out: folder for the results, see `judge`.
        asked: how the model is asked.

    Returns:
        The content of metrics.json.

    Raises:
        ModelError: the model can't be read, or does not fit the store.
        StoreError: the store can't be read, has no such part, or the model has learned from its patients.
        OutputError: `out` can't be written.
    """
    manifest = Manifest()
    predictor, store = Predictor(model, asked), Store(store_path)
    metrics = judge(predictor, store, part, out, manifest)
    content = manifest.content(model=file_checksums(predictor.files), store=store.index.checksums_sha256)
    write_json(out / "manifest.json", content)
    return metrics


def judge(
    predictor: Predictor,
    store: Store,
    part: str,
    out: Path,
    manifest: Manifest,
    history: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Judge a model on one part of a store's split, at the slices' own size.

    Which split: see `judged_part`. Writes into `out`: metrics.json, per_image.csv, per_patient.csv, per_lesion.csv,
    examples.png, report.html and, with a history, curve.png.

    Args:
        predictor: the model.
        store: the data.
        part: "train", "val" or "test".
        out: folder for the results.
        manifest: for the report's footer.
        history: rows of the training, for the curve.

    Returns:
        The content of metrics.json.

    Raises:
        StoreError: the store has no such part, or the model has learned from its patients.
        OutputError: `out` can't be written.
    """
    judged = judged_part(predictor, store, part)
    pixels, review = PixelCounter(predictor.info.recipe.model), ReviewTable(DEFAULT_RULE)
    metrics = evaluate_cases(_results(predictor, store, judged.spans, pixels, review), out)
    sums = patient_sums(pixels.samples(), predictor.info.temperature, predictor.info.offsets or 0.0)
    metrics |= {
        "model": predictor.name,
        "split": judged.split,
        "split_leaks_patients": judged.leaks,
        "part": part,
        "threshold": predictor.info.threshold,
        "post_processing": predictor.info.post_processing.model_dump(),
        "trained_on_this_store": judged.same_store,
        "calibration": {"temperature": predictor.info.temperature, "offsets": list(predictor.info.offsets)}
        | described(sums),
        "review_score": review.summary(),
    }
    write_json(out / "metrics.json", metrics)
    rows = read_per_image(out / "per_image.csv")
    examples = _examples(predictor, store, judged.spans, rows)
    if examples:
        save_png(out / "examples.png", stack([picture for _, picture in examples]))
    if history:
        curve_png(history, out / "curve.png")
    chart = draw_reliability({"as told": sums}, metrics["synthetic"])
    write_evaluation_report(out / "report.html", metrics, rows, examples, manifest.content(), history, chart)
    return metrics


def judged_part(predictor: Predictor, store: Store, part: str) -> JudgedPart:
    """One part of a store's split, if a model may be judged on it.

    Where the store is the one the model was trained on, the split is the one it was trained
    with (also a fold of it); else `by_patient`.

    Args:
        predictor: the model.
        store: the data.
        part: "train", "val" or "test".

    Raises:
        StoreError: the store has no such part or does not fit, or the model has learned from its patients.
    """
    refuse_other_data(predictor, store)
    split, fold, same_store = _split(predictor, store)
    spans, leaks = store.spans(split, part, fold), split == "by_slice_leaking"
    if part != "train" and not leaks:
        refuse_training_patients(predictor, store, spans)
    return JudgedPart(spans, f"{split}, fold {fold}" if split == "folds" else split, leaks, same_store)


def refuse_other_data(predictor: Predictor, store: Store) -> None:
    """Refuse to judge a model on scans or labels it does not know.

    Raises:
        StoreError: the store has other modalities, or its labels mean something else.
    """
    info, index = predictor.info, store.index
    if tuple(index.modalities) != info.modalities:
        raise StoreError(
            f"{store.path}: has the modalities {', '.join(index.modalities)}, {predictor.name} needs "
            f"{', '.join(info.modalities)}; prepare it with those, in this order"
        )
    names = {value: name for name, value in info.label_map.items()}
    theirs = {value: name for name, value in index.label_map.items()}
    for label in sorted({label for labels in info.recipe.model.regions.values() for label in labels}):
        if names.get(label) != theirs.get(label):
            raise StoreError(
                f"{store.path}: label {label} is {theirs.get(label, 'none')}, to {predictor.name} it is "
                f"{names.get(label)}; judge it on data with the same labels"
            )


def refuse_training_patients(predictor: Predictor, store: Store, spans: list[Span]) -> None:
    """Refuse to judge a model on patients it has learned from.

    A store may have been prepared again with another seed, and its splits then differ.

    Raises:
        StoreError: one of the spans is of such a patient.
    """
    info = predictor.info
    if info.data_kind != store.index.kind:
        return
    # Phantoms of two stores share names, not heads.
    if store.index.synthetic and info.data_checksums_sha256 != store.index.checksums_sha256:
        return
    known = {span.case.patient_group for span in spans} & set(info.training_patient_groups)
    if known:
        raise StoreError(
            f"{store.path}: {predictor.name} has learned from patient group {min(known)}, which this part holds "
            f"({len(known)} in all); judge it on the store it was trained on"
        )


def _split(predictor: Predictor, store: Store) -> tuple[SplitName, int, bool]:
    data = predictor.info.recipe.data
    if predictor.info.data_checksums_sha256 == store.index.checksums_sha256:
        return data.split, data.fold, True
    return "by_patient", 0, False


def predicted(
    predictor: Predictor, store: Store, spans: list[Span], what: str
) -> Iterator[tuple[Span, np.ndarray, np.ndarray]]:
    """Each span, its probability `(slices, height, width, regions)` and its true labels `(slices, height, width)`.

    Args:
        predictor: the model.
        store: the data.
        spans: of the store; one of them is in memory at a time.
        what: said beside the progress bar.
    """
    for span in track(spans, what, len(spans)):
        images, truth = store.read(span.case, range(span.start, span.stop))
        yield span, predictor.predict(images, np.array(span.case.intensity_range), span.case.spacing_mm), truth


def _results(
    predictor: Predictor, store: Store, spans: list[Span], pixels: PixelCounter, review: ReviewTable
) -> Iterator[CaseResult]:
    """The masks of each span, region by region; on the way its pixels and review scores are taken down."""
    model = predictor.info.recipe.model
    for span, probability, truth in predicted(predictor, store, spans, "Evaluating"):
        mask = predictor.mask(probability, span.case.spacing_mm)
        # Judged is the mask as it would be written, not each channel before painting.
        true_regions, regions = region_masks(truth, model), region_masks(mask, model)
        pixels.add(probability, truth, span.case.patient_group)
        told, raw = predictor.calibrated_tumour(probability), predictor.tumour(probability)
        tumour = np.asarray(true_regions.any(axis=-1))
        scores = review.add(mask > 0, tumour, told, raw, span.case.patient_group)
        for index, region in enumerate(model.regions):
            yield case_result(span, true_regions[..., index], regions[..., index], label=region, review_scores=scores)


def case_result(span: Span, truth: np.ndarray, prediction: np.ndarray, **more: Any) -> CaseResult:
    """Masks of a span of a store, with what the store knows of it.

    Args:
        span: of the store.
        truth: `(slices, height, width)` bool.
        prediction: `(slices, height, width)` bool.
        more: of `CaseResult`, what the store does not know.
    """
    return CaseResult(
        case=span.case.case,
        patient=span.case.patient,
        truth=truth,
        prediction=prediction,
        patient_group=span.case.patient_group,
        tumour_type=span.case.tumour_type,
        plane=span.case.plane,
        slice_names=tuple(span.case.slice_names[span.start : span.stop]),
        spacing_mm=span.case.spacing_mm,
        synthetic=span.case.synthetic,
        **more,
    )


def _examples(
    predictor: Predictor, store: Store, spans: list[Span], rows: list[dict[str, Any]]
) -> list[tuple[str, np.ndarray]]:
    """Panels of the pictures at the 95th, 50th and 5th percentile of Dice, chosen by the rule alone."""
    records = {span.case.case: span.case for span in spans}
    chosen = zip(EXAMPLE_PERCENTILES, representative_images(rows, EXAMPLE_PERCENTILES), strict=False)
    return [_example(predictor, store, records[row["case"]], row, percentile) for percentile, row in chosen]


def _example(
    predictor: Predictor, store: Store, record: CaseRecord, row: Mapping[str, Any], percentile: int
) -> tuple[str, np.ndarray]:
    index = record.slice_names.index(row["slice"])
    images, truth = store.read(record, range(record.shape[0]))
    wanted = predictor.shows & {ENHANCED}
    inside = predictor.inspect(images, np.array(record.intensity_range), record.spacing_mm, wanted)
    (low, high), mask = record.intensity_range[0], predictor.mask(inside["probability"], record.spacing_mm)
    grey = to_grey(images[index, ..., 0], low, high)
    columns = [
        (
            f"{percentile}th percentile, Dice {row['dice']:.2f}",
            overlay(grey, None, height=EXAMPLE_PIXELS, synthetic=record.synthetic),
        ),
        *([("enhanced", to_grey(inside[ENHANCED][index, ..., 0], 0, 1))] if ENHANCED in inside else []),
        ("truth", overlay(grey, None, truth=truth[index], height=EXAMPLE_PIXELS)),
        ("prediction", overlay(grey, mask[index], truth=truth[index], height=EXAMPLE_PIXELS)),
    ]
    kind = record.tumour_type or "tumour"
    title = f"{percentile}th percentile: Dice {row['dice']:.3f}, {kind}, {record.case}, slice {row['slice']}"
    return title, panel(columns, height=EXAMPLE_PIXELS)
