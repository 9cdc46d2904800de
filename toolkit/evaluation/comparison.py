"""Models compared on the same patients: means, intervals, and paired tests against one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from toolkit.errors import ToolkitError
from toolkit.evaluation.statistics import bootstrap_interval

# Column of the table to metric of per_image.csv.
COLUMNS = {
    "dsc": "dice",
    "ji": "jaccard",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "f1",
    "specificity": "specificity",
}
ALL_SEEDS = "all"
# Dice values of a patient that differ by less are equal: what is left is rounding.
DICE_DECIMALS = 12
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class RunResult:
    """What is known of one finished run.

    Args:
        model: name of the variant.
        seed: of the run.
        pictures: rows of per_image.csv.
        minutes: of training, by the run's own clock.
        validation_dice: mean Dice of the validation windows behind each finished epoch, from history.csv.
        parameters: of the model.
        split: name of the split.
        leaking: whether it was judged on patients it had learned from.
    """

    model: str
    seed: int
    pictures: Sequence[Mapping[str, Any]]
    minutes: float
    validation_dice: Sequence[float]
    parameters: int
    split: str
    leaking: bool


@dataclass(frozen=True)
class Scores:
    """Metrics of pictures, in the order of their names.

    Args:
        pictures: case, slice and label of each.
        patients: patient group of each.
        values: `(pictures, metrics)` in the order of `COLUMNS`; NaN where undefined.
    """

    pictures: tuple[tuple[str, str, str], ...]
    patients: tuple[str, ...]
    values: np.ndarray


def table_rows(results: Sequence[RunResult], reference: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of Table 3: for each model a row a seed and, of several seeds, one over all that are there.

    Metrics are means over pictures; over seeds, a picture's values are averaged first. Intervals resample
    patients, so they say how sure the mean is for other patients, not for other seeds: that is
    `dsc_seed_sd`, the standard deviation of the seeds' means. A model's row over its seeds holds the
    paired test against the reference once both have all seeds, see `paired_test`; `p_holm` corrects for
    the number of tests there are. A model that leaks patients is never tested.

    Args:
        results: finished runs, grouped by model in the table's order.
        reference: model the others are tested against.
        seeds: that the comparison asks for.

    Raises:
        ToolkitError: models were judged on other pictures than the reference.
    """
    by_model: dict[str, list[RunResult]] = {}
    for result in results:
        by_model.setdefault(result.model, []).append(result)
    _check_same_pictures(by_model, reference)
    rows, summaries = [], {}
    for model, runs in by_model.items():
        single = [_row([run], str(run.seed)) for run in runs]
        rows += single
        if len(seeds) > 1:
            summary = _row(runs, ALL_SEEDS)
            spread = np.std([row["dsc"] for row in single], ddof=1) if len(runs) > 1 else math.nan
            rows.append(summary | {"dsc_seed_sd": float(spread)})
        if len(runs) == len(seeds):
            summaries[model] = rows[-1]
    if reference in summaries:
        _add_tests(summaries, by_model, reference)
    return rows


def paired_test(model: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    """Wilcoxon's signed-rank test, two-sided, of the patients' mean Dice (scipy), and the mean difference.

    Args:
        model: mean Dice of each patient.
        reference: the same of the model it is compared with.

    Returns:
        `difference` (mean over patients, model minus reference) with its 95 % interval by bootstrap over
        patients, and `p_value`; 1 where no patient differs.
    """
    patients = sorted(model.keys() & reference.keys())
    gains = np.array([model[patient] - reference[patient] for patient in patients]).round(DICE_DECIMALS)
    low, high = bootstrap_interval(gains, patients, BOOTSTRAP_SEED)
    p_value = float(wilcoxon(gains).pvalue) if gains.any() else 1.0
    return {"difference": float(gains.mean()), "difference_low": low, "difference_high": high, "p_value": p_value}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for several tests (Holm 1979), as adjusted p-values in the order given.

    The i-th smallest of m values becomes the largest of min(1, (m - j + 1) * p_(j)) over j <= i.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def smallest_p(n_patients: int) -> float:
    """The smallest p-value the exact two-sided signed-rank test can give: all patients differ in one direction."""
    return 2.0 ** (1 - n_patients)


def patient_dice(scores: Scores) -> dict[str, float]:
    """Mean Dice over the pictures of each patient; patients without a defined value are left out."""
    column, patients = scores.values[:, list(COLUMNS).index("dsc")], np.array(scores.patients)
    means = {}
    for patient in sorted(set(scores.patients)):
        values = column[(patients == patient) & ~np.isnan(column)]
        if values.size:
            means[patient] = float(values.mean())
    return means


def scores_of(runs: Sequence[RunResult]) -> Scores:
    """Metrics of the pictures of a model, averaged over its seeds."""
    of_seed = [picture_scores(run.pictures) for run in runs]
    return Scores(of_seed[0].pictures, of_seed[0].patients, np.mean([scores.values for scores in of_seed], axis=0))


def picture_scores(pictures: Sequence[Mapping[str, Any]]) -> Scores:
    """Metrics of pictures, as rows of per_image.csv."""
    rows = sorted(pictures, key=_name)
    values = [[math.nan if row[metric] is None else row[metric] for metric in COLUMNS.values()] for row in rows]
    patients = tuple(row["patient_group"] for row in rows)
    return Scores(tuple(map(_name, rows)), patients, np.array(values, np.float64))


def _name(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["case"], row["slice"], row["label"]


def _row(runs: Sequence[RunResult], seed: str) -> dict[str, Any]:
    scores, first = scores_of(runs), runs[0]
    row: dict[str, Any] = {"model": first.model, "seed": seed}
    for index, column in enumerate(COLUMNS):
        values = scores.values[:, index]
        low, high = bootstrap_interval(values, scores.patients, BOOTSTRAP_SEED)
        mean = math.nan if np.isnan(values).all() else float(np.nanmean(values))
        row |= {column: mean, f"{column}_low": low, f"{column}_high": high}
    return row | {
        "minutes": round(float(np.mean([run.minutes for run in runs])), 2),
        "epochs": round(float(np.mean([len(run.validation_dice) for run in runs])), 1),
        "parameters": first.parameters,
        "n_images": len({picture[:2] for picture in scores.pictures}),
        "n_patients": len(set(scores.patients)),
        "split": first.split,
        "leaking": first.leaking,
        "dsc_seed_sd": math.nan,
        "difference": math.nan,
        "difference_low": math.nan,
        "difference_high": math.nan,
        "p_value": math.nan,
        "p_holm": math.nan,
    }


def _add_tests(
    summaries: Mapping[str, dict[str, Any]], by_model: Mapping[str, Sequence[RunResult]], reference: str
) -> None:
    """Fill in the tests of the rows over all seeds."""
    theirs = patient_dice(scores_of(by_model[reference]))
    tested = [row for model, row in summaries.items() if model != reference and not row["leaking"]]
    for row in tested:
        row |= paired_test(patient_dice(scores_of(by_model[row["model"]])), theirs)
    for row, p_value in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        row["p_holm"] = p_value


def _check_same_pictures(by_model: Mapping[str, Sequence[RunResult]], reference: str) -> None:
    """Pairs are only pairs if all are judged on the same pictures; those that leak among themselves."""
    honest = [run for runs in by_model.values() for run in runs if not run.leaking]
    honest.sort(key=lambda run: run.model != reference)
    groups = [honest, *([run for run in runs if run.leaking] for runs in by_model.values())]
    for first, *others in filter(None, groups):
        pictures = {_name(row) for row in first.pictures}
        for other in others:
            if {_name(row) for row in other.pictures} != pictures:
                raise ToolkitError(
                    f"{other.model}, seed {other.seed}: was judged on other pictures than {first.model}, "
                    f"seed {first.seed}; compare in a new folder"
                )
