"""Tables 3 and 4 as Markdown: ours, the paper's beside them, and what must be known to read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.evaluation.comparison import ALL_SEEDS, COLUMNS, smallest_p
from toolkit.evaluation.paper import CAUTION, TABLE3, TABLE4
from toolkit.evaluation.statistics import RESAMPLES

Row = Mapping[str, Any]
TITLES = {"dsc": "DSC", "ji": "JI", "f1": "F1"}
LEVEL = 0.05
NOTHING = "–"


@dataclass(frozen=True)
class Context:
    """What the tables say of the comparison as a whole.

    Args:
        title: name of the comparison.
        reference: model the others are tested against.
        labels: what each model is called, in the table's order.
        paper: the row of the paper's Table 3 that stands beside a model, for those that have one.
        seeds: of every model.
        budget: of every run, in words.
        data: kind of the store.
        empty_mask_rule: by name.
        empty_accuracy: accuracy of marking nothing at all, on the reference's pictures.
        unfinished: models and seeds that are not there yet.
        command: that wrote the tables.
        synthetic: whether the data are made up.
    """

    title: str
    reference: str
    labels: Mapping[str, str]
    paper: Mapping[str, str]
    seeds: Sequence[int]
    budget: str
    data: str
    empty_mask_rule: str
    empty_accuracy: float
    unfinished: Sequence[str]
    command: str
    synthetic: bool


def final_rows(rows: Sequence[Row], seeds: Sequence[int]) -> list[Row]:
    """The row of each model that speaks for all its seeds."""
    wanted = ALL_SEEDS if len(seeds) > 1 else str(seeds[0])
    return [row for row in rows if row["seed"] == wanted]


def table3(rows: Sequence[Row], context: Context) -> str:
    """Table 3 in percent, as Markdown: scores, the paper's rows, tests, training, and notes."""
    ours = final_rows(rows, context.seeds)
    parts = [f"# {context.title}: Table 3", *_warnings(context)]
    parts += ["Percent; mean over pictures, in brackets its 95 % interval.", _scores(ours, context)]
    parts += ["Against the reference, in points of a patient's mean Dice:", _tests(ours, context)]
    parts += ["How they learned:", _training(ours, context), _notes(ours, context)]
    return "\n\n".join(parts) + "\n"


def table4(rows: Sequence[Row], context: Context) -> str:
    """Table 4 as Markdown: the accuracies the paper quotes, and ours."""
    head = ["work", "data", "split", "accuracy in percent"]
    body = [[quoted.work, quoted.data, quoted.split, _percent(quoted.accuracy)] for quoted in TABLE4]
    body += [
        [f"ours: {context.labels[row['model']]}", context.data, f"{row['split']}, validation", _mean(row, "accuracy")]
        for row in final_rows(rows, context.seeds)
        if row["model"] in context.paper
    ]
    notes = [*CAUTION, _accuracy_note(context)]
    parts = [f"# {context.title}: Table 4", *_warnings(context), _table(head, body)]
    parts += ["Related work as the paper's Table 4 quotes it; its splits are not known to us.", _list(notes)]
    return "\n\n".join(parts) + "\n"


def _warnings(context: Context) -> list[str]:
    warnings = ["**SYNTHETIC data: these numbers say nothing about people.**"] if context.synthetic else []
    if context.unfinished:
        warnings.append(f"**Unfinished: {'; '.join(context.unfinished)}.** Run the command again to go on.")
    return warnings


def _scores(ours: Sequence[Row], context: Context) -> str:
    head = ["model", *(TITLES.get(column, column) for column in COLUMNS)]
    body = [[context.labels[row["model"]], *(_mean(row, column) for column in COLUMNS)] for row in ours]
    quoted = [TABLE3[name] for name in dict.fromkeys(context.paper.values())]
    blanks = [NOTHING] * (len(COLUMNS) - 3)
    body += [
        [f"*the paper's {row.model}*", *(f"*{_percent(value)}*" for value in (row.dsc, row.ji, row.accuracy)), *blanks]
        for row in quoted
    ]
    return _table(head, body)


def _tests(ours: Sequence[Row], context: Context) -> str:
    head = ["model", "difference", "p (Wilcoxon)", "p (Holm)", "spread of seeds (sd)"]
    return _table(head, [[context.labels[row["model"]], *_test(row, context)] for row in ours])


def _test(row: Row, context: Context) -> list[str]:
    spread = _percent(row["dsc_seed_sd"])
    if row["model"] == context.reference:
        return ["reference", NOTHING, NOTHING, spread]
    if row["leaking"]:
        return ["not tested: leaks patients", NOTHING, NOTHING, spread]
    return [_mean(row, "difference", signed=True), _p(row["p_value"]), _p(row["p_holm"]), spread]


def _training(ours: Sequence[Row], context: Context) -> str:
    head = ["model", "minutes", "epochs", "parameters", "split", "pictures", "patients"]
    body = [
        [
            context.labels[row["model"]],
            f"{row['minutes']:.1f}",
            f"{row['epochs']:g}",
            f"{row['parameters']:,}",
            row["split"],
            str(row["n_images"]),
            str(row["n_patients"]),
        ]
        for row in ours
    ]
    return _table(head, body)


def _notes(ours: Sequence[Row], context: Context) -> str:
    seeds = ", ".join(map(str, context.seeds))
    notes = [
        f"Foreground only, validation part, {context.empty_mask_rule} where masks are empty. "
        f"Budget of every run: {context.budget}; {'seeds' if len(context.seeds) > 1 else 'seed'} {seeds}.",
        f"Intervals: {RESAMPLES} bootstrap resamples of patients; what another seed would change is not in them.",
        "Tests: Wilcoxon's signed-rank test of the patients' mean Dice (over their pictures and all seeds), "
        "two-sided, corrected by Holm for the number of tests.",
        _accuracy_note(context),
    ]
    n_tests = sum(not math.isnan(row["p_value"]) for row in ours)
    n_patients = min((row["n_patients"] for row in ours if not row["leaking"]), default=0)
    if n_tests and n_tests * smallest_p(n_patients) > LEVEL:
        notes.append(
            f"No corrected p below {min(1.0, n_tests * smallest_p(n_patients)):.2g} can come out here (patients: "
            f"{n_patients}, tests: {n_tests}): a difference can't be shown, and that none is shown is no equality."
        )
    if any(row["leaking"] for row in ours):
        notes.append("LEAKS PATIENTS: split by picture, so it was judged on patients it had learned from.")
    notes += CAUTION if context.paper else ()
    return _list([*notes, f"Command: `{context.command}`"])


def _accuracy_note(context: Context) -> str:
    return (
        "Accuracy and specificity count the background: marking nothing at all would have an accuracy of "
        f"{_percent(context.empty_accuracy)} here."
    )


def _mean(row: Row, column: str, signed: bool = False) -> str:
    if math.isnan(row[column]):
        return NOTHING
    mean = f"{100 * row[column]:+.2f}" if signed else _percent(row[column])
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return mean if math.isnan(low) else f"{mean} ({100 * low:.2f} to {100 * high:.2f})"


def _percent(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{100 * value:.2f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
