"""How well scans unlike the training scans are told: area under the curve, and how many are warned of.

    python benchmarks/unlike_scans.py STORE --others STORE [--split val] --out DIR

STORE has one modality; what a model trained on its training part would know of it (`toolkit.data.familiarity`) is
fitted anew. Cases of its other part are what is familiar; others are each modality of --others apart, all its cases,
whole and slice for slice; of slices those with and without a label apart. Writes unlike_scans.csv into DIR: for each
kind of scan how many, the share of them that `bts-predict` would warn of, and the AUC against the familiar, with its
95 % interval (2000 resamples of patient groups of both).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.config import load_recipe
from toolkit.data.familiarity import Familiarity, training_familiarity
from toolkit.data.store import Span, Store
from toolkit.evaluation.review import ranked_pairs
from toolkit.evaluation.statistics import with_intervals
from toolkit.files import write_csv
from toolkit.progress import track

SEED = 1


class Score(NamedTuple):
    """What is said of a scan: kind of scan, patient group, unlikeness."""

    kind: str
    group: str
    unlikeness: float


def scores(fitted: Familiarity, store: Store, spans: list[Span], name: str) -> Iterator[Score]:
    """Scores of cases, and of their slices alone, each modality as if it were all there is."""
    for span in track(spans, name, len(spans)):
        images, mask = store.read(span.case, range(span.start, span.stop))
        group = span.case.patient_group
        for channel, modality in enumerate(store.index.modalities):
            of_modality = images[..., channel : channel + 1]
            yield Score(f"{name} {modality}, cases", group, fitted.unlikeness(of_modality))
            for image, marked in zip(of_modality, mask, strict=True):
                shows = "with a tumour" if marked.any() else "without"
                yield Score(f"{name} {modality}, slices {shows}", group, fitted.unlikeness(image[None]))


def table(all_scores: list[Score], own: str) -> Iterator[dict[str, Any]]:
    """A row a kind; cases are compared with familiar cases, slices with familiar slices."""
    kinds = {score.kind: [s for s in all_scores if s.kind == score.kind] for score in all_scores}
    cases, slices = (
        next(its for kind, its in kinds.items() if kind.startswith(own) and kind.endswith(what))
        for what in ("cases", "slices with a tumour")
    )
    for kind, its in kinds.items():
        familiar = cases if kind.endswith("cases") else slices
        row: dict[str, Any] = {"scans": kind, "n": len(its), "patients": len({score.group for score in its})}
        row["warned_of"] = float(np.mean([score.unlikeness > 1 for score in its]))
        if its is not familiar:
            both = [*familiar, *its]
            unlike = [number >= len(familiar) for number in range(len(both))]
            pairs = ranked_pairs([score.unlikeness for score in both], unlike, [score.group for score in both])
            found = with_intervals(lambda draws, pairs=pairs: {"auc": pairs.auc(draws)}, len(pairs.n_low), SEED)
            row["auc"] = found["auc"]
            row["auc_low"], row["auc_high"] = found["auc_95"]
        yield {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    """Fit, score, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--others", type=Path, required=True)
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    store, others, recipe = Store(arguments.store), Store(arguments.others), load_recipe("figshare")
    fitted = training_familiarity(store, store.spans_of(recipe, "train"))
    assert fitted is not None
    everyone = [span for part in ("train", "val", "test") for span in others.spans_of(recipe, part)]
    found = list(scores(fitted, store, store.spans_of(recipe, arguments.split), store.index.kind))
    found += scores(fitted, others, everyone, arguments.others.name)
    rows = list(table(found, store.index.kind))
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "unlike_scans.csv", rows)
    for row in rows:
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
