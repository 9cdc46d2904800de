"""`bts-predict`: scans in; masks, overlays, summary and report out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.data.sources.scan_files import find_scans, unique_names
from toolkit.errors import ServerError, SourceError
from toolkit.files import write_csv, write_json
from toolkit.inference.examination import EXPLANATION
from toolkit.inference.predictor import AS_IT_IS, Model, Predictor, Settings, find_model, is_url
from toolkit.inference.unfinished import Unfinished
from toolkit.manifest import Manifest, file_checksums
from toolkit.models.model_file import ModelInfo, read_info
from toolkit.progress import track
from toolkit.report.prediction import thumbnail_pixels, write_index
from toolkit.worker_processes import shared_out
from toolkit.workflows.predict_case import REPORT, CasePredictor, CaseRow, CaseSettings, CaseTask

SUMMARY, TABLE = "summary.json", "summary.csv"
TABLE_COLUMNS = (
    "name",
    "input",
    "mask",
    "volume_ml",
    "total_pixels",
    "number_of_lesions",
    "largest_diameter_mm",
    "perpendicular_diameter_mm",
    "diameter_product_mm2",
    "side",
    "slices",
    "slices_with_tumour",
    "review_score",
    "unlikeness",
    "highest_probability",
    "dice_with_mask_in_file",
    "error",
)


def predict(
    inputs: list[Path],
    model: Model,
    out: Path,
    spacing_mm: tuple[float, float, float] | None = None,
    asked: Settings = AS_IT_IS,
    jobs: int = 1,
    explain: bool = False,
    uncertainty_files: bool = False,
) -> dict[str, Any]:
    """Mark the tumour in every scan of `inputs`.

    Writes into `out`: `NAME_mask.*`, `NAME_overlay.png`, summary.json, summary.csv, report.html (of several scans with
    a page each in `cases`) and manifest.json. A scan that can't be read is reported and the others are finished; if
    none can be read, nothing is written. A run that is broken off (Ctrl-C, a server that no longer answers) is gone on
    with by calling it again.

    Args:
        inputs: DICOM, NIfTI, MetaImage, .mat, PNG, TIFF or JPEG files, or folders of them.
        model: see `toolkit.inference.predictor.Predictor`.
        out: folder for the results.
        spacing_mm: `(slice, row, column)` distances of scans whose files state none, or a placeholder.
        asked: how the model is asked.
        jobs: scans that are done at the same time, each in a process of its own that holds the model; what is written
            does not depend on it.
        explain: also ask for attention and Grad-CAM, and write them as `NAME_attention.*` and `NAME_grad_cam.*`, in the
            kind of the mask, and as overlays.
        uncertainty_files: likewise `NAME_uncertainty.*` and, of several members, `NAME_disagreement.*`.

    Returns:
        The content of summary.json.

    Raises:
        SourceError: there is nothing to read, or nothing that can be read.
        ModelError: the model can't be read.
        ServerError: the server does not answer, or no longer.
        OutputError: `out` can't be written.
        ToolkitError: one of several processes was killed.
    """
    manifest = Manifest()
    # What is cheap first: errors about inputs need not wait for TensorFlow.
    predictor, info = _opened_or_read(model, asked)
    data = info.recipe.data
    scans = find_scans(inputs, info.modalities, data.allow_missing, data.layout, skip=out)
    # Also where processes have their own: what is wrong with a model is said before they start.
    predictor = predictor or Predictor(model, asked)
    model_checksums = file_checksums(predictor.files)
    shown = manifest.content(model=model_checksums or predictor.name, synthetic_training=info.synthetic_data)
    several = len(scans) > 1
    settings = CaseSettings(
        out=out,
        run=f"{model_checksums or predictor.name} {spacing_mm} {asked} {explain}",
        spacing_mm=spacing_mm,
        manifest=shown,
        explain=explain,
        map_files=EXPLANATION * explain + ("uncertainty", "disagreement") * uncertainty_files,
        thumbnail_pixels=thumbnail_pixels(len(scans)) if several else None,
    )
    summary = {
        "model": predictor.name,
        "threshold": info.threshold,
        "post_processing": predictor.info.post_processing.model_dump(),
        "trained_on_synthetic_data": info.synthetic_data,
    }
    unfinished = Unfinished(out, predictor.info, settings.run)
    if jobs > 1 and several:
        start = partial(_start, model, asked, settings)
        del predictor  # its memory is for the processes
    else:
        start = partial(CasePredictor, predictor, settings)
    tasks = [CaseTask(files, name) for files, name in zip(scans, unique_names(scans), strict=True)]
    rows = _rows(start, tasks, min(jobs, len(tasks)))
    done = [row for row in rows if row.problem is None]
    summary["cases"] = {row.name: row.summary for row in done}
    failed = [(row.title, row.problem) for row in rows if row.problem is not None]
    summary["failed"] = dict(failed)
    if several:
        write_index(out / REPORT, [row.index for row in done if row.index is not None], failed, shown)
    write_csv(out / TABLE, [_table_row(row) for row in rows])
    write_json(out / SUMMARY, summary)
    checksums = {path: checksum for row in done for path, checksum in row.checksums.items()}
    write_json(out / "manifest.json", manifest.content(model=model_checksums, inputs=checksums))
    unfinished.clear()
    return summary


def _opened_or_read(model: Model, asked: Settings) -> tuple[Predictor | None, ModelInfo]:
    """What the first model was made for; a server has to be asked, a file need not be loaded for it."""
    first = model if isinstance(model, Path | str) else model[0]
    if is_url(first):
        predictor = Predictor(model, asked)
        return predictor, predictor.info
    return None, read_info(find_model(Path(first)))


def _start(model: Model, asked: Settings, settings: CaseSettings) -> CasePredictor:
    """What a process of its own begins with."""
    return CasePredictor(Predictor(model, asked), settings)


def _rows(start: Callable[[], CasePredictor], tasks: list[CaseTask], jobs: int) -> list[CaseRow]:
    """What is kept of every case, in the order of `tasks`.

    Raises:
        SourceError: none can be read.
    """
    rows: list[CaseRow | None] = [None] * len(tasks)
    try:
        with closing(_done(start, tasks, jobs)) as done:
            for index, row in track(done, "Predicting", len(tasks)):
                rows[index] = row
    except ServerError as error:
        n_done = sum(row is not None and row.problem is None for row in rows)
        raise ServerError(
            f"{error}; {n_done} of {len(tasks)} scans are done, and the same command goes on with the rest"
        ) from error
    found = [row for row in rows if row is not None]
    if all(row.problem is not None for row in found):
        raise SourceError(str(found[0].problem))
    return found


def _done(start: Callable[[], CasePredictor], tasks: list[CaseTask], jobs: int) -> Generator[tuple[int, CaseRow]]:
    """Each case as it is done, with its place among `tasks`."""
    if jobs > 1:
        yield from shared_out(start, tasks, jobs, title=lambda task: task.files.title)
        return
    do = start()
    for index, task in enumerate(tasks):
        yield index, do(task)


def _table_row(row: CaseRow) -> dict[str, Any]:
    """A line of summary.csv."""
    known = {**row.summary, "name": row.name, "error": row.problem}
    known["input"] = row.summary.get("input", row.title)
    known["slices"] = row.summary["shape"][0] if row.summary else None
    return {column: known.get(column) for column in TABLE_COLUMNS}
