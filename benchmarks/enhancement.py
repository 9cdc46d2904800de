"""The enhancer beside classical methods: what is left of known damage, inside the head, on patients not learned from.

    python benchmarks/enhancement.py STORE --enhancer RUN --cnn RUN --out DIR

STORE is the one both runs were pre-trained on; patients of its validation and test parts judge. Non-local means
(2-D and 3-D) and total variation are scikit-image's, all modalities at once, as they are and with Rice's bias taken
off behind them. Their strength is chosen for each noise level and measure on training patients; they are told the
level of noise, the networks are not. Missing slices reach every method filled by linear interpolation. Writes
enhancement.csv (a row for each damage, method and measure: mean, 95 % interval over patients, and what the enhancer is
ahead by, paired), the same as tables in enhancement.md, enhancement_slices.csv and enhancement.png into DIR. About
15 minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from toolkit.data.store import Store
from toolkit.evaluation.restoration import (
    DRIFT_MEASURES,
    NOISE_LEVELS,
    Trial,
    head,
    judge_restoration,
    psnr,
    ssim,
    trials,
)
from toolkit.evaluation.statistics import bootstrap_interval
from toolkit.files import write_csv
from toolkit.inference.predictor import find_model
from toolkit.pictures import save_png
from toolkit.progress import track
from toolkit.workflows.restoration import clean_cases, enhancer_method, restoration_picture

SEED = 1
TUNING_PATIENTS, TUNING_SLICES = 5, 8
STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
TV_WEIGHTS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
Filter = Callable[[np.ndarray, float, float], np.ndarray]


def nlm_2d(images: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Non-local means of each slice (Buades et al. 2005)."""
    options = {"patch_size": 3, "patch_distance": 5, "fast_mode": True, "channel_axis": -1}
    return np.stack([denoise_nl_means(i, h=strength * sigma, sigma=sigma, **options) for i in images])


def nlm_3d(images: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Non-local means of the volume."""
    options = {"patch_size": 3, "patch_distance": 3, "fast_mode": True, "channel_axis": -1}
    return denoise_nl_means(images, h=strength * sigma, sigma=sigma, **options)


def total_variation(images: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Total variation of each slice (Chambolle 2004)."""
    return np.stack([denoise_tv_chambolle(i, weight=strength * sigma, channel_axis=-1) for i in images])


FILTERS: dict[str, tuple[Filter, tuple[float, ...]]] = {
    "non-local means, 2-D": (nlm_2d, STRENGTHS),
    "non-local means, 3-D": (nlm_3d, STRENGTHS),
    "total variation": (total_variation, TV_WEIGHTS),
}
UNBIASED = ", bias taken off"
NORMALISATION = "per-slice normalisation"
MEASURES = {"psnr": psnr, "ssim": ssim}
Strengths = dict[tuple[str, str, str], float]


def filtered(name: str, images: np.ndarray, sigma: float, strength: float) -> Iterator[tuple[str, np.ndarray]]:
    """Noisy images behind a filter, as they are and with Rice's bias taken off."""
    restored = FILTERS[name][0](images, sigma, strength)
    yield name, restored
    yield name + UNBIASED, without_bias(restored, sigma)


def without_bias(images: np.ndarray, sigma: float) -> np.ndarray:
    """Mean Rician magnitude to signal, to first order (Gudbjartsson and Patz 1995, eq. 5)."""
    return np.sqrt(np.maximum(images**2 - sigma**2, 0))


def tune(cases: list[np.ndarray]) -> Strengths:
    """The best strength of each filter on training cases, by (damage, filter, measure)."""
    scores: dict[tuple[str, str, str], dict[float, float]] = {}
    for number, clean in enumerate(track(cases, "Tuning filters", len(cases))):
        inside = head(clean)
        for trial in (trial for trial in trials(clean, SEED + 100 + number) if sigma_of(trial)):
            for name, (_, strengths) in FILTERS.items():
                for strength in strengths:
                    for variant, restored in filtered(name, trial.images, sigma_of(trial), strength):
                        for measure, score in MEASURES.items():
                            its = scores.setdefault((trial.damage, variant, measure), {})
                            its[strength] = its.get(strength, 0.0) + float(np.nanmean(score(clean, restored, inside)))
    return {key: max(its, key=its.__getitem__) for key, its in scores.items()}


def sigma_of(trial: Trial) -> float:
    """Level of noise; 0 where the damage is another."""
    return {f"noise {sigma:.2f}": sigma for sigma in NOISE_LEVELS}.get(trial.damage, 0.0)


def evened(trial: Trial) -> np.ndarray:
    """Per-slice normalisation: each slice brought to the same mean inside the head."""
    inside = head(trial.images)
    counts = inside.sum(axis=(1, 2))
    sums = (trial.images.mean(axis=-1) * inside).sum(axis=(1, 2))
    means = sums / np.where(counts, counts, np.nan)
    factors = np.where(counts, np.nanmean(means) / means, 1.0)
    return (trial.images * factors[:, None, None, None]).astype(np.float32)


class TunedFilters:
    """Filters as methods of restoration, each as tuned for a measure; they leave alone what is no noise."""

    def __init__(self, strengths: Strengths) -> None:
        self.strengths = strengths
        self._trial: Trial | None = None
        self._done: dict[tuple[str, float], np.ndarray] = {}

    def method(self, variant: str, measure: str) -> Callable[[Trial], np.ndarray]:
        """One filter as tuned for one measure."""
        return lambda trial: self._restore(trial, variant, measure)

    def _restore(self, trial: Trial, variant: str, measure: str) -> np.ndarray:
        sigma = sigma_of(trial)
        if not sigma:
            return trial.images
        if trial is not self._trial:
            self._trial, self._done = trial, {}
        strength = self.strengths[trial.damage, variant, measure]
        if (variant, strength) not in self._done:
            for name, restored in filtered(variant.removesuffix(UNBIASED), trial.images, sigma, strength):
                self._done[name, strength] = restored
        return self._done[variant, strength]


def table(rows: list[dict[str, Any]], strengths: Strengths) -> Iterator[dict[str, Any]]:
    """Rows of enhancement.csv; of a filter, each measure as it was tuned for it."""
    by_method: dict[tuple[str, str], dict[tuple[str, int], dict[str, Any]]] = {}
    for row in rows:
        by_method.setdefault((row["damage"], row["method"]), {})[row["case"], row["slice"]] = row
    for (damage, method), its in by_method.items():
        name, _, tuned_for = method.partition(" for ")
        of_filter, drifts = bool(tuned_for), damage.startswith("drift")
        if (of_filter and not damage.startswith("noise")) or (name == NORMALISATION and not drifts):
            continue
        for measure in [tuned_for] if of_filter else [*MEASURES, *(m.__name__ for m in DRIFT_MEASURES if drifts)]:
            yield {
                "damage": damage,
                "method": name,
                "measure": measure,
                **interval(its, measure),
                **{f"ahead_{k}": v for k, v in ahead(by_method[damage, "enhancer"], its, measure).items()},
                "strength": strengths.get((damage, name, measure)),
            }


def interval(its: dict[tuple[str, int], dict[str, Any]], measure: str) -> dict[str, float]:
    """Mean over slices (of drift: over cases) and its 95 % interval over patients."""
    chosen = {key if measure in MEASURES else key[0]: row for key, row in its.items()}.values()
    values = [row[measure] for row in chosen]
    low, high = bootstrap_interval(values, [row["patient"] for row in chosen], SEED)
    return {"mean": round(float(np.mean(values)), 4), "low": round(low, 4), "high": round(high, 4)}


def ahead(enhancer: dict, other: dict, measure: str) -> dict[str, float]:
    """What the enhancer is ahead by, slice for slice."""
    differences = {
        key: {"patient": row["patient"], measure: enhancer[key][measure] - row[measure]} for key, row in other.items()
    }
    return interval(differences, measure)


TITLES = {
    "psnr": "PSNR in dB",
    "ssim": "SSIM",
    "drift_removed": "Share of an added drift that is gone, of each slice's level",
    "pixels_drift_removed": "The same, slices counting by their pixels inside the head",
    "steps_removed": "Share of an added drift that is gone, of the steps from slice to slice",
}


def markdown(results: list[dict[str, Any]]) -> Iterator[str]:
    """A table a measure: the enhancer with its interval, then the others with what the enhancer is ahead by."""
    for measure, title in TITLES.items():
        its = [row for row in results if row["measure"] == measure]
        damages, methods = (list(dict.fromkeys(row[key] for row in its)) for key in ("damage", "method"))
        cells = {(row["damage"], row["method"]): cell(row) for row in its}
        yield f"{title}\n\n| | {' | '.join(damages)} |\n|---|{'---|' * len(damages)}"
        for method in sorted(methods, key=lambda name: name != "enhancer"):
            yield f"| {method} | {' | '.join(cells.get((damage, method), '–') for damage in damages)} |"
        yield ""


def cell(row: dict[str, Any]) -> str:
    """Mean, and the interval of the enhancer's own or of what it is ahead by."""
    digits = 2 if row["measure"] == "psnr" else 3
    if row["method"] == "enhancer":
        return f"**{row['mean']:.{digits}f}** ({row['low']:.{digits}f} to {row['high']:.{digits}f})"
    ahead_by, low, high = (row[f"ahead_{key}"] for key in ("mean", "low", "high"))
    return f"{row['mean']:.{digits}f} ({ahead_by:+.{digits}f}: {low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """Tune, judge, and write tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--enhancer", type=Path, required=True, help="run of the enhancer")
    parser.add_argument("--cnn", type=Path, required=True, help="run of the equal-size CNN on single slices")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    store = Store(arguments.store)
    enhancer, recipe = enhancer_method(find_model(arguments.enhancer))
    cnn, _ = enhancer_method(find_model(arguments.cnn))
    training = [case.images for case in clean_cases(store, "train", recipe)][:TUNING_PATIENTS]
    middles = [clean[max(0, (len(clean) - TUNING_SLICES) // 2) :][:TUNING_SLICES] for clean in training]
    strengths = tune(middles)
    filters = TunedFilters(strengths)
    methods: dict[str, Callable[[Trial], np.ndarray]] = {"enhancer": enhancer, "CNN of the same size": cnn}
    for variant in (name + suffix for name in FILTERS for suffix in ("", UNBIASED)):
        for measure in MEASURES:
            methods[f"{variant} for {measure}"] = filters.method(variant, measure)
    methods[NORMALISATION] = evened
    cases = [case for part in ("val", "test") for case in clean_cases(store, part, recipe)]
    rows = judge_restoration(track(cases, "Judging", len(cases)), methods, SEED)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "enhancement_slices.csv", rows)
    results = list(table(rows, strengths))
    write_csv(arguments.out / "enhancement.csv", results)
    shown = {"enhancer": enhancer, "CNN": cnn, "NLM 3-D": filters.method("non-local means, 3-D", "psnr")}
    save_png(arguments.out / "enhancement.png", restoration_picture(cases[0].images, shown, SEED))
    tables = "\n".join(markdown(results))
    (arguments.out / "enhancement.md").write_text(tables, encoding="utf-8")
    print(tables)


if __name__ == "__main__":
    main()
