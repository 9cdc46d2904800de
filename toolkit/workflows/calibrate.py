"""`bts-evaluate --calibrate`: the temperature and offsets that validation patients give go into the model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.evaluation.calibration import (
    PixelCounter,
    cross_fitted,
    described,
    difference,
    fit_scaling,
    patient_sums,
    reliability,
)
from toolkit.evaluation.reliability_chart import draw_reliability
from toolkit.files import write_csv, write_json
from toolkit.pictures import save_png
from toolkit.workflows.validation_fit import ValidationFit


def calibrate(model: Path, store_path: Path, out: Path) -> dict[str, Any]:
    """Fit temperature and offsets on the validation part of a store, and store them in the model file.

    They take the place of those stored before, and start from the probability as the network gives it. Stored are those
    of all validation patients; how much they mend is measured on each patient with those of the others (see
    `toolkit.evaluation.calibration.cross_fitted`). Writes into `out`: calibration.json, what is returned;
    calibration.csv, the points of reliability.png; manifest.json.

    Args:
        model: run folder, `.keras` file, or the name of a model in saved_models/.
        store_path: folder written by `bts-prepare`.
        out: folder for the results.

    Returns:
        `model` (the file), `split`, `split_leaks_patients`, `n_images`, `n_patients`; `temperature` and `offsets`,
        those stored; `cross_fitted`, of each of these the lowest and the highest by which `after` is measured;
        `before`, `after` and `difference`, see `described` and `difference` in `toolkit.evaluation.calibration`. The
        last three are None of a single patient.

    Raises:
        ModelError: the model can't be read, does not fit the store, or is an exported one.
        StoreError: the store can't be read, has no such part, the model has learned from its patients, or there is no
            tumour.
        OutputError: `out` or the model file can't be written.
    """
    fit = ValidationFit(model, store_path, "calibrate")
    pixels = PixelCounter(fit.predictor.info.recipe.model)
    for span, probability, truth in fit.cases("Calibrating"):
        pixels.add(probability, truth, span.case.patient_group)
    samples = pixels.samples()
    scaling, of_others = fit_scaling(samples), cross_fitted(samples)
    sums = {"before": patient_sums(samples, 1.0)}
    if of_others is not None:
        sums["after"] = patient_sums(samples, *of_others)
    before, after = sums["before"], sums.get("after")
    result = {
        **fit.facts,
        "temperature": scaling.temperature,
        "offsets": scaling.offsets.tolist(),
        "cross_fitted": of_others and [_extremes(of_others.temperature), *map(_extremes, of_others.offsets.T)],
        "before": described(before),
        "after": after and described(after),
        "difference": after and difference(after, before),
    }
    write_csv(out / "calibration.csv", [{"of": name} | row for name, one in sums.items() for row in reliability(one)])
    write_json(out / "calibration.json", result)
    save_png(out / "reliability.png", draw_reliability(sums, fit.store.index.synthetic))
    fit.keep(out, temperature=scaling.temperature, offsets=tuple(scaling.offsets.tolist()))
    return result


def _extremes(values: np.ndarray) -> list[float]:
    return [float(values.min()), float(values.max())]
