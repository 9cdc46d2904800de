"""The enhancer beside classical methods: what is left of known damage, inside the head, on patients not learned from.

    python benchmarks/enhancement.py STORE --enhancer RUN --cnn RUN --out DIR

STORE is the one both runs were pre-trained on; patients of its validation and test parts judge. Non-local means
(2-D and 3-D) and total variation are scikit-image's, all modalities at once. Their strength, and whether Rice's bias
is taken off behind them, is chosen for each noise level and measure on training patients; they are told the level of
noise, the networks are not. Missing slices reach every method filled by linear interpolation. Writes enhancement.csv
(a row for each damage, method and measure: mean, 95 % interval over patients), enhancement_slices.csv and
enhancement.png into DIR. About 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from toolkit.data.store import Store
from toolkit.evaluation.restoration import (
    NOISE_LEVELS,
    Trial,
    head,
    judge_restoration,
    psnr,
    ssim,
    summarise,
    trials,
)
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
MEASURES = {"psnr": psnr, "ssim": ssim}


class Setting(NamedTuple):
    """Strength of a filter, and whether Rice's bias is taken off behind it."""

    strength: float
    unbiased: bool

    def restore(self, name: str, images: np.ndarray, sigma: float) -> np.ndarray:
        """Filter noisy images."""
        restored = FILTERS[name][0](images, sigma, self.strength)
        return without_bias(restored, sigma) if self.unbiased else restored


def without_bias(images: np.ndarray, sigma: float) -> np.ndarray:
    """Mean Rician magnitude to signal, to first order (Gudbjartsson and Patz 1995, eq. 5)."""
    return np.sqrt(np.maximum(images**2 - sigma**2, 0))


def tune(cases: list[np.ndarray]) -> dict[tuple[str, str, str], Setting]:
    """The best setting of each filter on training cases, by (damage, filter, measure)."""
    scores: dict[tuple[str, str, str], dict[Setting, float]] = {}
    for number, clean in enumerate(track(cases, "Tuning filters", len(cases))):
        inside = head(clean)
        for trial in (trial for trial in trials(clean, SEED + 100 + number) if sigma_of(trial)):
            sigma = sigma_of(trial)
            for name, (run, strengths) in FILTERS.items():
                for strength in strengths:
                    filtered = run(trial.images, sigma, strength)
                    for unbiased, restored in ((False, filtered), (True, without_bias(filtered, sigma))):
                        for measure, score in MEASURES.items():
                            its = scores.setdefault((trial.damage, name, measure), {})
                            setting = Setting(strength, unbiased)
                            its[setting] = its.get(setting, 0.0) + float(np.nanmean(score(clean, restored, inside)))
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


def filter_method(name: str, measure: str, settings: dict[tuple[str, str, str], Setting]) -> Callable:
    """A filter as a method of restoration, as tuned for a measure; leaves alone what is no noise."""

    def restore(trial: Trial) -> np.ndarray:
        sigma = sigma_of(trial)
        return settings[trial.damage, name, measure].restore(name, trial.images, sigma) if sigma else trial.images

    return restore


def table(summary: dict[str, Any], settings: dict[tuple[str, str, str], Setting]) -> Iterator[dict[str, Any]]:
    """Rows of enhancement.csv; of a filter, each measure as it was tuned for it."""
    for damage, methods in summary.items():
        for method, measures in methods.items():
            name, _, tuned_for = method.partition(" for ")
            is_noise = damage.startswith("noise")
            if (name in FILTERS and not is_noise) or (name == "per-slice normalisation" and "drift" not in damage):
                continue
            for measure, value in measures.items():
                if tuned_for and tuned_for != measure:
                    continue
                low, high = value["confidence_95"] or (None, None)
                setting = settings.get((damage, name, measure))
                yield {
                    "damage": damage,
                    "method": name,
                    "measure": measure,
                    "mean": round(value["mean"], 4),
                    "low": None if low is None else round(low, 4),
                    "high": None if high is None else round(high, 4),
                    "strength": setting and setting.strength,
                    "bias_taken_off": setting and setting.unbiased,
                }


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
    training = [clean for _, clean in clean_cases(store, "train", recipe)][:TUNING_PATIENTS]
    middles = [clean[max(0, (len(clean) - TUNING_SLICES) // 2) :][:TUNING_SLICES] for clean in training]
    settings = tune(middles)
    methods: dict[str, Callable[[Trial], np.ndarray]] = {"enhancer": enhancer, "CNN of the same size": cnn}
    for name in FILTERS:
        for measure in MEASURES:
            methods[f"{name} for {measure}"] = filter_method(name, measure, settings)
    methods["per-slice normalisation"] = evened
    cases = [case for part in ("val", "test") for case in clean_cases(store, part, recipe)]
    rows = judge_restoration(track(cases, "Judging", len(cases)), methods, SEED)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "enhancement_slices.csv", rows)
    results = list(table(summarise(rows, SEED), settings))
    write_csv(arguments.out / "enhancement.csv", results)
    shown = {"enhancer": enhancer, "CNN": cnn, "NLM 3-D": methods["non-local means, 3-D for psnr"]}
    save_png(arguments.out / "enhancement.png", restoration_picture(cases[0][1], shown, SEED))
    for row in results:
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
