"""`bts-evaluate --choose-postprocessing`: what does best on validation patients goes into the model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.evaluation.postprocessing import NONE, Contest
from toolkit.files import write_csv
from toolkit.workflows.validation_fit import ValidationFit


def choose_postprocessing(model: Path, store_path: Path, out: Path) -> dict[str, Any]:
    """Try every candidate on the validation part of a store, and store the best in the model file.

    It takes the place of what was stored before, also where none is better than none. Writes into `out`:
    postprocessing.csv, a row a candidate, the best first, and manifest.json.

    Args:
        model: run folder, `.keras` file, or the name of a model in saved_models/.
        store_path: folder written by `bts-prepare`.
        out: folder for the results.

    Returns:
        `model` (the file), `split`, `split_leaks_patients`, `n_images`, `n_patients`; `rows`, the content of
        postprocessing.csv, of which the first was chosen; `none`, the row of no post-processing.

    Raises:
        ModelError: the model can't be read, does not fit the store, or is an exported one.
        StoreError: the store can't be read, has no such part, or the model has learned from its patients.
        OutputError: `out` or the model file can't be written.
    """
    fit = ValidationFit(model, store_path, "choose for")
    contest = Contest(fit.predictor.info.recipe)
    for span, probability, truth in fit.cases("Choosing"):
        contest.add(probability, truth, span.case.patient_group, span.case.spacing_mm)
    ranked = contest.ranked()
    rows = [contest.row(candidate) for candidate in ranked]
    write_csv(out / "postprocessing.csv", rows)
    fit.keep(out, **ranked[0]._asdict())
    return {**fit.facts, "rows": rows, "none": contest.row(NONE)}
