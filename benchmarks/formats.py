"""Size and speed of every exported format beside Keras, measured in turns in one run.

    python benchmarks/formats.py RUN --data STORE --out DIR [--rounds 20] [--slices 16]

Exports RUN to all formats (STORE is the one it was trained on: int8 is calibrated on it, and Dice compared on its
validation patients), then lets each answer for the same case of that many slices of the model's own grid, in turns. A
figure is the median over rounds; a ratio that of times in the same round, with a 95 % interval (bootstrap over rounds).
It is the whole answer that is timed: normalisation, windows, network. Writes formats.csv and formats.md into DIR.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ratios import ratio

from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError
from toolkit.files import atomic_path, write_csv
from toolkit.inference.predictor import Predictor, find_model
from toolkit.workflows.export import Target, export

KERAS = "Keras"
TARGETS = [Target("savedmodel"), *(Target("tflite", p) for p in ("float32", "float16", "dynamic", "int8"))]
NAME = "model"
WARM_UP = 2


def answers(run: Path, folder: Path) -> dict[str, Predictor]:
    """Every format's predictor."""
    exported = {}
    for target in TARGETS:
        title = "SavedModel" if target.format == "savedmodel" else f"TFLite {target.precision}"
        path = folder / target.file_name(NAME)
        if path.exists():
            exported[title] = Predictor(path)
    return {KERAS: Predictor(run), **exported}


def timed(predictors: dict[str, Predictor], images: np.ndarray, rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each answer, `(rounds,)`."""
    limits = intensity_range(images)
    calls: dict[str, Callable[[], Any]] = {
        name: lambda one=one: one.predict(images, limits) for name, one in predictors.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + WARM_UP):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(times) for name, times in seconds.items()}


def rows(seconds: dict[str, np.ndarray], n_slices: int, run: Path, report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row a format."""
    parity = dict(
        zip(["SavedModel", *(f"TFLite {t.precision}" for t in TARGETS[1:])], report["exports"].values(), strict=True)
    )
    for name, times in seconds.items():
        faster, low, high = ratio(seconds[KERAS], times)
        known = parity.get(name, {})
        yield {
            "format": name,
            "megabytes": round((known["bytes"] if known else find_model(run).stat().st_size) / 1e6, 2),
            "slices_per_second": round(n_slices / float(np.median(times)), 1),
            "times_keras": round(faster, 2),
            "times_keras_low": round(low, 2),
            "times_keras_high": round(high, 2),
            "max_probability_difference": known.get("max_difference"),
            "dice_between_masks": known.get("dice_between"),
            "dice_change": known.get("dice_change"),
        }


def markdown(table: list[dict[str, Any]]) -> Iterator[str]:
    """The table as a page shows it."""
    yield "| format | MB | slices a second | speed against Keras | largest difference of probability | change of Dice |"
    yield "|---|---|---|---|---|---|"
    for row in table:
        speed = f"{row['times_keras']:.2f} ({row['times_keras_low']:.2f} to {row['times_keras_high']:.2f})"
        known = row["max_probability_difference"] is not None
        difference = f"{row['max_probability_difference']:.1e}" if known else "–"
        change = f"{row['dice_change']:+.4f}" if known else "–"
        cells = (row["format"], row["megabytes"], row["slices_per_second"], speed, difference, change)
        yield f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Export, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--slices", type=int, default=16)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        try:
            report = export(arguments.run, TARGETS, Path(folder), arguments.data, name=NAME)
        except ModelError as error:  # what misses its tolerance is not written; the others are
            print(error)
            report = json.loads((Path(folder) / "parity.json").read_text(encoding="utf-8"))
        predictors = answers(arguments.run, Path(folder))
        data = predictors[KERAS].info.recipe.data
        shape = (arguments.slices, data.image_size, data.image_size, len(predictors[KERAS].info.modalities))
        images = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
        seconds = timed(predictors, images, arguments.rounds)
    table = list(rows(seconds, arguments.slices, arguments.run, report))
    write_csv(arguments.out / "formats.csv", table)
    text = "\n".join(markdown(table)) + "\n"
    with atomic_path(arguments.out / "formats.md") as partial:
        partial.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
