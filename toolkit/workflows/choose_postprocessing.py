"""`bts-evaluate --choose-postprocessing`: what does best on validation patients goes into the model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.data.store import Store
from toolkit.errors import ModelError
from toolkit.evaluation.postprocessing import NONE, Contest
from toolkit.files import write_csv, write_json
from toolkit.inference.predictor import KERAS, Predictor, find_model
from toolkit.manifest import Manifest, file_checksums
from toolkit.models.model_file import replace_info
from toolkit.workflows.evaluate import judged_part, predicted


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
    manifest = Manifest()
    path = find_model(model)
    if path.suffix != KERAS:
        raise ModelError(f"{path}: is an exported model; choose for the run it was made from, then export that again")
    predictor, store = Predictor(path), Store(store_path)
    part = judged_part(predictor, store, "val")
    contest = Contest(predictor.info.recipe)
    for span, probability, truth in predicted(predictor, store, part.spans, "Choosing"):
        contest.add(probability, truth, span.case.patient_group, span.case.spacing_mm)
    ranked = contest.ranked()
    rows = [contest.row(candidate) for candidate in ranked]
    content = manifest.content(model=file_checksums([path]), store=store.index.checksums_sha256)
    write_csv(out / "postprocessing.csv", rows)
    replace_info(path, predictor.info.model_copy(update=ranked[0]._asdict()))
    write_json(out / "manifest.json", content)
    return {
        "model": str(path),
        "split": part.split,
        "split_leaks_patients": part.leaks,
        "n_images": sum(span.n_slices for span in part.spans),
        "n_patients": len({span.case.patient_group for span in part.spans}),
        "rows": rows,
        "none": contest.row(NONE),
    }
