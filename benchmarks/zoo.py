"""Every network and every encoder, built, trained for some steps, saved and loaded: the slow suite of the zoo.

    python benchmarks/zoo.py --out docs/results [--size 64] [--only NAME ...]

Networks come with their own encoder, encoders behind the network `proposed`, all from random weights (so nothing is
downloaded) and on one modality. Fails at the first that does not learn (its loss on one window, seen again and
again, must fall by a tenth), or does not answer as before when loaded. Writes zoo.csv: parameters, GFLOPs and
milliseconds a slice of a training step and of prediction at this size, megabytes of the file. About 15 minutes on
two cores, and 8 GiB of memory for the largest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np

from toolkit.config import Encoder, check_recipe
from toolkit.files import write_csv
from toolkit.losses import DiceFocalLoss
from toolkit.models.cost import count_flops
from toolkit.models.segmenter import build_segmenter
from toolkit.models.zoo import ZOO

N_SLICES, STEPS = 4, 12
LEARNED = 0.9  # of the first loss


def variants() -> dict[str, dict[str, Any]]:
    """Name to the `model` section of a recipe."""
    networks = {name: dict(changes["model"]) for name, changes in ZOO.items()}
    return networks | {f"proposed, {encoder}": {"encoder": encoder} for encoder in get_args(Encoder)}


def window(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Slices with a bright disc each, and the discs."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:size, :size]
    discs = [
        (rows - y) ** 2 + (columns - x) ** 2 < (size / 6) ** 2 for y, x in rng.uniform(0.3, 0.7, (N_SLICES, 2)) * size
    ]
    truth = np.stack(discs)[None, ..., None].astype(np.float32)
    return truth * 0.5 + rng.uniform(0, 0.4, truth.shape).astype(np.float32), truth


def check(name: str, model_section: dict[str, Any], size: int) -> dict[str, Any]:
    """Build, train, save and load one; a row of the table.

    Raises:
        AssertionError: it does not learn, or is not itself once loaded.
    """
    data = {"image_size": size, "window": {"slices": N_SLICES, "halo": 1}}
    section = {**model_section, "encoder_weights": "none", "dropout": 0.0}
    model = build_segmenter(check_recipe({"data": data, "model": section}, name), 1)
    model.compile(keras.optimizers.AdamW(1e-3), loss={"probability": DiceFocalLoss()}, jit_compile=False)
    slices, truth = window(size)
    losses, step_seconds = [], []
    for _ in range(STEPS):
        start = time.perf_counter()
        losses.append(float(model.train_on_batch({"slices": slices}, {"probability": truth})))
        step_seconds.append(time.perf_counter() - start)
    assert min(losses) < LEARNED * losses[0], f"{name}: does not learn, losses {losses}"
    before, seconds = timed_prediction(model, slices)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        size_mb = path.stat().st_size / 1e6
        after, _ = timed_prediction(keras.saving.load_model(path, compile=False), slices)
    difference = float(np.abs(before - after).max())
    assert difference < 1e-5, f"{name}: differs by {difference} once loaded"
    return {
        "model": name,
        "parameters": model.count_params(),
        "gflops_a_slice": round(count_flops(model) / N_SLICES / 1e9, 3),
        "train_ms_a_slice": round(1e3 * float(np.median(step_seconds[2:])) / N_SLICES, 1),
        "predict_ms_a_slice": round(1e3 * seconds / N_SLICES, 1),
        "file_mb": round(size_mb, 1),
        "first_loss": round(losses[0], 3),
        "lowest_loss": round(min(losses), 3),
        "largest_difference_loaded": difference,
    }


def timed_prediction(model: keras.Model, slices: np.ndarray) -> tuple[np.ndarray, float]:
    """Probability, and the median seconds of five predictions once traced."""
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        probability = model.predict_on_batch({"slices": slices})["probability"]
        seconds.append(time.perf_counter() - start)
    return np.asarray(probability), float(np.median(seconds[1:]))


def rows(names: list[str], size: int) -> Iterator[dict[str, Any]]:
    """Check one after the other."""
    for name in names:
        row = check(name, variants()[name], size)
        keras.backend.clear_session()
        print(*row.values(), sep="  ", flush=True)
        yield row


def main() -> None:
    """Check all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--only", nargs="+", choices=list(variants()), metavar="NAME")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = list(rows(arguments.only or list(variants()), arguments.size))
    write_csv(arguments.out / "zoo.csv", table)


if __name__ == "__main__":
    main()
